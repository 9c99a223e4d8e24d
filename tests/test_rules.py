"""The pure decisions: fair shares, what becomes of an attempt, pauses, sums over time."""

import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlane.model.alerts import Alert, AlertKind, AlertRule
from fairlane.model.insight import Estimate, WaitReason
from fairlane.model.leases import Completed, Failed, Lost, Released
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.model.usage import Totals
from fairlane.model.webhooks import HostHold, Webhook
from fairlane.rules.alerts import judge_alert
from fairlane.rules.attempts import EXHAUSTED, RETRY_PAUSE_MAX_MS, Final, Paused, Requeued, aftermath, retry_pause_ms
from fairlane.rules.capacity import enough, replay_fits
from fairlane.rules.clocks import jump_of
from fairlane.rules.deliveries import (
    Addressed,
    DeliveryChoice,
    DeliveryLimits,
    OpenMessages,
    SenderState,
    asked_wait_ms,
    delivery_pause_ms,
    hold,
)
from fairlane.rules.fairness import VIRTUAL_UNITS_PER_MS, Candidate, next_estimate, priority_of, rank_of, service, share
from fairlane.rules.history import BUCKETS, Integrals, bucket_of, quantile_ms, usage_points
from fairlane.rules.waiting import Running, Standing, wait_estimate, wait_reason


def a_candidate(
    organization_id: int, *, virtual_time: int = 0, weight: int = 1, startable: int = 10, estimate_ms: int = 100
) -> Candidate:
    return Candidate(organization_id, virtual_time, weight, startable, estimate_ms)


candidates = st.lists(
    st.builds(
        a_candidate,
        st.integers(1, 1_000),
        virtual_time=st.integers(0, 10**7),
        weight=st.integers(1, 10),
        startable=st.integers(0, 30),
        estimate_ms=st.integers(1, 5_000),
    ),
    unique_by=lambda one: one.organization_id,
    max_size=12,
)


def test_priorities_rank_from_the_highest() -> None:
    """10 is taken first; both functions undo each other."""
    assert sorted(range(1, 11), key=rank_of) == list(range(10, 0, -1))
    assert [priority_of(rank_of(priority)) for priority in range(1, 11)] == list(range(1, 11))


# Shares --------------------------------------------------------------------------------------------------------------


def test_places_go_to_the_smallest_virtual_time_first() -> None:
    """Who was served least gets places until it has caught up."""
    behind, ahead = a_candidate(2), a_candidate(1, virtual_time=service(250, 1))

    shares = share([ahead, behind], 3)

    assert shares.places == {2: 3}
    assert share([ahead, behind], 5).places == {2: 4, 1: 1}


def test_equal_tags_are_dealt_in_the_order_of_ids() -> None:
    """Nothing is left to chance."""
    assert share([a_candidate(3), a_candidate(1), a_candidate(2)], 2).places == {1: 1, 2: 1}


def test_a_share_is_proportional_to_weight() -> None:
    """Weights 1 and 3 share eight places 2 to 6."""
    assert share([a_candidate(1), a_candidate(2, weight=3)], 8).places == {1: 2, 2: 6}


def test_no_places_or_nobody_is_no_share() -> None:
    """The empty cases."""
    assert share([], 5).places == {}
    assert share([a_candidate(1)], 0).places == {}
    assert share([a_candidate(1, startable=0)], 5).places == {}


def test_the_tag_of_the_last_pick_is_told() -> None:
    """Virtual time moves on to the start of the service dealt last."""
    assert share([a_candidate(1, virtual_time=7)], 1).virtual_time == 7
    assert share([a_candidate(1, virtual_time=7)], 3).virtual_time == 7 + service(200, 1)


@given(candidates, st.integers(0, 100))
def test_shares_are_whole_and_within_bounds(chosen: list[Candidate], places: int) -> None:
    """Nobody gets more than it can start, all places are dealt as long as somebody can, and none is dealt twice."""
    dealt = share(chosen, places).places
    startable = {one.organization_id: one.startable for one in chosen}

    assert all(0 < count <= startable[organization_id] for organization_id, count in dealt.items())
    assert sum(dealt.values()) == min(places, sum(startable.values()))


