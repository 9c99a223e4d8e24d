"""Spans of submits: in the caller's trace, kept with the task, and never in anybody's way."""

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from tests.api.conftest import a_database
from tests.api.house import Customer, House
from tests.spans import CALLER, above, attributes, exporter, name_of, told


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """What this test exported."""
    exporter().clear()
    yield exporter()
    exporter().clear()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, http_database: str) -> Iterator[House]:
    """One server with traces on, for tests that start all they submit."""
    with a_database(http_database) as chosen, House(tmp_path_factory.mktemp("kept"), traces=True, **chosen) as house:
        yield house


@pytest.fixture
def traced(a_house: Callable[..., House], spans: InMemorySpanExporter) -> House:
    """A server with traces on."""
    return a_house(traces=True)


def submit(customer: Customer, *headers: str, **options: object) -> str:
    """A task sent with these traceparent headers; its id."""
    body = {"taskType": "ANY", "payload": {"secret": "hush"}} | options
    answer = customer.client.post("/v1/async/task", json=body, headers=[("traceparent", one) for one in headers])
    assert answer.status_code == 200, answer.text
    return str(answer.json()["task"]["id"])


def test_a_submit_stands_in_its_callers_trace_and_so_will_the_attempt(
    traced: House, spans: InMemorySpanExporter
) -> None:
    """The task keeps the name of the submit's span, and its lease has it; of the payload nothing is told."""
    customer = traced.customer()

    task = submit(customer, CALLER)
    [lease] = traced.session("ANY").claim(1)

    [span] = spans.get_finished_spans()
    assert (span.name, span.kind, above(span)) == ("submit ANY", SpanKind.PRODUCER, CALLER)
    assert lease["traceparent"] == name_of(span)
    assert attributes(span) == {"fairlane.tasks": 1, "fairlane.tasks.accepted": 1, "fairlane.task": task}
    assert "hush" not in told([span])
    assert customer.key["value"] not in told([span])


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("",),
        ("nonsense",),
        (CALLER.upper(),),
        (CALLER[:-1],),
        (CALLER + "-00",),
        ("01" + CALLER[2:],),
        ("ff" + CALLER[2:],),
        ("00-" + "0" * 32 + CALLER[35:],),
        (CALLER[:36] + "0" * 16 + "-01",),
        (CALLER.replace("4", "x"),),
        (CALLER, CALLER),
        ("0" * 8_000,),
    ],
    ids=lambda headers: " and ".join(headers)[:60] or "none",
)
def test_a_wrong_traceparent_is_as_good_as_none(
    kept: House, spans: InMemorySpanExporter, headers: tuple[str, ...]
) -> None:
    """The task is accepted, and its trace begins here."""
    submit(kept.customer(), *headers)
    [lease] = kept.session("ANY").claim(1)

    [span] = spans.get_finished_spans()
    assert above(span) is None
    assert lease["traceparent"] == name_of(span)


def test_a_caller_who_does_not_sample_is_followed(traced: House, spans: InMemorySpanExporter) -> None:
    """No span is made, and the attempt is told so in the same trace."""
    submit(traced.customer(), CALLER[:-1] + "0")
    [lease] = traced.session("ANY").claim(1)

    assert spans.get_finished_spans() == ()
    assert lease["traceparent"][:36] == CALLER[:36]
    assert lease["traceparent"].endswith("-00")


def test_a_batch_is_one_span(traced: House, spans: InMemorySpanExporter) -> None:
    """Of all its tasks; how many were refused, and for what, is in it."""
    customer = traced.customer(queue_limit=9)
    tasks = [{"taskType": kind, "payload": {}, "idempotencyKey": key} for kind, key in (("ANY", "a"), ("OTHER", "a"))]

    customer.client.post("/v1/async/task/batch", json=tasks, headers={"traceparent": CALLER})
    [lease] = traced.session("ANY", "OTHER").claim(2)

    [span] = spans.get_finished_spans()
    assert (span.name, above(span), lease["traceparent"]) == ("submit", CALLER, name_of(span))
    assert attributes(span) == {
        "fairlane.tasks": 2,
        "fairlane.tasks.accepted": 1,
        "error.type": "RESOURCE_ALREADY_EXISTS",
    }


def test_a_refused_submit_says_its_code_alone(traced: House, spans: InMemorySpanExporter) -> None:
    """Neither details nor message."""
    customer = traced.customer(queue_limit=1)
    submit(customer)
    spans.clear()

    assert customer.submit(payload={"secret": "hush"}).status_code == 429

    [span] = spans.get_finished_spans()
    assert attributes(span) == {"fairlane.tasks": 1, "fairlane.tasks.accepted": 0, "error.type": "QUEUE_LIMIT_EXCEEDED"}
    assert span.events == ()


def test_without_traces_there_is_nothing(house: House, spans: InMemorySpanExporter) -> None:
    """No span, no name kept, and the worker's message is the one that it was."""
    submit(house.customer(), CALLER)
    [lease] = house.session("ANY").claim(1)

    assert spans.get_finished_spans() == ()
    assert "traceparent" not in lease


def test_without_traces_their_package_is_not_imported() -> None:
    """Neither by a server nor by a worker."""
    code = (
        "import sys, fairlane.app, fairlane.worker.process, fairlane.worker.isolated;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
