"""The engine for users' tests: the real rules, on a clock that is moved by hand."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fairlane import Context, Fail, Fairlane, Retry
from fairlane.client import QueueLimitExceeded, TaskFailed, ValidationFailed, verify
from fairlane.settings import Settings
from fairlane.testing import Engine, EngineError, SentWebhook

HOOK = "https://app.example/hook?token=1"


def an_app() -> Fairlane:
    """Handlers of each kind."""
    app = Fairlane()

    @app.task("PAGE", timeout=100, cost=2)
    async def page(payload: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return payload

    @app.task("FLAKY", attempts=3)
    def flaky(payload: dict[str, Any], context: Context) -> dict[str, int]:
        if context.attempt <= payload["fails"]:
            raise Retry("not yet", after=30)
        return {"attempt": context.attempt}

    @app.task("WRONG")
    def wrong(payload: dict[str, Any]) -> None:
        raise Fail("NO_SUCH_PAGE", "there is no such page")

    return app


@pytest.fixture
def engine() -> Iterator[Engine]:
    """One whose pages take a minute each."""
    with Engine(an_app(), takes={"PAGE": 60}) as made:
        yield made


def test_nothing_happens_between_calls_and_a_canceled_attempt_holds_its_slot(engine: Engine) -> None:
    """What may start does when the clock moves, if only by nothing; and what was canceled ends at its moment."""
    acme = engine.organization("acme", slots=1)
    first, second = acme.submit("PAGE", {}), acme.submit("PAGE", {})
    assert acme.task(first).status == "QUEUED"
    engine.advance(seconds=0)
    assert acme.task(first).status == "PROCESSING"

    acme.cancel(first)
    engine.advance(seconds=59)
    held = acme.task(second).status
    engine.advance(seconds=1)

    assert (held, acme.task(first).status, acme.task(second).status) == ("QUEUED", "FAILED", "PROCESSING")


def test_limits_hold_and_freed_slots_are_refilled_at_once(engine: Engine) -> None:
    """Two slots and one-minute tasks: two a minute, never three at once."""
    acme = engine.organization("acme", slots=2)
    for number in range(5):
        acme.submit("PAGE", {"n": number})

    seen = []
    for _ in range(4):
        engine.advance(seconds=0)
        status = acme.status()
        assert status.concurrency is not None
        seen.append((status.queued_tasks, status.concurrency.used))
        engine.advance(minutes=1)

    assert seen == [(3, 2), (1, 2), (0, 1), (0, 0)]
    assert [started.at for started in engine.started] == sorted(started.at for started in engine.started)
    assert engine.drift() == []


def test_priority_goes_first_and_organizations_share_by_weight() -> None:
    """The order in which attempts start is that of a real server."""
    with Engine(an_app(), places=4, takes={"PAGE": 10}) as engine:
        light, heavy = engine.organization("light", weight=1), engine.organization("heavy", weight=3)
        for number in range(40):
            light.submit("PAGE", {"n": number})
            heavy.submit("PAGE", {"n": number})
        light.submit("PAGE", {"n": "urgent"}, priority=10)
        engine.advance(minutes=1.5)

        of_light = [started for started in engine.started if started.organization == "light"]
        share = len(of_light) / len(engine.started)

    assert of_light[0].payload == {"n": "urgent"}
    assert [started.payload["n"] for started in of_light[1:4]] == [0, 1, 2]
    assert 0.2 < share < 0.3


def test_a_pause_between_attempts_passes_on_the_clock(engine: Engine) -> None:
    """Two failures with thirty seconds after each: the third attempt starts after a minute."""
    acme = engine.organization("acme")
    began = engine.now
    task = acme.submit("FLAKY", {"fails": 2})

    engine.advance(seconds=59)
    assert acme.task(task).status == "QUEUED"
    engine.advance(seconds=1)

    assert acme.task(task).response == {"attempt": 3}
    assert (engine.now - began).total_seconds() == 60
    assert [started.attempt for started in engine.started] == [1, 2, 3]


def test_an_attempt_that_takes_too_long_times_out_as_a_worker_would_end_it() -> None:
    """At its deadline, and it counts."""
    with Engine(an_app(), takes=lambda started: 1_000 if started.attempt == 1 else 1) as engine:
        acme = engine.organization("acme")
        task = acme.submit("PAGE", {})
        engine.run()

        assert acme.task(task).status == "COMPLETED"
        assert [started.attempt for started in engine.started] == [1, 2]
        assert 100_000 <= engine.started[1].at - engine.started[0].at <= 102_000


def test_webhooks_are_signed_and_follow_their_schedule(engine: Engine) -> None:
    """Refused twice, taken the third time, six minutes after the first."""
    acme, secret = engine.organization("acme"), engine.webhook_secret("acme")
    answers = iter([500, None])
    engine.receive_webhooks(lambda sent: next(answers, 204))
    task = acme.submit("WRONG", {}, webhook_url=HOOK, idempotency_key="job-1")

    engine.advance(seconds=1)
    told = acme.task(task).webhook
    engine.run()

    assert told is not None
    assert not told.delivered
    assert [sent.status for sent in engine.sent] == [500, None, 204]
    assert {sent.url for sent in engine.sent} == {HOOK}
    minutes = [(sent.at - engine.sent[0].at) / 60_000 for sent in engine.sent]
    assert 1.7 < minutes[1] < 2.3
    assert 5.3 < minutes[2] < 6.7
    for sent in engine.sent:
        verified = verify(secret, sent.headers, sent.body, now=lambda at=sent.at: at / 1_000)  # type: ignore[misc]
        assert verified.idempotency_key == sent.task.idempotency_key == "job-1"
    ended = acme.task(task)
    assert ended.webhook is not None
    assert ended.webhook.delivered
    assert ended.error is not None
    assert ended.error.code == "NO_SUCH_PAGE"


def test_waiting_with_the_client_moves_the_clock(engine: Engine) -> None:
    """``run``, ``wait`` and the throttle of ``submit_many`` need no thread."""
    from fairlane.client import NewTask

    acme = engine.organization("acme", slots=5)
    tasks = [NewTask(task_type="PAGE", payload={"n": number}) for number in range(30)]

    verdicts = list(acme.submit_many(tasks, keep_queued_below=10))
    ended = list(acme.as_completed(verdicts))

    assert sorted(task.response["n"] for task in ended if task.response) == list(range(30))
    assert acme.run("PAGE", {"n": 1}) == {"n": 1}
    with pytest.raises(TaskFailed):
        acme.run("WRONG", {})


def test_credits_are_checked_and_charged(engine: Engine) -> None:
    """Five credits pay two pages at two each."""
    from fairlane.client import CreditsInsufficient

    acme = engine.organization("acme", credits=5)
    for _ in range(2):
        acme.submit("PAGE", {})
    engine.run()

    with pytest.raises(CreditsInsufficient):
        acme.submit("PAGE", {})
    assert acme.credits().remaining == 1


def test_what_the_api_refuses_is_refused(engine: Engine) -> None:
    """It is the real one."""
    acme = engine.organization("acme", queue_limit=1)
    acme.submit("PAGE", {})

    with pytest.raises(QueueLimitExceeded):
        acme.submit("PAGE", {})
    with pytest.raises(ValidationFailed):
        acme.submit("NOWHERE", {})
    with pytest.raises(EngineError, match="already exists"):
        engine.organization("acme")


def test_operators_can_act(engine: Engine) -> None:
    """A paused organization starts nothing."""
    acme = engine.organization("acme")
    engine.operate("PATCH", "organizations/acme", {"paused": True})
    acme.submit("PAGE", {})
    engine.advance(hours=1)
    waited = acme.status().queued_tasks
    engine.operate("PATCH", "organizations/acme", {"paused": False})
    engine.run()

    assert (waited, acme.status().queued_tasks) == (1, 0)


def test_old_tasks_are_gone_after_their_retention() -> None:
    """With the settings that a server would have."""
    from fairlane.client import NotFound

    with Engine(an_app(), settings=Settings(retention_seconds=3_600)) as engine:
        acme = engine.organization("acme")
        task = acme.submit("PAGE", {})
        engine.run()
        engine.advance(minutes=59)
        found = acme.task(task).status
        engine.advance(minutes=2)

        assert found == "COMPLETED"
        with pytest.raises(NotFound):
            acme.task(task)


def test_the_same_test_runs_the_same_way_each_time() -> None:
    """Order and moments do not depend on how fast the machine is."""

    def story() -> list[tuple[int, str, Any]]:
        with Engine(an_app(), places=3, takes={"PAGE": 7}) as engine:
            clients = [engine.organization(name, slots=2) for name in ("a", "b", "c")]
            for number in range(12):
                clients[number % 3].submit("PAGE", {"n": number}, priority=1 + number % 2)
            engine.run()
            return [(started.at, started.organization, started.payload["n"]) for started in engine.started]

    assert story() == story()


def test_hooks_run_and_nothing_is_left_behind(tmp_path: Path) -> None:
    """Start hooks before, stop hooks after; the database is gone."""
    app, said = an_app(), list[str]()
    app.on_start(lambda: said.append("started"))
    app.on_stop(lambda: said.append("stopped"))

    with Engine(app) as engine:
        folder = engine._folder
        assert folder.exists()
        assert said == ["started"]

    assert said == ["started", "stopped"]
    assert not folder.exists()


def test_an_application_without_tasks_is_refused_in_words() -> None:
    """As ``fairlane serve`` does; the engine has nothing to run."""
    with pytest.raises(EngineError, match=r"registers no task: use @app\.task"), Engine(Fairlane()):
        pass


async def test_in_an_async_test_it_says_what_to_do() -> None:
    """Instead of failing deep inside."""
    with pytest.raises(EngineError, match="plain def test"):
        Engine(an_app()).__enter__()


def test_a_test_of_fifty_tasks_waits_for_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes pass on the engine's clock, and no timer of its event loop has to fire for that."""
    call_at, fired = asyncio.BaseEventLoop.call_at, []

    def noting(loop: Any, when: float, callback: Any, *arguments: Any, **named: Any) -> Any:
        def fire(*arguments: Any) -> None:
            fired.append(callback)
            callback(*arguments)

        return call_at(loop, when, fire, *arguments, **named)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_at", noting)
    with Engine(an_app(), takes={"PAGE": 60}) as engine:
        acme = engine.organization("acme", slots=5)
        began = engine.now
        for number in range(50):
            acme.submit("PAGE", {"n": number}, webhook_url=HOOK)
        engine.run()

    assert engine.now - began == timedelta(minutes=10)
    assert len(engine.sent) == 50
    assert fired == []