@given(candidates, st.integers(1, 60))
def test_shares_are_fair_within_one_attempt(chosen: list[Candidate], places: int) -> None:
    """Whoever could still start something is behind nobody who was dealt a place by more than that one attempt."""
    dealt = share(chosen, places).places
    tags = {
        one.organization_id: one.virtual_time + dealt.get(one.organization_id, 0) * service(one.estimate_ms, one.weight)
        for one in chosen
    }
    left_out = [one for one in chosen if dealt.get(one.organization_id, 0) < one.startable]

    for one in chosen:
        if dealt.get(one.organization_id):
            last_start = tags[one.organization_id] - service(one.estimate_ms, one.weight)
            assert all(last_start <= tags[other.organization_id] for other in left_out)


@given(candidates, st.integers(0, 40), st.randoms())
def test_shares_do_not_depend_on_the_order_of_candidates(chosen: list[Candidate], places: int, random) -> None:
    """The same candidates are dealt the same."""
    shuffled = chosen[:]
    random.shuffle(shuffled)

    assert share(chosen, places) == share(shuffled, places)


@given(candidates, st.integers(0, 20), st.integers(0, 20))
def test_dealing_twice_is_dealing_once(chosen: list[Candidate], first: int, second: int) -> None:
    """Two claims in a row deal what one claim of their sum would."""
    one = share(chosen, first).places
    rest = [
        Candidate(
            candidate.organization_id,
            candidate.virtual_time
            + one.get(candidate.organization_id, 0) * service(candidate.estimate_ms, candidate.weight),
            candidate.weight,
            candidate.startable - one.get(candidate.organization_id, 0),
            candidate.estimate_ms,
        )
        for candidate in chosen
    ]
    other = share(rest, second).places

    assert share(chosen, first + second).places == {
        key: one.get(key, 0) + other.get(key, 0) for key in one.keys() | other.keys()
    }


def test_service_is_worth_less_at_more_weight() -> None:
    """A whole number of units, rounded down."""
    assert service(1, 1) == VIRTUAL_UNITS_PER_MS
    assert service(10, 3) == 10 * VIRTUAL_UNITS_PER_MS // 3
    assert service(-10, 1) == -10 * VIRTUAL_UNITS_PER_MS


def test_the_first_observation_replaces_the_guess() -> None:
    """Later ones move the average."""
    assert next_estimate(None, 40) == 40
    assert next_estimate(100, 100) == 100
    assert 100 < next_estimate(100, 200) < 200


@given(st.floats(1, 10**7), st.integers(0, 10**7))
def test_an_estimate_stays_between_what_was_seen(estimate: float, observed: int) -> None:
    """It never leaves the range of old and new."""
    low, high = sorted((estimate, observed))

    assert low - 1e-6 * high <= next_estimate(estimate, observed) <= high * (1 + 1e-6)


# Aftermath -----------------------------------------------------------------------------------------------------------

OWN = Failure(code="X", message="x")


def after(ending, *, attempt: int = 1, attempts: int = 3):
    return aftermath(ending, attempt=attempt, attempts=attempts, pause_base_ms=1_000, chance=0.0)


def test_a_completed_attempt_ends_the_task() -> None:
    """With its result, also at the last attempt."""
    for attempt in (1, 3):
        assert after(Completed("{}"), attempt=attempt) == Final(TaskStatus.COMPLETED, result="{}")


def test_a_released_attempt_does_not_count() -> None:
    """The same attempt is made again, whichever it was."""
    assert after(Released()) == Requeued(0)
    assert after(Released(), attempt=3) == Requeued(2)


def test_a_failed_attempt_pauses_while_attempts_are_left() -> None:
    """Its own pause wins over the rule; no pause means at once."""
    assert after(Failed(cause="c")) == Paused(1, 500)
    assert after(Failed(cause="c"), attempt=2) == Paused(2, 1_000)
    assert after(Failed(cause="c", pause_ms=7)) == Paused(1, 7)
    assert after(Failed(cause="c", pause_ms=0)) == Requeued(1)


def test_the_last_failed_attempt_ends_the_task() -> None:
    """With the handler's own failure if it gave one, else with the generic one; the cause is kept apart."""
    assert after(Failed(cause="c"), attempt=3) == Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="c")
    assert after(Failed(cause="c", failure=OWN), attempt=3) == Final(TaskStatus.FAILED, failure=OWN, cause="c")
    assert after(Failed(cause="c", pause_ms=7), attempt=4) == Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="c")


def test_a_lost_attempt_counts_and_is_made_again_at_once() -> None:
    """Until attempts are used up: a task that kills its worker has an end."""
    assert after(Lost()) == Requeued(1)
    assert after(Lost(), attempt=3) == Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="worker lost")


