"""What a sender remembers between its claims: virtual times, places, and hosts that hang."""

import pytest

from fairlane.model.webhooks import Claimed
from fairlane.rules.deliveries import HANGING_MS, Addressed, DeliveryChoice, DeliveryLimits
from fairlane.rules.fairness import FIRST_ESTIMATE_MS, service
from fairlane.webhooks import turns as turns_module
from fairlane.webhooks.turns import TryPlace, TryTurns

HEALTHY, HANGS = 1, 2


def begun(turns: TryTurns, *due: Addressed, size: int = 0) -> list[TryPlace]:
    """The places of what begins of these deliveries, as the sender takes them after a claim."""
    chosen = DeliveryChoice(turns.state()).choose([(*one, size) for one in due])
    return [turns.begin(*due[position], size) for position in chosen]


def test_an_organization_pays_for_the_time_of_its_tries() -> None:
    """An estimate at the beginning, the true time at the end, and the next estimate is learned from it."""
    turns = TryTurns(DeliveryLimits())

    place = turns.begin(HANGS, "a:80")
    estimated = turns.state().tags
    turns.end(place, 10_000)

    assert estimated == {HANGS: service(FIRST_ESTIMATE_MS, 1)}
    assert turns.state().tags == {HANGS: service(10_000, 1)}
    assert turns.state().estimates_ms == {HANGS: 10_000}


def test_the_last_place_goes_to_the_organization_that_used_least() -> None:
    """However much the other one owes, and whichever came first."""
    turns = TryTurns(DeliveryLimits(total=1, reserve=0))
    turns.end(turns.begin(HANGS, "a:80"), 10_000)
    turns.end(turns.begin(HEALTHY, "b:80"), 20)

    (place,) = begun(turns, *[(HANGS, f"{number}:80") for number in range(9)], (HEALTHY, "b:80"))

    assert place.organization_id == HEALTHY


def test_an_idle_organization_banks_no_credit() -> None:
    """After a long time without tries it takes turns with the others, and does not go before them for as long."""
    turns = TryTurns(DeliveryLimits(total=1, reserve=0))
    for _ in range(100):
        turns.end(turns.begin(HANGS, "a:80"), 1_000)

    order = []
    for _ in range(6):
        (place,) = begun(turns, (HANGS, "a:80"), (HEALTHY, "b:80"))
        order.append(place.organization_id)
        turns.end(place, 1_000)

    assert order.count(HEALTHY) in (3, 4)


def test_a_host_that_hangs_gets_no_place_of_the_reserve() -> None:
    """Before it answers quickly again. Another host of the same organization does."""
    turns = TryTurns(DeliveryLimits(total=1, reserve=2))
    turns.end(turns.begin(HANGS, "slow:80"), HANGING_MS)
    taken = turns.begin(3, "c:80")

    refused = begun(turns, (HANGS, "slow:80"))
    (other,) = begun(turns, (HANGS, "slow:80"), (HANGS, "quick:80"))
    turns.end(other, 5)
    turns.end(taken, 5)
    turns.end(turns.begin(HANGS, "slow:80"), HANGING_MS - 1)
    turns.begin(3, "c:80")
    (again,) = begun(turns, (HANGS, "slow:80"))

    assert refused == []
    assert (other.host, other.reserved) == ("quick:80", True)
    assert (again.host, again.reserved) == ("slow:80", True)


def test_organizations_that_hang_leave_a_place_to_each_other_one() -> None:
    """Thirty that have all their places full, and know no host that answers, hold none that a thirty-first needs."""
    turns = TryTurns(DeliveryLimits())
    owed = [(one, f"{one}.{host}:80") for one in range(30) for host in range(3) for _ in range(20)]
    for _ in range(3):
        for place in begun(turns, *owed):
            turns.end(place, 10_000)
    held = begun(turns, *owed)

    (place,) = begun(turns, *owed, (30, "b:80"))

    assert len(held) == DeliveryLimits().total
    assert place == TryPlace(30, "b:80", reserved=True, charged=service(FIRST_ESTIMATE_MS, 1))


def test_large_messages_leave_room_for_others() -> None:
    """Sixty organizations whose receivers hang hold no more than the whole, and a small message needs no room. What is
    written has left memory."""
    turns, limits = TryTurns(DeliveryLimits()), DeliveryLimits()
    owed = [(one, f"{one}.{host}:80") for one in range(60) for host in range(3) for _ in range(20)]

    large = 8 * 1024 * 1024
    held = begun(turns, *owed, size=large)
    nothing = begun(turns, *owed, (60, "b:80"), size=large)
    (small,) = begun(turns, (60, "b:80"), size=limits.bytes_free)
    held[0].size = 0
    (later,) = begun(turns, (60, "b:80"), size=large)

    assert len(held) * large == limits.bytes_total + limits.bytes_reserve
    assert nothing == []
    assert (small.organization_id, later.organization_id) == (60, 60)


def test_an_organization_has_a_share_of_the_room() -> None:
    """Also if no other one needs any. A message beyond the share is sent alone."""
    turns, limits = TryTurns(DeliveryLimits()), DeliveryLimits()

    held = begun(turns, *[(1, f"{host}:80") for host in range(9)], size=8 * 1024 * 1024)
    (alone,) = begun(turns, (2, "a:80"), (2, "b:80"), size=limits.bytes_total * 2)

    assert len(held) * 8 * 1024 * 1024 == limits.bytes_organization
    assert alone.host == "a:80"


def test_a_claim_goes_on_where_the_last_one_ended() -> None:
    """Over organizations and over the hosts of one; what was not asked keeps its place."""
    turns = TryTurns(DeliveryLimits())

    turns.claimed(Claimed(deliveries=[], organizations_after=7, hosts_after={1: "m:80", 2: "n:80"}, missed=0))
    turns.claimed(Claimed(deliveries=[], organizations_after=9, hosts_after={1: ""}, missed=0))

    assert (turns.state().organizations_after, turns.state().hosts_after) == (9, {2: "n:80"})


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are forgotten."""
    monkeypatch.setattr(turns_module, "REMEMBERED_MOST", 3)
    turns = TryTurns(DeliveryLimits())

    for organization in range(9):
        turns.end(turns.begin(organization, "a:80"), HANGING_MS)

    state = turns.state()
    assert [list(state.tags), list(state.estimates_ms)] == [[6, 7, 8]] * 2
    assert list(state.hanging) == [(6, "a:80"), (7, "a:80"), (8, "a:80")]
