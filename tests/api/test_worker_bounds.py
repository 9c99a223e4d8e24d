"""Every field of the worker protocol has a bound, and the server enforces it: a worker is not only what we ship."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlane import protocol
from tests.api.house import House, error_of

RESULT_BYTES = 2_000
RECEIVED = (
    protocol.Register,
    protocol.StartsFailed,
    protocol.ExchangeRequest,
    protocol.ReportBody,
    protocol.FailureBody,
    protocol.OriginBody,
    protocol.ProgressBody,
    protocol.Renew,
    protocol.EndSession,
)
REPORT = {"lease": "1.x.1", "outcome": "completed", "result": {}}
FAILED = {"lease": "1.x.1", "outcome": "failed"}
FAILURE = {"code": "C", "message": "m"}
PROGRESS = {"lease": "1.x.1", "done": 1}

Message = tuple[str, str, dict[str, Any]]


def register(**fields: Any) -> Message:
    """A registration with these fields."""
    return "POST", "/worker/v1/sessions", {"name": "a", "types": ["ANY"], "places": 1} | fields


def starts_failed(**fields: Any) -> Message:
    """A report of failed starts with these fields."""
    named = {"supervisor": "1", "number": 1, "host": "h", "application": "a", "cause": "c"}
    return "POST", "/worker/v1/failed-starts", named | fields


def exchange(**fields: Any) -> Message:
    """An exchange with these fields."""
    return "POST", "/worker/v1/exchange", {"session": "SESSION", "id": "1", "places": 0, "wait_seconds": 0} | fields


def report(**fields: Any) -> Message:
    """An exchange with one report of these fields."""
    return exchange(reports=[REPORT | fields])


def failure(**fields: Any) -> Message:
    """The same with a failure."""
    return exchange(reports=[FAILED | {"failure": FAILURE | fields}])


def origin(**fields: Any) -> Message:
    """The same with an origin."""
    return exchange(reports=[FAILED | {"origin": fields}])


def progress(**fields: Any) -> Message:
    """The same with progress."""
    return exchange(progress=[PROGRESS | fields])


def renew(**fields: Any) -> Message:
    """A renewal with these fields."""
    return "POST", "/worker/v1/sessions/SESSION/renew", fields


def end(**fields: Any) -> Message:
    """The end of a session with these fields. It is not there: nothing else is ended."""
    return "DELETE", "/worker/v1/sessions/nowhere", {"reason": "drained"} | fields


def letters(most: int) -> tuple[str, str]:
    """Texts of as many letters as are allowed, and of one more."""
    return "a" * most, "a" * (most + 1)


def many(one: Any, most: int) -> tuple[list[Any], list[Any]]:
    """As many as are allowed, and one more."""
    return [one] * most, [one] * (most + 1)


ID, TEXT = letters(protocol.ID_LENGTH_MOST), letters(protocol.TEXT_LENGTH_MOST)
HELD = many("x", protocol.HELD_MOST)
RESULT = [{"a": "x" * (RESULT_BYTES - len('{"a":""}') + more)} for more in (0, 1)]
DETAILS = letters(protocol.DETAILS_BYTES_MOST - 2)

BOUNDS: dict[str, tuple[Callable[..., Message], Any, Any]] = {
    "Register.name": (register, *letters(protocol.NAME_LENGTH_MOST)),
    "Register.types": (register, *many("ANY", protocol.TYPES_MOST)),
    "Register.places": (register, protocol.PLACES_MOST, protocol.PLACES_MOST + 1),
    "Register.local": (register, True, 1),
    "Register.version": (register, *letters(protocol.NAME_LENGTH_MOST)),
    "Register.application": (register, *letters(protocol.NAME_LENGTH_MOST)),
    "Register.supervisor": (register, *ID),
    "Register.reports": (register, protocol.NUMBER_MOST, protocol.NUMBER_MOST + 1),
    "StartsFailed.supervisor": (starts_failed, *ID),
    "StartsFailed.number": (starts_failed, protocol.NUMBER_MOST, protocol.NUMBER_MOST + 1),
    "StartsFailed.host": (starts_failed, *letters(protocol.NAME_LENGTH_MOST)),
    "StartsFailed.application": (starts_failed, *letters(protocol.NAME_LENGTH_MOST)),
    "StartsFailed.cause": (starts_failed, *letters(protocol.CAUSE_LENGTH_MOST)),
    "StartsFailed.failures": (starts_failed, protocol.STARTS_MOST, protocol.STARTS_MOST + 1),
    "StartsFailed.version": (starts_failed, *letters(protocol.NAME_LENGTH_MOST)),
    "ExchangeRequest.session": (exchange, *ID),
    "ExchangeRequest.id": (exchange, *ID),
    "ExchangeRequest.places": (exchange, protocol.PLACES_MOST, protocol.PLACES_MOST + 1),
    "ExchangeRequest.reports": (exchange, *many(REPORT, protocol.REPORTS_MOST)),
    "ExchangeRequest.progress": (exchange, *many(PROGRESS, protocol.PLACES_MOST)),
    "ExchangeRequest.wait_seconds": (exchange, 0, protocol.WAIT_SECONDS_MOST + 1),
    "ReportBody.lease": (report, *ID),
    "ReportBody.outcome": (report, "released", "vanished"),
    "ReportBody.result": (report, RESULT[0], RESULT[1]),
    "ReportBody.cause": (report, *TEXT),
    "ReportBody.failure": (report, FAILURE, {"code": "", "message": ""}),
    "ReportBody.retry": (report, True, 1),
    "ReportBody.pause_seconds": (report, protocol.PAUSE_SECONDS_MOST, protocol.PAUSE_SECONDS_MOST + 1),
    "ReportBody.reason": (report, "overdue", "late"),
    "ReportBody.origin": (report, {"place": "a:b"}, {"file": "a"}),
    "OriginBody.exception": (origin, *letters(protocol.ORIGIN_LENGTH_MOST)),
    "OriginBody.place": (origin, *letters(protocol.ORIGIN_LENGTH_MOST)),
    "OriginBody.line": (origin, protocol.LINE_MOST, protocol.LINE_MOST + 1),
    "FailureBody.code": (failure, *letters(protocol.CODE_LENGTH_MOST)),
    "FailureBody.message": (failure, *TEXT),
    "FailureBody.details": (failure, *DETAILS),
    "ProgressBody.lease": (progress, *ID),
    "ProgressBody.done": (progress, protocol.PROGRESS_MOST, protocol.PROGRESS_MOST * 2),
    "ProgressBody.total": (progress, protocol.PROGRESS_MOST, protocol.PROGRESS_MOST * 2),
    "ProgressBody.note": (progress, *letters(protocol.NOTE_LENGTH_MOST)),
    "Renew.leases": (renew, *HELD),
    "Renew.exchanges": (renew, *HELD),
    "Renew.withdrawn": (renew, *HELD),
    "EndSession.reason": (end, "lost", "bored"),
    "EndSession.overdue": (end, *HELD),
}
"""By field how a message gets it, the largest value that is taken, and one beyond it."""

BESIDE: dict[str, Message] = {
    "a type of a worker": register(types=["A" * (protocol.TYPE_LENGTH_MOST + 1)]),
    "a name that is no line": register(name="a\nb"),
    "a place that is no line": origin(place="a\nb"),
    "NUL in a cause": report(outcome="failed", cause="\0"),
    "NUL in a message": failure(message="\0"),
    "NUL in a note": progress(note="\0"),
    "an id among leases": renew(leases=[ID[1]]),
    "an id among exchanges": renew(exchanges=[ID[1]]),
    "an id among those withdrawn": renew(withdrawn=[ID[1]]),
    "an id among overdue ones": end(overdue=[ID[1]]),
    "less than no places": exchange(places=-1),
    "less than no time": exchange(wait_seconds=-1),
    "a result that is no object": report(result=[1]),
    "a result carried as text that is too large": report(result="{" + " " * RESULT_BYTES + "}"),
    "the number of a report": exchange(reports=[[0]], id="1" * 50),
    "the number of a report in a large exchange": exchange(reports=[[0], REPORT | {"cause": TEXT[0] * 4}]),
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for the table."""
    with ExitStack() as stack:
        yield stack.enter_context(House(tmp_path_factory.mktemp("bounds"), result_limit_bytes=RESULT_BYTES))