def test_a_failure_without_retry_ends_the_task() -> None:
    """Whatever attempts are left."""
    assert after(Failed(cause="c", retry=False)) == Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="c")


@given(st.integers(1, 10), st.integers(1, 10), st.sampled_from([None, 0, 5]), st.booleans())
def test_a_failed_attempt_never_gives_more_attempts(
    attempt: int, attempts: int, pause_ms: int | None, retry: bool
) -> None:
    """After a failure the count stands where it was, and there is an end at the last attempt (I17)."""
    decided = after(Failed(cause="c", pause_ms=pause_ms, retry=retry), attempt=attempt, attempts=attempts)

    if attempt >= attempts or not retry:
        assert isinstance(decided, Final)
    else:
        assert not isinstance(decided, Final)
        assert decided.attempt == attempt


@given(st.integers(1, 2_000), st.integers(0, 10**6), st.floats(0, 1, exclude_max=True))
def test_pauses_are_between_half_and_all_of_the_doubled_base(attempt: int, base_ms: int, chance: float) -> None:
    """Never above an hour, at whatever attempt."""
    pause = retry_pause_ms(attempt, base_ms, chance)
    full = min(base_ms * 2 ** min(attempt - 1, 40), RETRY_PAUSE_MAX_MS)

    assert full // 2 <= pause <= full


# Integrals -----------------------------------------------------------------------------------------------------------


def sums(integrals: Integrals) -> tuple[int, int, int]:
    return integrals.slot_ms, integrals.plan_limited_ms, integrals.worker_limited_ms


def test_time_is_put_down_to_what_was_missing() -> None:
    """Slots when all are taken or none is allowed, workers when one is free, nobody when nothing is ready."""
    cases = {
        (0, 1, 2, False): (10, 0, 0),
        (1, 2, 2, False): (20, 10, 0),
        (1, 3, 2, False): (30, 10, 0),
        (1, 1, 2, False): (10, 0, 10),
        (1, 0, None, False): (0, 10, 0),
        (1, 1, 2, True): (10, 0, 0),
    }

    for (ready, used, slots_max, stopped), expected in cases.items():
        integrals = Integrals(0, 0, 0, 100)
        integrals.advance(110, ready, used, slots_max, stopped)
        assert sums(integrals) == expected


def test_a_clock_that_steps_back_adds_nothing_and_nothing_twice() -> None:
    """Time already accounted for is not accounted for again."""
    integrals = Integrals(0, 0, 0, 100)

    for now in (110, 50, 105, 112):
        integrals.advance(now, 0, 1, 2, False)

    assert sums(integrals) == (12, 0, 0)


@given(st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 3), st.integers(0, 4), st.integers(1, 3))))
def test_integrals_only_grow_and_never_outgrow_time(steps: list[tuple[int, int, int, int]]) -> None:
    """What was limited never exceeds the time that passed, and no time is put down to two causes."""
    integrals, before = Integrals(0, 0, 0, 0), (0, 0, 0)
    for now, ready, used, slots_max in steps:
        integrals.advance(now, ready, used, slots_max, False)
        assert all(new >= old for new, old in zip(sums(integrals), before, strict=True))
        before = sums(integrals)

    latest = max((step[0] for step in steps), default=0)
    assert integrals.at == latest
    assert integrals.plan_limited_ms + integrals.worker_limited_ms <= latest
    assert integrals.slot_ms <= 4 * latest


# Webhooks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "chance", "pause_ms"),
    [(1, 0.0, 90), (1, 0.5, 95), (1, 1.0, 100), (2, 0.5, 190), (3, 0.5, None), (9, 0.5, None)],
)
def test_a_failed_try_is_followed_by_its_pause(number: int, chance: float, pause_ms: int | None) -> None:
    """Up to a tenth less, so that the moment until the try begins is in the tenth, too; none after the last."""
    assert delivery_pause_ms(number, (100, 200), chance) == pause_ms


NOW = 1_800_000_000_000  # Fri, 15 Jan 2027 08:00:00 GMT
WAITS = {
    "0": 0,
    " 120 ": 120_000,
    "86400": 86_400_000,
    "86401": 86_400_000,
    "9" * 64: 86_400_000,
    "Fri, 15 Jan 2027 08:01:30 GMT": 90_000,
    "Friday, 15-Jan-27 08:01:30 GMT": 90_000,
    "Fri Jan 15 08:01:30 2027": 90_000,
    "Fri, 15 Jan 2027 07:59:00 GMT": 0,
    "Fri, 22 Jan 2027 08:00:00 GMT": 86_400_000,
    "Fri, 99 Jan 2027 08:00:00 GMT": 0,
    "-5": 0,
    "1.5": 0,
    "soon": 0,
    "²": 0,
    "": 0,
}


