"""What would have been: known answers, and agreement with what really was."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlane import Fairlane
from fairlane.model.simulation import Ran, SimulatedOrganization, Traced, Waits, WhatIf, WorkRecord
from fairlane.model.usage import UsagePoint
from fairlane.simulation import Arrival, advise, quantile, simulate, what_if
from fairlane.testing import Engine

SECOND = 1_000


def every(seconds: int, count: int, *, runs: int, party: str = "a", rank: int = 0) -> list[Arrival]:
    """So many tasks at this pace that run so many seconds each."""
    return [
        Arrival(party=party, at=number * seconds * SECOND, duration_ms=runs * SECOND, rank=rank)
        for number in range(count)
    ]


def test_one_slot_falls_behind_and_two_keep_up() -> None:
    """A task every 10 s that runs 20 s: the wait grows by 10 s each, or is none."""
    arrivals = every(10, 5, runs=20)

    assert simulate({"a": SimulatedOrganization(slots=1)}, arrivals, places=None)["a"] == [
        0,
        10_000,
        20_000,
        30_000,
        40_000,
    ]
    assert simulate({"a": SimulatedOrganization(slots=2)}, arrivals, places=None)["a"] == [0] * 5


def test_workers_are_a_limit_like_slots() -> None:
    """Ten slots and one place are one."""
    arrivals = every(10, 3, runs=20)

    assert simulate({"a": SimulatedOrganization(slots=10)}, arrivals, places=1)["a"] == [0, 10_000, 20_000]


def test_higher_priorities_pass() -> None:
    """The third is taken before the second, which came earlier."""
    low = [Arrival(party="a", at=at, duration_ms=10_000, rank=9) for at in (0, 1_000)]
    high = Arrival(party="a", at=2_000, duration_ms=10_000, rank=0)

    assert simulate({"a": SimulatedOrganization(slots=1)}, [*low, high], places=None)["a"] == [0, 8_000, 19_000]


@pytest.mark.parametrize(("weight", "least", "most"), [(1, 0.45, 0.55), (3, 0.70, 0.80)])
def test_places_are_shared_by_weight(weight: int, least: float, most: float) -> None:
    """Two that always have work: the part of the starts in the first half is the part of the weights."""
    arrivals = [Arrival(party=name, at=0, duration_ms=SECOND) for name in ("a", "b") for _ in range(400)]

    waits = simulate(
        {"a": SimulatedOrganization(slots=400, weight=weight), "b": SimulatedOrganization(slots=400)},
        arrivals,
        places=4,
    )

    early = {name: sum(wait < 100 * SECOND for wait in found) for name, found in waits.items()}
    assert least <= early["a"] / (early["a"] + early["b"]) <= most


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 50), st.integers(0, 30), st.integers(0, 9)), max_size=40),
    st.integers(1, 4),
    st.integers(1, 5),
)
def test_every_task_starts_once_and_more_slots_never_make_it_worse_alone(
    found: list[tuple[str, int, int, int]], slots: int, places: int
) -> None:
    """Whatever the work is, nothing is lost; with slots for all and places for all nobody waits."""
    arrivals = [Arrival(party=name, at=at, duration_ms=runs, rank=rank) for name, at, runs, rank in found]
    parties = {"a": SimulatedOrganization(slots=slots), "b": SimulatedOrganization(slots=slots)}

    waits = simulate(parties, arrivals, places=places)
    free = simulate({name: SimulatedOrganization(slots=100) for name in parties}, arrivals, places=None)

    assert {name: len(one) for name, one in waits.items()} == {
        name: sum(arrival.party == name for arrival in arrivals) for name in parties
    }
    assert all(wait >= 0 for one in waits.values() for wait in one)
    assert all(wait == 0 for one in free.values() for wait in one)


def test_who_was_idle_banks_no_credit() -> None:
    """The second comes when the first was served alone for long: from then on they take turns."""
    arrivals = [Arrival(party="a", at=0, duration_ms=SECOND) for _ in range(100)]
    arrivals += [Arrival(party="b", at=50 * SECOND, duration_ms=SECOND) for _ in range(50)]

    waits = simulate({"a": SimulatedOrganization(slots=100), "b": SimulatedOrganization(slots=100)}, arrivals, places=1)

    assert waits["b"][-1] > 90 * SECOND


def test_what_really_ran_replaces_what_was_charged_for_it() -> None:
    """Charged as a second, the first task of one ran for 100: then it is the other's turn for as long."""
    arrivals = [Arrival(party="a", at=0, duration_ms=100 * SECOND), Arrival(party="a", at=0, duration_ms=SECOND)]
    arrivals += [Arrival(party="b", at=0, duration_ms=SECOND) for _ in range(200)]

    waits = simulate({"a": SimulatedOrganization(slots=2), "b": SimulatedOrganization(slots=200)}, arrivals, places=1)

    first, second = waits["a"]
    assert first == 0
    assert abs(second - 200 * SECOND) <= 2 * SECOND


