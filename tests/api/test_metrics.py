"""Metrics: a real scrape, what it says, who may read it, and that everything which names a metric names a real one."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fairlane.sweeper import Sweeper
from tests.api.house import House, eventually

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"\bfairlane_[a-z_]+\b")


def scrape(house: House) -> dict[tuple[str, ...], float]:
    """Every sample of one scrape: its name and label values in the order of the labels' names, and its value."""
    answer = house.admin.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return {
        (sample.name, *[value for _, value in sorted(sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def fresh(house: House, name: str, *labels: str, value: float) -> None:
    """Within the two seconds that an answer is kept, this sample has this value."""
    eventually(lambda: scrape(house).get((name, *labels)) == value)


@pytest.fixture
def busy(house: House) -> House:
    """One task done, one failed at once, two run, three ready of which one has a free slot, one of an unserved type."""
    first, second = house.customer(slots=1), house.customer(slots=3)
    session = house.session("ANY", places=4)
    for _ in range(2):
        first.accepted()
        [lease] = session.claim(1)
        session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {}})
    first.accepted("ANY")
    first.accepted("ANY")
    first.accepted("ANY")
    session.claim(3)
    second.accepted("OTHER")
    return house


def test_a_scrape_tells_what_there_is(busy: House) -> None:
    """Gauges from the database, counters from this server."""
    fresh(busy, "fairlane_tasks", "ready", "ANY", value=2)

    found = scrape(busy)

    expected = {
        ("fairlane_tasks", "processing", "ANY"): 1,
        ("fairlane_tasks", "ready", "OTHER"): 1,
        ("fairlane_tasks", "ready", "PAGE"): 0,
        ("fairlane_tasks_runnable",): 1,
        ("fairlane_tasks_unserved", "OTHER"): 1,
        ("fairlane_tasks_unserved", "ANY"): 0,
        ("fairlane_slots_used",): 1,
        ("fairlane_slots_max",): 4,
        ("fairlane_workers",): 1,
        ("fairlane_worker_places",): 4,
        ("fairlane_worker_places_used",): 1,
        ("fairlane_organizations",): 2,
        ("fairlane_organizations_drifted",): 0,
        ("fairlane_tasks_finished_total", "completed", "ANY"): 2,
        ("fairlane_tasks_finished_total", "failed", "ANY"): 0,
        ("fairlane_task_wait_seconds_count", "ANY"): 3,
        ("fairlane_task_run_seconds_count", "ANY"): 2,
        ("fairlane_task_run_seconds_bucket", "+Inf", "ANY"): 2,
        ("fairlane_audit_differences_total",): 0,
    }
    assert {name: found.get(name) for name in expected} == expected
    slot, worker = (found["fairlane_task_waited_seconds_total", reason, "ANY"] for reason in ("slot", "worker"))
    assert 0 <= slot + worker <= found["fairlane_task_wait_seconds_sum", "ANY"]
    assert 0 <= found["fairlane_oldest_queued_seconds", "ANY"] < 60
    assert ("fairlane_oldest_queued_seconds", "PAGE") not in found


def test_a_type_that_nobody_serves_is_warned_of(house: House, caplog: pytest.LogCaptureFixture) -> None:
    """A number and a log line for as long as ready tasks have no worker; neither says what the tasks are about."""
    customer, session = house.customer(), house.session("ANY")
    customer.accepted("OTHER", payload={"secret": 1})
    customer.accepted("OTHER", delaySeconds=3_600)
    customer.accepted("ANY")
    sweeper = Sweeper(house.store, house.settings, {})
    fresh(house, "fairlane_tasks_unserved", "OTHER", value=1)
    fresh(house, "fairlane_tasks_unserved", "ANY", value=0)

    house.call(sweeper.warn_of_unserved())
    session.end("drained")
    house.call(sweeper.warn_of_unserved())
    house.session("ANY", "OTHER")
    house.call(sweeper.warn_of_unserved())

    warned = [record.__dict__ for record in caplog.records if record.getMessage() == "type.unserved"]
    said = [(one["levelname"], one["task_type"], one["ready"]) for one in warned]
    assert said[:1] == [("WARNING", "OTHER", 1)]
    assert sorted(said[1:]) == [("WARNING", "ANY", 1), ("WARNING", "OTHER", 1)]
    assert "secret" not in str(warned)
    fresh(house, "fairlane_tasks_unserved", "OTHER", value=0)


def test_the_audit_counts_what_it_recounted(house: House) -> None:
    """Every organization within the hour; here at once."""
    house.customer()
    house.call(house.store.recount.audit_next())

    eventually(lambda: scrape(house)["fairlane_audit_organizations_total",] >= 1)


def test_an_autoscaler_is_told_how_many_workers(busy: House) -> None:
    """Places for all that runs or could run, not for the queue."""
    eventually(lambda: busy.admin.get("/admin/v1/scaling").json()["runnable"] == 1)

    assert busy.admin.get("/admin/v1/scaling").json() == {
        "runnable": 1,
        "calls_ready": 0,
        "processing": 1,
        "workers": 1,
        "places_per_worker": 4.0,
        "recommended_workers": 1,
    }


def test_nothing_to_do_needs_no_workers(house: House) -> None:
    """An autoscaler may go to zero."""
    assert house.admin.get("/admin/v1/scaling").json()["recommended_workers"] == 0


def test_metrics_are_closed_to_customers(house: House) -> None:
    """With a key or without."""
    for client in (house.client(None), house.customer().client):
        assert client.get("/metrics").status_code == 404
        assert client.get("/admin/v1/scaling").status_code == 404


def test_workers_that_cannot_start_are_counted_wherever_they_are(house: House) -> None:
    """Each machine of an application counts, until one of its workers registers."""
    report = {"supervisor": "s", "number": 1, "application": "shop:app", "cause": "it raised", "failures": 3}
    for host in ("build-7", "build-8"):
        house.worker.post("/worker/v1/failed-starts", json=report | {"host": host})
    fresh(house, "fairlane_worker_starts_failing", value=2)
    assert scrape(house)["fairlane_worker_starts_failed",] == 6

    for host in ("build-7", "build-8"):
        started = {"name": f"{host}/1", "types": ["ANY"], "places": 1, "application": "shop:app"}
        house.worker.post("/worker/v1/sessions", json=started)

    fresh(house, "fairlane_worker_starts_failing", value=0)


def names_of(text: str) -> set[str]:
    """Every metric that a text names."""
    return set(NAME.findall(text))


def test_everything_that_names_a_metric_names_a_real_one(busy: House) -> None:
    """The dashboard's queries and the alert rules, against a real scrape."""
    scraped = {name for name, *_ in scrape(busy)}
    dashboard = json.loads((ROOT / "deploy/grafana/fairlane.json").read_text("utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = (ROOT / "deploy/prometheus/alerts.yaml").read_text("utf-8")

    named = names_of("\n".join(queries)) | names_of(rules)

    assert len(queries) >= len(dashboard["panels"]) > 5
    assert named - scraped == set()


def test_every_metric_is_described_and_nothing_else(busy: House) -> None:
    """docs/operators/metrics.md has each family of a real scrape."""
    text = busy.admin.get("/metrics").text
    families = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    described = names_of((ROOT / "docs/operators/metrics.md").read_text("utf-8"))

    assert families
    assert described == families


@pytest.mark.parametrize("name", ["fairlane_tasks_runnable", "fairlane_oldest_queued_seconds"])
def test_what_a_number_leaves_out_is_told_by_both_of_its_descriptions(busy: House, name: str) -> None:
    """The scrape's own words stand in docs/operators/metrics.md."""
    [told] = re.findall(rf"^# HELP {name} (.+)$", busy.admin.get("/metrics").text, re.MULTILINE)

    assert told in (ROOT / "docs/operators/metrics.md").read_text("utf-8").replace("`", "")