@pytest.mark.parametrize("text", WAITS, ids=ascii)
def test_a_receiver_says_how_long_to_wait(text: str) -> None:
    """In seconds or by a moment, a day at most; what cannot be read asks for nothing."""
    assert asked_wait_ms(text, NOW) == WAITS[text]
    assert asked_wait_ms(None, NOW) == 0


addressed = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc")), max_size=40)


@given(addressed, addressed, st.sets(st.tuples(st.integers(1, 4), st.sampled_from("abc"))))
def test_deliveries_are_chosen_up_to_every_limit_and_no_further(
    due: list[Addressed], under_way: list[Addressed], hanging: set[Addressed]
) -> None:
    """No limit is passed by what is chosen, and what is left out stands before a limit at the end of the claim."""
    limits = DeliveryLimits(total=20, reserve=3, organization=5, host=6)
    state = SenderState(limits=limits, under_way=[(*one, False, 0) for one in under_way], hanging=hanging)
    running, in_reserve = list(under_way), Counter[int]()

    def fits(one: Addressed) -> bool:
        organization_id, host = one
        reserve = not in_reserve[organization_id] and in_reserve.total() < limits.reserve and one not in hanging
        return (
            (len(running) - in_reserve.total() < limits.total or reserve)
            and sum(other[0] == organization_id for other in running) < limits.organization
            and (sum(other[1] == host for other in running) < limits.host or one not in running)
        )

    chosen = DeliveryChoice(state).choose([(*one, 0) for one in due])

    for position in chosen:
        assert fits(due[position])
        in_reserve[due[position][0]] += len(running) - in_reserve.total() >= limits.total
        running.append(due[position])
    assert not any(fits(one) for position, one in enumerate(due) if position not in chosen)


@given(
    st.lists(st.tuples(st.integers(1, 4), st.just("a")), max_size=40),
    st.dictionaries(st.integers(1, 4), st.integers(0, 9)),
)
def test_deliveries_are_dealt_in_the_order_of_virtual_time(due: list[Addressed], tags: dict[int, int]) -> None:
    """As places of workers are dealt, but for the limit: no organization banks credit below the last pick's tag."""
    limits = DeliveryLimits(total=10, reserve=0, organization=99, host=99)
    state = SenderState(limits=limits, virtual_time=3, tags=tags, estimates_ms=dict.fromkeys(range(5), 2.0))
    counts = Counter(organization_id for organization_id, _ in due)
    candidates = [
        Candidate(one, max(3, tags.get(one, 0)), weight=1, startable=count, estimate_ms=2)
        for one, count in counts.items()
    ]

    chosen = DeliveryChoice(state).choose([(*one, 0) for one in due])

    assert Counter(due[position][0] for position in chosen) == share(candidates, 10).places
    for organization_id in counts:
        own = [position for position in chosen if due[position][0] == organization_id]
        assert own == sorted(own)


ROOM = DeliveryLimits(bytes_free=1, bytes_organization=10, bytes_total=20, bytes_reserve=10)


@given(
    st.lists(st.tuples(st.integers(1, 9), st.just("a"), st.integers(0, 12)), max_size=40),
    st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), max_size=3),
)
def test_bodies_in_memory_have_one_budget(due: list[tuple[int, str, int]], under_way: list[tuple[int, int]]) -> None:
    """No organization is above its share, and all together are below the whole; small ones need no room."""
    state = SenderState(limits=ROOM, under_way=[(one, "b", False, size) for one, size in under_way])
    before = Counter[int]()
    for one, size in under_way:
        before[one] += 0 if size == 1 else min(size, 10)

    chosen = [due[position] for position in DeliveryChoice(state).choose(due)]

    held = before.copy()
    for one, _, size in chosen:
        held[one] += 0 if size == 1 else min(size, 10)
        if size > 1:
            assert held[one] <= 10
            assert held.total() <= 30
    small = [one for one in due if one[2] <= 1]
    at_host = Counter(one[0] for one in chosen)
    full = len(chosen) >= ROOM.host
    assert all(one in chosen or (full and at_host[one[0]] >= 1) for one in small)


