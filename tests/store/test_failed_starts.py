"""Workers that cannot start: counted once for each report, told to operators, over when one registers."""

from typing import Any

from msgspec.structs import replace

from fairlane.model.leases import FailedStartReport
from fairlane.model.pulses import TroubleKind
from fairlane.store import Store, new_id
from fairlane.store.failed_starts import KEPT_MOST, SHOWN_MS
from tests.builders import a_session
from tests.store.databases import Clock

CAUSE = "the import of the application raised ImportError (tasks.py:3)"


def a_report(**changes: Any) -> FailedStartReport:
    """One start of an application failed on a machine."""
    report = FailedStartReport(
        supervisor=new_id(), number=1, host="build-7", application="shop.tasks:app", cause=CAUSE, failures=1,
        key_id="a key", version="1",
    )  # fmt: skip
    return replace(report, **changes)


async def test_a_crash_loop_has_its_cause_since_when_and_how_often(store: Store, clock: Clock) -> None:
    """Over several supervisors, as a program that restarts them makes; a report that comes twice counts once."""
    began, first = clock.at, a_report()
    await store.failed_starts.report(first)
    await store.failed_starts.report(first)
    clock.at += 60_000
    await store.failed_starts.report(a_report(failures=3, cause="another"))
    await store.failed_starts.report(a_report(host="build-8", key_id=None))

    seven, eight = await store.failed_starts.all()

    assert (seven.host, seven.application, seven.key, seven.cause) == ("build-7", "shop.tasks:app", "a key", "another")
    assert (seven.failures, seven.first_at, seven.last_at) == (4, began, clock.at)
    assert (eight.host, eight.key, eight.failures) == ("build-8", None, 1)
    assert (await store.fleet.find()).failed_starts == (seven, eight)
    [trouble] = (await store.pulses.overview(worker_trouble=None, disk_full=False)).troubles
    assert (trouble.kind, trouble.since, trouble.subject) == (TroubleKind.WORKERS_FAILING, began, "build-7")
    assert trouble.message == "No worker of shop.tasks:app can start on build-7: another, and one more"
    assert trouble.advice.startswith("5 starts failed.")
    assert trouble.advice.endswith("or start the worker again.")  # It may have given up.


async def test_it_is_over_when_a_worker_of_it_registers(store: Store) -> None:
    """Of the same application, machine and key; others still cannot start."""
    await store.failed_starts.report(a_report())
    await store.failed_starts.report(a_report(host="build-8"))
    await store.failed_starts.report(a_report(application="other"))
    await store.failed_starts.report(a_report(key_id=None))
    started = replace(a_session(["ANY"]), name="build-7/12", application="shop.tasks:app", key_id="a key")

    await store.sessions.open(replace(started, application=""))
    assert len(await store.failed_starts.all()) == 4
    await store.sessions.open(replace(started, id=new_id()))

    left = [(one.host, one.application, one.key) for one in await store.failed_starts.all()]
    assert sorted(left, key=str) == [
        ("build-7", "other", "a key"), ("build-7", "shop.tasks:app", None), ("build-8", "shop.tasks:app", "a key"),
    ]  # fmt: skip


async def test_a_report_that_is_late_is_dropped(store: Store) -> None:
    """One that its supervisor wrote before its worker registered; later ones and those of other supervisors count."""
    late, other = a_report(number=2), a_report(failures=5)
    started = replace(a_session(["ANY"]), name="build-7/12", application="shop.tasks:app", key_id="a key")
    await store.sessions.open(replace(started, supervisor=late.supervisor, reports=2))

    await store.failed_starts.report(late)
    assert await store.failed_starts.all() == ()
    await store.failed_starts.report(other)
    await store.failed_starts.report(late)
    [found] = await store.failed_starts.all()
    assert found.failures == 5
    await store.failed_starts.report(replace(late, number=3))
    [found] = await store.failed_starts.all()
    assert found.failures == 6


async def test_a_report_that_meets_the_registration_is_not_shown(store: Store) -> None:
    """Two servers may write both at once, and neither sees the other's: as with a registration that deletes none."""
    met = a_report(number=4)
    await store.failed_starts.report(met)
    started = replace(a_session(["ANY"]), name="build-7/12", application="", key_id="a key")

    await store.sessions.open(replace(started, supervisor=met.supervisor, reports=3))
    assert len(await store.failed_starts.all()) == 1
    await store.sessions.open(replace(started, id=new_id(), supervisor=met.supervisor, reports=4))
    assert await store.failed_starts.all() == ()


async def test_what_is_not_reported_again_is_forgotten(store: Store, clock: Clock) -> None:
    """A machine that is gone; its next failure begins a new count."""
    await store.failed_starts.report(a_report(failures=7))
    clock.at += SHOWN_MS
    assert len(await store.failed_starts.all()) == 1
    assert await store.failed_starts.purge() == 0
    clock.at += 1

    assert await store.failed_starts.all() == ()
    await store.failed_starts.report(a_report())
    [again] = await store.failed_starts.all()
    assert (again.failures, again.first_at) == (1, clock.at)
    clock.at += SHOWN_MS + 1
    assert await store.failed_starts.purge() == 1


async def test_the_number_of_machines_is_bounded(store: Store, clock: Clock) -> None:
    """A key that reports ever new names fills nothing: the oldest go."""
    for number in range(KEPT_MOST + 3):
        clock.at += 1
        await store.failed_starts.report(a_report(host=f"made-up-{number}"))

    found = await store.failed_starts.all()

    assert len(found) == KEPT_MOST
    assert found[0].host == "made-up-3"