def send(house: House, message: Message) -> Any:
    """Send one message in a session that is there."""
    method, path, body = message
    session = house.session().id
    text = msgspec.json.encode(body).replace(b'"SESSION"', f'"{session}"'.encode())
    return house.worker.request(method, path.replace("SESSION", session), content=text)


def test_every_field_is_in_the_table() -> None:
    """A new one is not forgotten."""
    fields = {f"{kind.__name__}.{field.name}" for kind in RECEIVED for field in msgspec.structs.fields(kind)}

    assert fields == BOUNDS.keys()


@pytest.mark.parametrize("field", BOUNDS)
def test_a_field_is_taken_up_to_its_bound_and_refused_beyond(house: House, field: str) -> None:
    """400 names it; a session that is unknown is refused for that, not for its length."""
    make, most, beyond = BOUNDS[field]
    name = field.partition(".")[2]

    assert send(house, make(**{name: most})).status_code == (410 if name == "session" else 200)
    refused = send(house, make(**{name: beyond}))

    assert refused.status_code == 400
    assert name in error_of(refused)["details"][0]["field"] or name == "failure"


@pytest.mark.parametrize("message", BESIDE.values(), ids=BESIDE)
def test_what_is_in_a_field_is_bounded_too(house: House, message: Message) -> None:
    """Or is refused for what it is."""
    assert send(house, message).status_code == 400


def test_a_large_exchange_is_read_as_a_small_one(tmp_path: Path) -> None:
    """Its large reports apart, each in its place; half a surrogate pair in a result that is carried as text, too."""
    with House(tmp_path) as house:
        customer, session = house.customer(), house.session("ANY", places=10)
        tasks = [customer.accepted() for _ in range(4)]
        leases = {lease["task"]: lease["lease"] for lease in session.claim(4)}
        text = '{"a": "\\ud800 é \\\\ \\" ' + "\\n😀" * 40_000 + '"}'
        results: list[Any] = [{"a": ["x" * 100_000, "]}"]}, {"b": 1}, text, {"c": [[]] * 50_000}]
        reports = [
            {"lease": leases[task], "outcome": "completed", "result": result}
            for task, result in zip(tasks, results, strict=True)
        ]

        answer = session.exchange(0, *reports)

        assert answer.json()["verdicts"] == ["accepted"] * 4
        shown = [customer.find(task).content for task in tasks]
        assert msgspec.json.decode(shown[0])["response"] == results[0]
        assert msgspec.json.decode(shown[1])["response"] == results[1]
        assert text.encode() in shown[2]
        assert msgspec.json.decode(shown[3])["response"] == results[3]