def test_room_for_a_large_message_comes_together() -> None:
    """Smaller ones of organizations that used more do not go before it for ever; those that need no room do."""
    state = SenderState(
        limits=ROOM,
        under_way=[(1, "a", False, 10), (2, "a", False, 10), (3, "a", False, 4)],
        tags={1: 1, 2: 2, 3: 3},
    )
    due = [(1, "b", 2), (2, "b", 2), (3, "b", 2), (4, "b", 8), (5, "b", 1)]

    choice = DeliveryChoice(state)

    assert choice.in_turn([1, 2, 3, 4, 5]) == [4, 5, 1, 2, 3]
    assert choice.choose(due) == [4]
    assert DeliveryChoice(SenderState(limits=ROOM, under_way=state.under_way[:2])).choose(due) == [2, 3, 4]


# Alerts --------------------------------------------------------------------------------------------------------------


def an_alert(*, firing: bool = False, since: int | None = None, for_ms: int = 60_000) -> Alert:
    """More than ten queued for a minute."""
    rule = AlertRule(
        kind=AlertKind.QUEUED_ABOVE, threshold=10, for_ms=for_ms, webhook=Webhook("https://x.example/", "x")
    )
    return Alert(id="a", rule=rule, firing=firing, since=since, changed_at=None, created_at=0)


@pytest.mark.parametrize(
    ("alert", "value", "now", "state"),
    [
        (an_alert(), 10, 100, (False, None)),
        (an_alert(), 11, 100, (False, 100)),
        (an_alert(since=100), 11, 60_099, (False, 100)),
        (an_alert(since=100), 11, 60_100, (True, None)),
        (an_alert(since=100), 10, 60_100, (False, None)),
        (an_alert(for_ms=0), 11, 100, (True, None)),
        (an_alert(firing=True), 11, 100, (True, None)),
        (an_alert(firing=True), 10, 100, (True, 100)),
        (an_alert(firing=True, since=100), 10, 60_099, (True, 100)),
        (an_alert(firing=True, since=100), 10, 60_100, (False, None)),
        (an_alert(firing=True, since=100), 11, 60_100, (True, None)),
        # Recovery is never told within thirty seconds, so that a rule without a time of its own does not flap.
        (an_alert(firing=True, for_ms=0), 0, 100, (True, 100)),
        (an_alert(firing=True, since=100, for_ms=0), 0, 30_099, (True, 100)),
        (an_alert(firing=True, since=100, for_ms=0), 0, 30_100, (False, None)),
        # A value that cannot be told changes nothing; a clock that stepped back starts anew.
        (an_alert(firing=True, since=100), None, 99_999, (True, 100)),
        (an_alert(since=500), 11, 400, (False, 400)),
    ],
)
def test_an_alert_changes_sides_after_its_time(
    alert: Alert, value: float | None, now: int, state: tuple[bool, int | None]
) -> None:
    """At the threshold is not above it; a millisecond before its time is too early."""
    assert judge_alert(alert, value, now) == state


def test_a_swinging_value_tells_nobody_anything() -> None:
    """Whatever it does, as long as it never stays."""
    alert = an_alert()
    for step in range(100):
        firing, since = judge_alert(alert, 11 if step % 2 else 9, step * 59_000)
        assert not firing
        alert = an_alert(since=since)


# History -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_of_buckets_is_near_the_true_one(durations: list[int], share: float) -> None:
    """Between the bounds of the true one's bucket, which are a factor of 1.42 apart."""
    counts = Counter(bucket_of(duration) for duration in durations)

    found = quantile_ms(counts, share)

    true = sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)]
    assert found is not None
    assert true / 1.42 - 1 <= found <= true * 1.42 + 1


def test_buckets_have_bounds_that_belong_to_them() -> None:
    """Powers of two exactly, so that a histogram can be told at them."""
    assert [bucket_of(2**power) for power in range(31)] == list(range(0, 62, 2))
    assert [bucket_of(2**power + 1) for power in range(3, 31)] == list(range(7, 63, 2))
    assert bucket_of(0) == 0
    assert bucket_of(10**12) == BUCKETS - 1


def test_nothing_has_no_quantile() -> None:
    """No counts, or as many taken away as there were."""
    assert quantile_ms({}, 0.5) is None
    assert quantile_ms({3: 0}, 0.5) is None


