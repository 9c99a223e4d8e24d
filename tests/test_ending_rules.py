"""The pure decisions about ends and sums, value by value: attempts, causes, months, types, rates, clocks."""

import time
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import Completed, Ending, Failed, Lost, Origin, Released
from fairlane.model.tasks import Failure, TaskStatus
from fairlane.model.usage import Totals, TypePoint, TypeSample, TypeUsage, Usage, UsagePoint
from fairlane.model.webhooks import HostHold
from fairlane.rules.attempts import (
    CANCELED,
    EXHAUSTED,
    LOST_CAUSE,
    RETRY_PAUSE_MAX_MS,
    TIMED_OUT,
    Aftermath,
    Final,
    Paused,
    Requeued,
    aftermath,
    call_aftermath,
    ending_of,
    reason_of,
    retry_pause_ms,
)
from fairlane.rules.clocks import JUMP_MS, jump_of, step_back
from fairlane.rules.deliveries import (
    SOON_MS,
    STUCK_MS,
    DeliveryChoice,
    DeliveryLimits,
    OpenMessages,
    SenderState,
    delivery_hold,
)
from fairlane.rules.failures import HOUR_MS, Fingerprint, fingerprint_of, hour_of
from fairlane.rules.fairness import FIRST_ESTIMATE_MS, charged, entered, expected_ms
from fairlane.rules.history import bucket_of, month_of, next_month_at, usage_by_type, usage_points
from fairlane.rules.rates import allowance, worth_telling

SEEN = Failure(code="NO_LUCK", message="No luck")
BROKEN = Failed(cause="it broke", failure=SEEN)


def moment(*parts: int) -> int:
    """A moment in UTC, in milliseconds."""
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1_000)  # type: ignore[misc,arg-type]


# Attempts ------------------------------------------------------------------------------------------------------------


def test_a_canceled_task_has_failed_whatever_its_handler_returned() -> None:
    """Its organization sees that it was canceled."""
    found = aftermath(Completed("{}"), attempt=1, attempts=3, pause_base_ms=1, chance=0.0, canceled=True)

    assert found == Final(TaskStatus.FAILED, failure=CANCELED, cause="canceled")


@pytest.mark.parametrize(("pause_ms", "after"), [(0, Requeued(1)), (1, Paused(1, 1))])
def test_a_pause_of_a_millisecond_is_a_pause(pause_ms: int, after: Aftermath) -> None:
    """Only without a pause the task is ready at once."""
    failed = Failed(cause="x", pause_ms=pause_ms)

    assert aftermath(failed, attempt=1, attempts=2, pause_base_ms=1, chance=0.0) == after


@pytest.mark.parametrize(
    ("attempt", "chance", "pause_ms"),
    [(1, 0.0, 500), (1, 0.5, 750), (3, 0.0, 2_000), (13, 0.0, RETRY_PAUSE_MAX_MS // 2), (500, 0.0, 1_800_000)],
)
def test_a_pause_doubles_up_to_an_hour(attempt: int, chance: float, pause_ms: int) -> None:
    """Between half of it and all of it; the exponent has a bound."""
    assert retry_pause_ms(attempt, 1_000, chance) == pause_ms


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        (Completed("{}"), AttemptEnding.COMPLETED),
        (BROKEN, AttemptEnding.FAILED),
        (Failed(cause="late", how=AttemptEnding.TIMED_OUT), AttemptEnding.TIMED_OUT),
        (Released(), AttemptEnding.HANDED_BACK),
        (Lost(), AttemptEnding.WORKER_LOST),
    ],
)
def test_an_attempt_is_told_as_it_ended(ending: Ending, how: AttemptEnding) -> None:
    """A canceled one is canceled, whatever it did."""
    assert ending_of(ending, canceled=False) is how
    assert ending_of(ending, canceled=True) is AttemptEnding.CANCELED


@pytest.mark.parametrize(
    ("ending", "after", "reason"),
    [
        (BROKEN, Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="the last"), (EXHAUSTED, "the last")),
        (BROKEN, Paused(1, 5), (SEEN, "it broke")),
        (Lost(), Requeued(1), (None, LOST_CAUSE)),
        (Released(), Requeued(1), (None, None)),
    ],
)
def test_an_attempt_leaves_what_people_may_know(
    ending: Ending, after: Aftermath, reason: tuple[Failure | None, str | None]
) -> None:
    """Of the last one, what its task ended with."""
    assert reason_of(ending, after) == reason


