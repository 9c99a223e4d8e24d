"""``fairlane credits``, without a server."""

import pytest

from tests.cli.harness import Command


@pytest.fixture
def acme(fairlane: Command) -> str:
    """An organization whose credits are counted."""
    assert fairlane("organizations", "create", "acme", "--credits", "on").code == 0
    return "acme"


def test_a_grant_shows_in_the_balance_and_in_the_history(fairlane: Command, acme: str) -> None:
    """Given, taken back, listed newest first with who did it."""
    assert fairlane("credits", "grant", acme, "500", "--reason", "invoice 7", "--id", "invoice-7").code == 0
    assert fairlane("credits", "grant", acme, "-20", "--reason", "too much").code == 0

    shown = fairlane("credits", "show", acme, "--json").document
    history = fairlane("credits", "history", acme)

    assert (shown["balance"], shown["credits"]["granted"]) == (480, 480)
    assert "invoice 7" in history.out
    assert "-20" in history.out
    listed = fairlane("credits", "history", acme, "--limit", "1", "--json").document["grants"]
    assert len(listed) == 1


def test_the_same_grant_counts_once(fairlane: Command, acme: str) -> None:
    """By its id; another amount under it is refused and named."""
    for _ in range(2):
        assert fairlane("credits", "grant", acme, "5", "--reason", "r", "--id", "g").code == 0
    other = fairlane("credits", "grant", acme, "6", "--reason", "r", "--id", "g")

    assert (other.code, other.out) == (1, "")
    assert "Grant already exists" in other.err
    assert fairlane("credits", "show", acme, "--json").document["balance"] == 5


def test_credits_are_switched_with_the_organization(fairlane: Command, acme: str) -> None:
    """Off and on again."""
    off = fairlane("organizations", "change", acme, "--credits", "off", "--json").document
    plain = fairlane("organizations", "create", "plain", "--json").document
    on = fairlane("organizations", "change", "plain", "--credits", "on", "--json").document

    assert [one["credits"]["on"] for one in (off, plain, on)] == [False, False, True]
    assert "not counted" in fairlane("organizations", "show", acme).out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("grant", "acme", "many", "--reason", "r"), 2),
        (("grant", "acme", "5"), 2),
        (("grant", "acme", "0", "--reason", "r"), 1),
        (("grant", "nobody", "5", "--reason", "r"), 1),
        (("show", "nobody"), 1),
        (("history", "nobody"), 1),
        (("history", "acme", "--limit", "0"), 1),
    ],
)
def test_what_makes_no_sense_grants_nothing(
    fairlane: Command, acme: str, arguments: tuple[str, ...], code: int
) -> None:
    """Wrong usage exits 2, a refusal 1."""
    ran = fairlane("credits", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert fairlane("credits", "history", acme).out == "acme has no grants yet.\n"


def test_the_totals_are_shown_for_people(fairlane: Command, acme: str) -> None:
    """Balance, held, granted, charged."""
    fairlane("credits", "grant", acme, "7", "--reason", "r")

    shown = fairlane("credits", "show", acme).out

    for line in ("Balance", "Held by running tasks", "Granted", "Charged"):
        assert line in shown