@given(st.lists(st.integers(0, 1_000), max_size=30), st.integers(1, 400))
def test_steps_add_up_to_the_total(moments: list[int], step_ms: int) -> None:
    """Whatever the samples and the steps are."""
    samples = [Totals(at=at, submitted=at * 3, slot_ms=at) for at in [0, *sorted(moments)]]

    usage = usage_points(samples, start=0, end=900, step_ms=step_ms)

    assert sum(point.submitted for point in usage.points) == usage.total.submitted
    assert sum(point.slot_ms for point in usage.points) == usage.total.slot_ms
    assert usage.total.slot_ms == max([0, *(at for at in moments if at <= 900)])
    assert [point.start for point in usage.points] == list(range(0, 900, step_ms))


# Why a ready task waits ----------------------------------------------------------------------------------------------


def a_standing(**changes: Any) -> Standing:
    """Nothing is in the way."""
    usual: dict[str, Any] = {
        "stopped": False,
        "used": 0,
        "slots_max": 2,
        "credits_held": False,
        "type_used": 0,
        "type_limit": None,
        "places": 10,
        "places_free": 10,
        "rivals_before": 0,
        "share": 1.0,
    }
    return Standing(**usual | changes)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, WaitReason.STARTING),
        ({"places_free": 1, "rivals_before": 9}, WaitReason.STARTING),
        ({"places_free": 0}, WaitReason.WORKERS_BUSY),
        ({"places_free": -1, "rivals_before": 1}, WaitReason.FAIR_TURN),
        ({"type_limit": 3, "type_used": 2}, WaitReason.STARTING),
        ({"type_limit": 3, "type_used": 3, "places_free": 0}, WaitReason.TYPE_AT_LIMIT),
        ({"used": 1}, WaitReason.STARTING),
        ({"used": 2, "type_limit": 3, "type_used": 3}, WaitReason.ORGANIZATION_AT_LIMIT),
        ({"credits_held": True, "type_limit": 3, "type_used": 3}, WaitReason.CREDITS_HELD),
        ({"used": 2, "credits_held": True}, WaitReason.ORGANIZATION_AT_LIMIT),
        ({"used": 5}, WaitReason.ORGANIZATION_AT_LIMIT),
        ({"places": 0, "places_free": 0, "used": 2}, WaitReason.TYPE_UNSERVED),
        ({"slots_max": None, "places": 0, "places_free": 0}, WaitReason.LIMIT_UNKNOWN),
        ({"stopped": True, "slots_max": None}, WaitReason.ORGANIZATION_PAUSED),
    ],
    ids=str,
)
def test_the_reason_is_the_first_thing_in_the_way(changes: dict[str, Any], reason: WaitReason) -> None:
    """What lasts longest is told before what passes by itself."""
    assert wait_reason(a_standing(**changes)) is reason


TEN_SECONDS = {"PAGE": [10_000] * 5, "IMAGE": [20_000] * 5}


def running(*ran_ms: int, task_type: str = "PAGE") -> tuple[Running, ...]:
    """Attempts that have run so long."""
    return tuple(Running(task_type, one) for one in ran_ms)


TWO = {"used": 2, "in_slots": running(1_000, 4_000), "places_free": 8, "in_places": running(1_000, 4_000)}
"""Both slots are taken: the first to end has 6 s left, the other one 9."""
ONE_PLACE = {"places": 1, "places_free": 0, "in_places": running(4_000), "used": 1, "in_slots": running(4_000)}
IMAGES = {"in_slots": running(4_000, 4_000, task_type="IMAGE"), "in_places": running(4_000, 4_000, task_type="IMAGE")}