@pytest.mark.parametrize(
    ("ending", "left_ms", "after"),
    [
        (Completed("{}"), 0, Final(TaskStatus.COMPLETED, result="{}")),
        (Failed(cause="x", pause_ms=40), 41, Paused(2, 40)),
        (
            Failed(cause="x", pause_ms=40), 40,
            Final(TaskStatus.FAILED, failure=TIMED_OUT, cause="no time for another attempt"),
        ),
        (Lost(), 1, Requeued(2)),
        (Lost(), 0, Final(TaskStatus.FAILED, failure=TIMED_OUT, cause="no time for another attempt")),
        (Failed(cause="x"), 3_001, Paused(2, 3_000)),
        (Failed(cause="x", retry=False), 9_999, Final(TaskStatus.FAILED, failure=EXHAUSTED, cause="x")),
    ],
)  # fmt: skip
def test_a_call_ends_if_no_attempt_can_start_in_time(ending: Ending, left_ms: int, after: Aftermath) -> None:
    """Otherwise as a task."""
    found = call_aftermath(ending, attempt=2, attempts=3, left_ms=left_ms, pause_base_ms=2_000, chance=0.5)

    assert found == after


def test_the_last_attempt_of_a_call_ends_it() -> None:
    """However much time is left."""
    found = call_aftermath(BROKEN, attempt=3, attempts=3, left_ms=9_999, pause_base_ms=1, chance=0.0)

    assert found == Final(TaskStatus.FAILED, failure=SEEN, cause="it broke")


# Causes --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", list(AttemptEnding))
def test_only_what_went_wrong_has_a_fingerprint(ending: AttemptEnding) -> None:
    """With what is known of it."""
    found = fingerprint_of("PAGE", ending, SEEN, Origin(exception="KeyError", place="shop:total", line=12))
    wrong = ending in (AttemptEnding.FAILED, AttemptEnding.TIMED_OUT, AttemptEnding.WORKER_LOST)

    assert found == (Fingerprint("PAGE", "NO_LUCK", ending, "KeyError", "shop:total") if wrong else None)


def test_a_fingerprint_without_a_failure_is_that_of_the_last_attempt() -> None:
    """And without an origin its texts are empty."""
    found = fingerprint_of("PAGE", AttemptEnding.WORKER_LOST, None)

    assert found == Fingerprint("PAGE", "INTERNAL_SERVER_ERROR", AttemptEnding.WORKER_LOST, "", "")


def test_a_group_has_one_id_for_ever() -> None:
    """Written down: another id would split the groups of an upgraded installation. Each part counts."""
    one = Fingerprint("PAGE", "NO_LUCK", AttemptEnding.FAILED, "KeyError", "shop:total")
    others = [replace(one, **{name: "other"}) for name in ("task_type", "code", "exception", "place")]
    others.append(replace(one, ending=AttemptEnding.TIMED_OUT))

    assert one.group() == "fg_92b5f81c0fdaf8e5"
    assert len({found.group() for found in (one, *others)}) == 6


def test_an_hour_is_counted_from_1970() -> None:
    """Its last millisecond belongs to it."""
    assert [hour_of(at) for at in (0, HOUR_MS - 1, HOUR_MS)] == [0, 0, 1]