def test_what_is_sent_can_be_looked_at() -> None:
    """A receiver sees the try before it answers."""
    seen: list[SentWebhook] = []
    with Engine(an_app()) as engine:
        engine.receive_webhooks(lambda sent: seen.append(sent) or 200)  # type: ignore[func-returns-value]
        acme = engine.organization("acme")
        task = acme.submit("PAGE", {"n": 1}, webhook_url=HOOK)
        engine.run()

    assert seen[0].task.id == task.id
    assert seen[0].task.response == {"n": 1}
    assert seen[0].status is None


def test_a_call_runs_while_its_caller_waits() -> None:
    """Its attempts take their time on the engine's clock, its retries their pauses."""
    app = Fairlane()

    @app.task("FLAKY", attempts=2)
    def flaky(payload: dict[str, Any], context: Context) -> dict[str, Any]:
        if context.attempt == 1:
            raise Retry(after=20)
        return {"attempt": context.attempt, "call": context.is_call}

    with Engine(app, takes={"FLAKY": 5}) as engine:
        engine.organization("acme", slots=1)
        key = engine.operate("POST", "organizations/acme/keys", {})["value"]
        began = engine.now
        transport = httpx2.MockTransport(engine._answer)
        with httpx2.Client(transport=transport, headers={"authorization": f"Bearer {key}"}) as client:
            answer = client.post("http://fairlane.test/v1/monitor/flaky", json={})

        assert answer.json() == {"success": True, "result": {"attempt": 2, "call": True}}
        assert (engine.now - began).total_seconds() == 30
        assert engine.drift() == []