@pytest.mark.parametrize(
    ("changes", "ahead", "p50_ms"),
    [
        ({}, {}, 0),
        ({}, {"PAGE": 1}, 0),
        # The two ahead take the slots now and end together.
        ({}, {"PAGE": 2}, 10_000),
        (TWO, {}, 6_000),
        (TWO, {"PAGE": 1}, 9_000),
        (TWO, {"PAGE": 2}, 16_000),
        (TWO, {"PAGE": 9}, 49_000),
        (TWO, {"PAGE": 9_998}, 6_000 + 4_999 * 10_000),
        # What runs may be of another type than what is ready, and what overran what was seen is about to end.
        (TWO | IMAGES, {}, 16_000),
        (TWO | {"in_slots": running(1_000, 12_000)}, {"PAGE": 1}, 9_000),
        (TWO | {"in_slots": running(1_000, 12_000)}, {}, 0),
        # A limit that was lowered: the first ending lets nobody in.
        (TWO | {"slots_max": 1}, {}, 9_000),
        (TWO | {"slots_max": 1}, {"PAGE": 30}, 309_000),
        # One place only, and others who compete for it: each who comes first, and half of all turns.
        (ONE_PLACE, {"PAGE": 9}, 96_000),
        (ONE_PLACE | {"rivals_before": 2}, {}, 26_000),
        (ONE_PLACE | {"share": 0.5}, {"PAGE": 9}, 186_000),
        # A type's own limit is a gate, too, and only for what is of the type.
        ({"type_limit": 1, "type_used": 1, "in_type": running(3_000)}, {"PAGE": 1}, 17_000),
        ({"type_limit": 1, "type_used": 1, "in_type": running(3_000), "slots_max": 9}, {"IMAGE": 5}, 7_000),
    ],
    ids=str,
)
def test_a_task_starts_when_enough_of_what_runs_has_ended(
    changes: dict[str, Any], ahead: dict[str, int], p50_ms: int
) -> None:
    """With durations that do not vary the moment is known, and nine of ten stay below it, too."""
    assert wait_estimate(a_standing(**changes), ahead, "PAGE", TEN_SECONDS) == Estimate(p50_ms, p50_ms)


def test_a_wide_gate_is_played_smaller() -> None:
    """Only some of 4,000 that run was looked at; those behind 6,000 ahead start in the second round."""
    wide = {
        "slots_max": 4_000,
        "used": 4_000,
        "in_slots": running(*[1_000] * 500),
        "places": 9_000,
        "places_free": 5_000,
    }

    estimate = wait_estimate(
        a_standing(**wide, in_places=running(*[1_000] * 500)), {"PAGE": 6_000}, "PAGE", TEN_SECONDS
    )

    assert estimate == Estimate(19_000, 19_000)


@pytest.mark.parametrize(
    ("changes", "ahead", "observed"),
    [
        ({"stopped": True}, {}, TEN_SECONDS),
        ({"credits_held": True}, {}, TEN_SECONDS),
        ({"slots_max": None}, {}, TEN_SECONDS),
        ({"places": 0, "places_free": 0}, {}, TEN_SECONDS),
        ({}, {}, {}),
        ({}, {}, {"PAGE": [1] * 4}),
        ({"used": 2}, {"IMAGE": 1}, {"PAGE": [1] * 5}),
        # What runs is of a type that nobody has seen end, or nothing is known of it.
        ({"used": 2, "in_slots": running(1, 1, task_type="VIDEO")}, {}, TEN_SECONDS),
        ({"used": 2}, {}, TEN_SECONDS),
        ({"slots_max": 0}, {}, TEN_SECONDS),
    ],
    ids=str,
)
def test_nobody_can_tell(changes: dict[str, Any], ahead: dict[str, int], observed: dict[str, list[int]]) -> None:
    """Nothing will start, or nobody has seen how long it takes."""
    assert wait_estimate(a_standing(**changes), ahead, "PAGE", observed) is None


def test_an_estimate_widens_with_what_durations_do() -> None:
    """The same mean, other durations: p50 hardly moves, p90 does."""
    even, wild = {"PAGE": [10_000] * 6}, {"PAGE": [1_000, 19_000] * 3}
    narrow = wait_estimate(a_standing(**TWO), {"PAGE": 20}, "PAGE", even)
    wide = wait_estimate(a_standing(**TWO), {"PAGE": 20}, "PAGE", wild)

    assert narrow is not None
    assert wide is not None
    assert wide.p50_ms == pytest.approx(narrow.p50_ms, rel=0.2)
    assert narrow.p90_ms == narrow.p50_ms
    assert wide.p90_ms - wide.p50_ms > 20_000


@pytest.mark.parametrize("ahead", [0, 1, 5, 20, 300])
def test_an_estimate_is_near_what_happens_when_durations_vary(ahead: int) -> None:
    """Five slots and wild durations: of a thousand played queues about half start before p50, most before p90."""
    dice = random.Random(7)
    seen = [round(dice.expovariate(1 / 4_000)) for _ in range(256)]
    full = {"slots_max": 5, "used": 5, "in_slots": running(*[0] * 5), "places_free": 5, "in_places": running(*[0] * 5)}

    estimate = wait_estimate(a_standing(**full), {"PAGE": ahead}, "PAGE", {"PAGE": seen})

    assert estimate is not None
    waits = []
    for _ in range(1_000):
        ends = [dice.choice(seen) for _ in range(5)]
        for _ in range(ahead):
            start = min(ends)
            ends[ends.index(start)] = start + dice.choice(seen)
        waits.append(min(ends))
    assert sum(wait <= estimate.p50_ms for wait in waits) / len(waits) == pytest.approx(0.5, abs=0.2)
    assert sum(wait <= estimate.p90_ms for wait in waits) / len(waits) == pytest.approx(0.9, abs=0.09)