# Time ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "month", "next_at"),
    [
        (moment(2026, 11, 30, 23, 59, 59), "2026-11", moment(2026, 12, 1)),
        (moment(2026, 12, 1), "2026-12", moment(2027, 1, 1)),
        (moment(2028, 2, 29, 12), "2028-02", moment(2028, 3, 1)),
        (moment(2026, 12, 31, 23, 59, 59) + 999, "2026-12", moment(2027, 1, 1)),
    ],
)
def test_months_are_those_of_utc(at: int, month: str, next_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next one begins where this one ends, also at the turn of the year, and whatever zone the machine is in."""
    for zone in ("Pacific/Auckland", "America/Los_Angeles"):
        with monkeypatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            found = month_of(at), next_month_at(at), month_of(next_at), month_of(next_at - 1)
        time.tzset()

        assert found[:2] == (month, next_at)
        assert found[2] != found[3] == month


@pytest.mark.parametrize(
    ("now", "even_until", "back"),
    [(0, 0, 0), (0, JUMP_MS, 0), (0, JUMP_MS + 1, -JUMP_MS - 1), (9, 8, 0), (10_000, 100_000, -90_000)],
)
def test_a_clock_that_went_back_while_no_server_ran(now: int, even_until: int, back: int) -> None:
    """Beyond the tolerance, and only back."""
    assert step_back(now, even_until) == back


@pytest.mark.parametrize(
    ("went_ms", "since_even_ms", "jumped"),
    [
        (12_000, 10**9, 0), (12_001, 10**9, 2_001), (6_999, 10**9, -2_001), (7_000, 10**9, 0),
        # Another server saw it run since: this process was suspended.
        (20_000, 8_000, 10_000), (20_000, 7_999, 0), (-3_000, 0, -12_000),
    ],
)  # fmt: skip
def test_a_clock_was_set_if_it_differs_by_more_than_the_tolerance(
    went_ms: int, since_even_ms: int, jumped: int
) -> None:
    """While 9 to 10 seconds passed here."""
    assert jump_of(went_ms, passed_ms=(9_000, 10_000), since_even_ms=since_even_ms) == jumped


# Sums ----------------------------------------------------------------------------------------------------------------


def test_a_span_has_the_difference_of_its_totals() -> None:
    """Each of them, in each step and in the whole."""
    bucket = bucket_of(100)
    samples = [
        Totals(at=0, submitted=1, started=2, completed=3, failed=4, run_ms=5, slot_ms=6, plan_limited_ms=7,
               worker_limited_ms=8, waits={bucket: 1}),
        Totals(at=60, submitted=11, started=22, completed=33, failed=44, run_ms=55, slot_ms=66, plan_limited_ms=77,
               worker_limited_ms=88, waits={bucket: 11, bucket + 2: 90}),
    ]  # fmt: skip
    step = UsagePoint(
        start=60, end=100, submitted=10, started=20, completed=30, failed=40, wait_p50_ms=214, wait_p99_ms=255,
        run_ms=50, slot_ms=60, plan_limited_ms=70, worker_limited_ms=80,
    )  # fmt: skip
    nothing = UsagePoint(
        start=60, end=100, submitted=0, started=0, completed=0, failed=0, wait_p50_ms=None, wait_p99_ms=None,
        run_ms=0, slot_ms=0, plan_limited_ms=0, worker_limited_ms=0,
    )  # fmt: skip

    found = usage_points(samples, start=0, end=100, step_ms=60)
    all_of_it = {name: getattr(step, name) for name in step.__struct_fields__} | {"start": 0}

    assert found == Usage(
        total=UsagePoint(**all_of_it),
        points=(UsagePoint(**all_of_it | {"end": 60}), nothing),
    )
    assert usage_points(samples, start=50, end=50, step_ms=60).points == ()


def test_types_are_summed_by_step_in_the_order_of_their_names() -> None:
    """Two samples of one step are one point; a step without a sample is none."""
    short, long = bucket_of(10), bucket_of(1_000)

    def a_sample(at: int, task_type: str, number: int) -> TypeSample:
        return TypeSample(
            at=at, task_type=task_type, started=number, completed=2 * number, failed=3 * number,
            waits={short: 100 * number}, runs={long: 100 * number},
        )  # fmt: skip

    def a_point(start: int, number: int) -> TypePoint:
        return TypePoint(
            start=start, started=number, completed=2 * number, failed=3 * number, wait_p50_ms=10, wait_p90_ms=11,
            wait_p99_ms=11, run_p50_ms=874, run_p90_ms=994, run_p99_ms=1_021,
        )  # fmt: skip

    samples = [a_sample(1_000, "B", 1), a_sample(1_000, "A", 4), a_sample(1_119, "B", 2), a_sample(1_240, "B", 5)]

    assert usage_by_type(samples, start=1_000, step_ms=120) == (
        TypeUsage(task_type="A", total=a_point(1_000, 4), points=(a_point(1_000, 4),)),
        TypeUsage(task_type="B", total=a_point(1_000, 8), points=(a_point(1_000, 3), a_point(1_240, 5))),
    )
    assert usage_by_type([], start=0, step_ms=1) == ()


@pytest.mark.parametrize(
    ("mine", "others", "servers", "allowed"),
    [
        (0, 0, 1, 100), (70, 0, 3, 100), (0, 30, 2, 70), (0, 90, 2, 50), (30, 90, 2, 25), (30, 20, 2, 80),
        (1, 10_000, 2, 1), (0, 1_000, 3, 33),
    ],
)  # fmt: skip
def test_a_server_takes_its_share_of_a_rate(mine: int, others: int, servers: int, allowed: int) -> None:
    """What the others leave, or its share of all requests; at least one."""
    assert allowance(100, mine=mine, others=others, servers=servers) == allowed


def test_small_counts_need_not_be_told() -> None:
    """Of all servers together less than a tenth of the limit."""
    assert [worth_telling(count, 100, 2) for count in (5, 6)] == [False, True]


def test_virtual_time_counts_what_was_used() -> None:
    """By weight; it is never negative, and idle time earns nothing."""
    assert charged(10, 5, 2) == 10 + 2_500
    assert (charged(1_000, -1, 1), charged(1_000, -2, 1), charged(0, -5, 1)) == (0, 0, 0)
    assert charged(1_001, -1, 1) == 1
    assert (entered(5, 9), entered(9, 5)) == (9, 9)
    assert [expected_ms(one) for one in (None, 0.4, 1.9, 70.0)] == [FIRST_ESTIMATE_MS, 1, 1, 70]


@pytest.mark.parametrize(("asked", "held"), [(True, HostHold.RECEIVER), (False, HostHold.PAUSE)])
def test_a_pause_is_the_receivers_if_it_asked_for_it(asked: bool, held: HostHold) -> None:
    """A message that is due now is held by neither."""

    def a_message(overdue_ms: int) -> OpenMessages:
        return OpenMessages(host="a:443", organizations=(1,), overdue_ms=overdue_ms)

    assert delivery_hold(a_message(-1), None, asked=asked) is held
    assert delivery_hold(a_message(0), None, asked=asked) is None


def test_a_message_without_a_reason_is_stuck_after_a_minute() -> None:
    """Before that nothing holds it; a server that is full does from the third second on."""
    full = SenderState(
        limits=DeliveryLimits(total=1, reserve=1), under_way=[(7, "b:443", False, 0), (8, "b:443", True, 0)]
    )

    def held(overdue_ms: int, state: SenderState | None) -> HostHold | None:
        message = OpenMessages(host="a:443", organizations=(1,), overdue_ms=overdue_ms)
        return delivery_hold(message, state, asked=False)

    assert [held(one, None) for one in (STUCK_MS - 1, STUCK_MS)] == [None, HostHold.STUCK]
    assert [held(one, full) for one in (SOON_MS - 1, SOON_MS)] == [None, HostHold.SERVER_BUSY]


def test_an_organization_with_all_its_tries_has_no_turn() -> None:
    """One less, and it has."""
    limits = DeliveryLimits(organization=2)
    state = SenderState(limits=limits, under_way=[(1, "a", False, 0), (1, "b", False, 0), (2, "a", False, 0)])

    assert DeliveryChoice(state).in_turn([1, 2, 3]) == [2, 3]


@pytest.mark.parametrize(
    ("under_way", "hanging", "chosen"),
    [
        ([(9, "x", False, 0)], [], [0]),
        ([(9, "x", False, 0)], [(1, "a")], []),
        ([(9, "x", False, 0), (1, "b", True, 0)], [], []),
        ([(9, "x", False, 0), (8, "b", True, 0)], [], []),
    ],
)
def test_the_reserve_is_for_one_try_of_each_organization_that_does_not_hang(
    under_way: list[tuple[int, str, bool, int]], hanging: list[tuple[int, str]], chosen: list[int]
) -> None:
    """The other places are taken; the reserve has one."""
    state = SenderState(limits=DeliveryLimits(total=1, reserve=1), under_way=under_way, hanging=hanging)

    assert DeliveryChoice(state).choose([(1, "a", 0)]) == chosen
