"""The guides' functions do what they say, against a real server."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane.client import Client, NewTask
from tests.api.house import Customer, House
from tests.client.scripted import Reply, ScriptedServer

KEY = "sk_live_1234567890abcdef1234567890abcdef"
ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"


def shown(page: str) -> dict[str, Any]:
    """The names that a page's Python defines."""
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (GUIDES / page).read_text("utf-8"), re.DOTALL):
        exec(compile(block, page, "exec"), names)
    return names


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A server of its own: a worker takes whatever is queued anywhere on it."""
    with House(tmp_path) as made:
        yield made


@pytest.fixture
def customer(house: House) -> Customer:
    """An organization with two slots."""
    return house.customer(slots=2)


@pytest.fixture
def client(customer: Customer) -> Iterator[Client]:
    """Its client."""
    with Client(customer.house.server.address, customer.key["value"]) as made:
        yield made


def test_health_has_a_word_for_each_state(client: Client, customer: Customer) -> None:
    """Well, busy while every slot is taken, unknown under maintenance."""
    health = shown("monitor-queue-health.md")["health"]
    words = [health(client)]

    for _ in range(2):
        customer.accepted()
    customer.house.session("ANY").claim(2)
    words.append(health(client))
    customer.change(maintenance=True)
    words.append(health(client))

    assert words == ["well", "busy", "unknown"]


def test_capacity_is_told_apart_from_workers(client: Client, customer: Customer) -> None:
    """Queued with free slots: workers are missing. Queued with none: the plan limits."""
    page = shown("understand-capacity.md")
    words = [page["what_limits"](client)]

    for _ in range(3):
        customer.accepted()
    words.append(page["what_limits"](client))
    customer.house.session("ANY").claim(3)
    words.append(page["what_limits"](client))

    assert words == ["nothing", "workers", "plan"]
    assert page["free_slots"](client) == 0


def test_submitting_gently_counts_what_was_refused(client: Client) -> None:
    """One of an unknown type among ten."""
    tasks = [NewTask(task_type="NOWHERE" if number == 3 else "ANY", payload={}) for number in range(10)]

    assert shown("understand-capacity.md")["submit_gently"](client, tasks) == 1


def test_a_task_is_asked_how_long_it_ran(client: Client, customer: Customer) -> None:
    """Nothing is known before it has ended."""
    customer.accepted(idempotencyKey="mine")

    assert shown("debug-delays.md")["waited_and_ran"](client, "mine") == ("QUEUED", None)


@pytest.mark.parametrize(
    ("plan_seconds", "worker_seconds", "words"),
    [(0, 0, "enough of both"), (1_800, 900, "more slots: 50%"), (700, 900, "more workers: 25%")],
)
def test_capacity_advice_names_what_was_missing(plan_seconds: float, worker_seconds: float, words: str) -> None:
    """An hour in which work waited for slots, or for workers, or for neither."""
    step = {
        "at": "2025-11-10T14:00:00.000Z", "submitted": 1, "started": 1, "completed": 1, "failed": 0,
        "waitP50Seconds": None, "waitP99Seconds": None, "runSeconds": 1.0, "slotSeconds": 1.0,
        "planLimitedSeconds": plan_seconds, "workerLimitedSeconds": worker_seconds,
    }  # fmt: skip
    span = {"from": "2025-11-10T14:00:00.000Z", "to": "2025-11-10T15:00:00.000Z", "stepSeconds": 3_600}

    reply = Reply(200, {**span, "total": step, "usage": [step]})
    with ScriptedServer([reply]) as server, Client(server.address, KEY) as client:
        advice = shown("plan-capacity.md")["advice"](client)

    assert advice.startswith(words)
    assert "step=3600" in server.asked[0].path
    assert "from=" in server.asked[0].path


def test_the_fewest_slots_that_would_do_are_named() -> None:
    """By the projections; none of them may fit, or there may be none."""
    golden = (ROOT / "tests" / "wire" / "capacity.json").read_bytes()
    replies = [Reply(200, json.loads(golden))] * 3
    replies.append(Reply(200, json.loads(golden) | {"projections": []}))
    with ScriptedServer(replies) as server, Client(server.address, KEY) as client:
        slots_for = shown("plan-capacity.md")["slots_for"]

        assert [slots_for(client, wait_seconds=most) for most in (15, 1, 0.1, 15)] == [5, 10, None, None]


def test_the_alert_shown_is_one_that_the_server_takes(customer: Customer) -> None:
    """Field by field; it is listed then, and does not fire."""
    [body] = re.findall(r"-d '([^']*)'", (GUIDES / "monitor-queue-health.md").read_text("utf-8"))

    made = customer.client.post("/v1/alerts", content=body.encode())

    assert made.status_code == 200, made.text
    assert made.json()["alert"]["firing"] is False
    assert [one["kind"] for one in customer.client.get("/v1/alerts").json()["alerts"]] == ["QUEUED_ABOVE"]