@pytest.mark.parametrize(
    ("went_ms", "passed_ms", "since_even_ms", "jumped"),
    [
        (5_000, (5_000, 5_000), 5_000, 0),
        (7_000, (5_000, 5_000), 7_000, 0),
        (7_001, (5_000, 5_000), 7_001, 2_001),
        (3_000, (5_000, 5_000), 3_000, 0),
        (2_999, (5_000, 5_000), 2_999, -2_001),
        (3_605_000, (5_000, 5_100), 3_605_000, 3_599_900),
        (-3_595_000, (5_000, 5_100), -3_595_000, -3_600_000),
        (9_000, (5_000, 9_000), 9_000, 0),
        (5_000, (5_000, 12_000), 5_000, 0),
        # Seen to run evenly four seconds ago: an hour cannot have been left out.
        (3_605_000, (5_000, 5_000), 4_000, 0),
    ],
)
def test_a_clock_that_was_set(went_ms: int, passed_ms: tuple[int, int], since_even_ms: int, jumped: int) -> None:
    """Forward or backward, by more than the readings' own uncertainty and two seconds."""
    assert jump_of(went_ms, passed_ms=passed_ms, since_even_ms=since_even_ms) == jumped


# Advice on slots -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured_ms", "replayed_ms", "fits"),
    [
        (59_600, 130_000, False),
        (60_000, 80_000, True),  # just a third
        (60_000, 80_001, False),
        (60_000, 40_000, True),
        (60_000, 39_999, False),
        (27, 0, True),  # not noticeable
        (0, 999, True),
        (0, 1_000, False),
    ],
)
def test_a_replay_may_miss_by_a_third(measured_ms: int, replayed_ms: int, fits: bool) -> None:
    """Of what was measured, either way, unless the miss cannot be noticed."""
    assert replay_fits(measured_ms, replayed_ms) is fits


@pytest.mark.parametrize(
    ("wait_ms", "plan_share", "worker_share", "expected"),
    [
        (999, 0.2, 0.2, True),
        (1_000, 0.0, 0.0, False),
        (0, 0.21, 0.0, False),
        (0, 0.0, 0.21, False),
        (None, 0.0, 0.0, True),
        (None, 0.01, 0.0, False),
    ],
)
def test_there_is_enough_while_waits_are_short_and_limits_seldom_met(
    wait_ms: int | None, plan_share: float, worker_share: float, expected: bool
) -> None:
    """Both, or nothing at all has happened."""
    assert enough(wait_ms, plan_share=plan_share, worker_share=worker_share) is expected


def test_what_holds_a_message_is_named_from_what_lasts_longest() -> None:
    """A pause, a full server, a used share, a busy host; after a minute without any of them it is stuck."""
    limits = DeliveryLimits(total=2, reserve=1, organization=2, host=1)

    def held(*under_way: tuple[int, str], overdue_ms: int = 90_000, hanging: bool = False) -> HostHold | None:
        state = SenderState(
            limits=limits,
            under_way=[(*one, number >= limits.total, 0) for number, one in enumerate(under_way)],
            hanging={(1, "a")} if hanging else (),
        )
        return hold(OpenMessages(host="a", organizations=(1,), overdue_ms=overdue_ms), state)

    assert held(overdue_ms=-1) is HostHold.PAUSE
    assert held(overdue_ms=100) is None
    assert held(overdue_ms=30_000) is None
    assert held() is HostHold.STUCK
    assert held((2, "b"), (3, "b"), (4, "b")) is HostHold.SERVER_BUSY
    assert held((2, "b"), (3, "b"), hanging=True) is HostHold.SLOW
    assert held((1, "b"), (1, "b")) is HostHold.ORGANIZATION_BUSY
    assert held((1, "a")) is HostHold.HOST_BUSY
    assert held((2, "a")) is HostHold.STUCK
    assert hold(OpenMessages(host="a", organizations=(1,), overdue_ms=90_000), None) is HostHold.STUCK