def test_quantiles_of_known_waits() -> None:
    """The smallest that is enough."""
    assert [quantile(range(1, 11), part) for part in (0.5, 0.9, 0.99, 1.0)] == [5, 9, 10, 10]
    assert quantile([], 0.5) is None


def test_a_recorded_day_gives_the_known_answer() -> None:
    """A task every minute that ran 90 s in one slot: what was measured is what one slot gives; two give no wait."""
    day = 24 * 60
    ran = tuple(
        Ran(ready_at=n * 60_000, started_at=n * 90_000, finished_at=(n + 1) * 90_000, priority=1) for n in range(day)
    )
    total = UsagePoint(
        start=0, end=day * 60_000, submitted=day, started=day, completed=day, failed=0, wait_p50_ms=None,
        wait_p99_ms=None, run_ms=0, slot_ms=day * 60_000, plan_limited_ms=day * 60_000, worker_limited_ms=0,
    )  # fmt: skip

    advice = advise(WorkRecord(total=total, slots_max=1, ran=ran, places=6))

    now = advice.projections[0]
    assert advice.measured == Waits(p50_ms=now.wait_p50_ms, p90_ms=now.wait_p90_ms, p99_ms=now.wait_p99_ms)
    assert now.wait_p90_ms == 30_000 * (day * 9 // 10 - 1)
    assert [(one.slots, one.wait_p99_ms) for one in advice.projections[1:]] == [(2, 0), (4, 0)]
    assert (advice.trusted, advice.enough) == (True, False)


def test_a_replay_that_misses_what_was_measured_is_not_trusted() -> None:
    """Attempts that failed and paused took no slot meanwhile: replayed as one piece each, they seem to wait longer."""
    paused = tuple(Ran(ready_at=0, started_at=n * 1_000, finished_at=n * 1_000 + 10_000, priority=1) for n in range(10))
    total = UsagePoint(
        start=0, end=20_000, submitted=10, started=20, completed=10, failed=0, wait_p50_ms=None, wait_p99_ms=None,
        run_ms=0, slot_ms=10_000, plan_limited_ms=9_000, worker_limited_ms=0,
    )  # fmt: skip
    waits = Waits(p50_ms=4_000, p90_ms=8_000, p99_ms=9_000)
    traced = [
        Traced(organization="a", accepted_at=0, started_at=one.started_at, finished_at=one.finished_at)
        for one in paused
    ]

    advice = advise(WorkRecord(total=total, slots_max=1, ran=paused, places=6))
    [told] = what_if(
        traced,
        {"a": SimulatedOrganization(slots=1)},
        {"a": SimulatedOrganization(slots=2)},
        places_now=None,
        places_then=None,
    )

    assert (advice.measured, advice.projections[0].wait_p90_ms) == (waits, 80_000)
    assert (advice.trusted, advice.enough) == (False, False)
    assert (told.waits_measured, told.trusted) == (waits, False)


# Recorded by the real store, replayed under other limits --------------------------------------------------------------

MINUTE = 60 * SECOND


def an_app() -> Fairlane:
    """One type whose attempts may take an hour."""
    app = Fairlane()

    @app.task("PAGE", timeout=3_600)
    def page(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    return app


def recorded(engine: Engine) -> list[Traced]:
    """What the operator's route hands out of the day that ended, in pages."""
    found: list[Traced] = []
    cursor = ""
    for _ in range(100):
        page = engine.operate("GET", f"trace?limit=50{cursor}")
        found += msgspec.convert(page["tasks"], list[Traced])
        if "cursor" not in page:
            break
        cursor = f"&cursor={page['cursor']}"
    return found


def replayed(
    trace: list[Traced],
    now: Mapping[str, SimulatedOrganization],
    *,
    places: tuple[int, int],
    **then: SimulatedOrganization,
) -> dict[str, WhatIf]:
    """By organization."""
    found = what_if(trace, now, {**now, **then}, places_now=places[0], places_then=places[1])
    return {one.organization: one for one in found}


def waits(p50: int, p90: int, p99: int) -> Waits:
    """In minutes."""
    return Waits(p50_ms=p50 * MINUTE, p90_ms=p90 * MINUTE, p99_ms=p99 * MINUTE)


def test_a_day_of_the_real_store_replayed_is_that_day_and_with_more_slots_the_known_other() -> None:
    """A task each ten minutes that takes fifteen, in one slot: the n-th waits 5n minutes. In two nobody waits."""
    with Engine(an_app(), takes={"PAGE": 15 * 60}) as engine:
        acme = engine.organization("acme", slots=1)
        for number in range(90):
            acme.submit("PAGE", {"n": number})
            engine.advance(minutes=10)
        engine.run()
        trace = recorded(engine)

    one = replayed(
        trace, {"acme": SimulatedOrganization(slots=1)}, places=(10, 10), acme=SimulatedOrganization(slots=2)
    )["acme"]

    assert one.tasks == 90
    assert one.waits_measured == waits(5 * 44, 5 * 80, 5 * 89)
    assert one.waits_now == one.waits_measured
    assert one.waits_then == waits(0, 0, 0)


@pytest.mark.parametrize(("weight", "p99"), [(1, 460), (3, 320)])
def test_a_shared_place_of_the_real_store_is_replayed_with_weights_and_with_more_places(weight: int, p99: int) -> None:
    """Two that submit 24 tasks at once for one place, ten minutes each: they take turns. With three times the weight
    the first is through after 32 turns. With 48 places nobody waits."""
    with Engine(an_app(), places=1, takes={"PAGE": 10 * 60}) as engine:
        acme, bolt = engine.organization("acme", slots=24), engine.organization("bolt", slots=24)
        for number in range(24):
            acme.submit("PAGE", {"n": number})
            bolt.submit("PAGE", {"n": number})
        engine.run()
        trace = recorded(engine)
    now = {"acme": SimulatedOrganization(slots=24), "bolt": SimulatedOrganization(slots=24)}

    other = replayed(trace, now, places=(1, 1), acme=SimulatedOrganization(slots=24, weight=weight))
    free = replayed(trace, now, places=(1, 48))

    assert {name: one.waits_now for name, one in other.items()} == {
        name: one.waits_measured for name, one in other.items()
    }
    assert other["acme"].waits_now.p99_ms == 460 * MINUTE
    assert abs((other["acme"].waits_then.p99_ms or 0) - p99 * MINUTE) <= 20 * MINUTE
    assert other["bolt"].waits_then.p99_ms == 470 * MINUTE
    assert {one.waits_then for one in free.values()} == {waits(0, 0, 0)}


def test_who_waits_for_a_moment_waits_for_no_slot() -> None:
    """A task that is to start later counts from then on, and passes what was accepted after it."""
    trace = [
        Traced(organization="a", accepted_at=0, run_at=5_000, started_at=9_000, finished_at=10_000),
        Traced(organization="a", accepted_at=1_000, started_at=1_000, finished_at=9_000),
        Traced(organization="a", accepted_at=4_000, started_at=10_000, finished_at=11_000),
    ]

    [one] = what_if(
        trace,
        {"a": SimulatedOrganization(slots=1)},
        {"a": SimulatedOrganization(slots=1)},
        places_now=None,
        places_then=None,
    )

    assert one.waits_measured == Waits(p50_ms=4_000, p90_ms=6_000, p99_ms=6_000)
    assert one.waits_now == one.waits_then == one.waits_measured


def test_a_trace_may_come_in_any_order() -> None:
    """It is replayed in that of acceptance."""
    trace = [
        Traced(organization="a", accepted_at=0, started_at=0, finished_at=10_000),
        Traced(organization="a", accepted_at=1_000, started_at=10_000, finished_at=11_000),
        Traced(organization="a", accepted_at=2_000, started_at=11_000, finished_at=31_000),
        Traced(organization="a", accepted_at=3_000, started_at=31_000, finished_at=32_000),
    ]
    now = {"a": SimulatedOrganization(slots=1)}

    in_order, reversed_ = [what_if(one, now, now, places_now=None, places_then=None) for one in (trace, trace[::-1])]

    assert reversed_ == in_order
    assert in_order[0].waits_now == in_order[0].waits_measured
