"""``fairlane organizations``, without a server."""

import pytest

from tests.cli.harness import Command


@pytest.fixture
def acme(fairlane: Command) -> str:
    """An organization that exists."""
    assert fairlane("organizations", "create", "acme", "--slots", "4").code == 0
    return "acme"


def test_create_gives_the_limits_that_were_asked_for(fairlane: Command) -> None:
    """Its own slots, queue limit and weight win over the default plan's."""
    ran = fairlane("organizations", "create", "acme", "--slots", "4", "--queue-limit", "9", "--weight", "3", "--json")

    assert ran.code == 0
    assert ran.document["name"] == "acme"
    assert ran.document["plan"] == "default"
    limits = [ran.document[field] for field in ("slots_max", "queue_limit", "weight")]
    assert limits == [4, 9, 3]


def test_create_on_a_plan_takes_the_plans_limits(fairlane: Command) -> None:
    """Without limits of its own an organization has its plan's."""
    fairlane("plans", "create", "pro", "--slots", "20", "--queue-limit", "50", "--weight", "2")

    ran = fairlane("organizations", "create", "acme", "--plan", "pro", "--json")

    assert [ran.document[field] for field in ("plan", "slots_max", "queue_limit", "weight")] == ["pro", 20, 50, 2]


def test_a_name_in_use_is_refused_with_the_name(fairlane: Command, acme: str) -> None:
    """Creating twice exits 1, says why on stderr and prints nothing on stdout."""
    ran = fairlane("organizations", "create", acme)

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("fairlane: Organization already exists\n")
    assert "value: acme" in ran.err


def test_slots_of_zero_are_refused_with_the_field(fairlane: Command) -> None:
    """The admin API's field details reach the operator."""
    ran = fairlane("organizations", "create", "acme", "--slots", "0")

    assert ran.code == 1
    assert "slots" in ran.err


def test_an_unknown_plan_is_refused(fairlane: Command) -> None:
    """An organization cannot be on a plan that does not exist."""
    ran = fairlane("organizations", "create", "acme", "--plan", "nowhere")

    assert ran.code == 1
    assert "Plan not found" in ran.err


def test_change_sets_a_limit_and_gives_it_back_to_the_plan(fairlane: Command, acme: str) -> None:
    """``--slots plan`` undoes ``--slots N``."""
    default = fairlane("plans", "show", "default", "--json").document["slots"]

    raised = fairlane("organizations", "change", acme, "--slots", "7", "--json").document["slots_max"]
    returned = fairlane("organizations", "change", acme, "--slots", "plan", "--json").document["slots_max"]

    assert (raised, returned) == (7, default)


@pytest.mark.parametrize(
    "arguments",
    [
        ("change", "acme"),
        ("change", "acme", "--slots", "many"),
        ("maintenance", "acme", "perhaps"),
        ("create",),
        ("fly",),
    ],
)
def test_wrong_usage_exits_2_and_changes_nothing(fairlane: Command, acme: str, arguments: tuple[str, ...]) -> None:
    """Usage errors are told from refusals by their exit code."""
    before = fairlane("organizations", "list", "--json").document

    ran = fairlane("organizations", *arguments)

    assert ran.code == 2
    assert fairlane("organizations", "list", "--json").document == before


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        ("pause", "paused", True),
        ("resume", "paused", False),
        ("disable", "disabled", True),
        ("enable", "disabled", False),
    ],
)
def test_a_flag_is_set_by_its_word(fairlane: Command, acme: str, word: str, field: str, value: bool) -> None:
    """Each word sets one flag, also the second time."""
    first = fairlane("organizations", word, acme, "--json")
    second = fairlane("organizations", word, acme, "--json")

    assert (first.code, second.code) == (0, 0)
    assert (first.document[field], second.document[field]) == (value, value)


def test_maintenance_of_one_organization_goes_on_and_off(fairlane: Command, acme: str) -> None:
    """It touches only the organization named."""
    fairlane("organizations", "create", "globex")

    on = fairlane("organizations", "maintenance", acme, "on", "--json").document["maintenance"]
    other = fairlane("organizations", "show", "globex", "--json").document["maintenance"]
    off = fairlane("organizations", "maintenance", acme, "off", "--json").document["maintenance"]

    assert (on, other, off) == (True, False, False)


def test_list_is_an_aligned_table_with_the_state(fairlane: Command, acme: str) -> None:
    """People see one line per organization, and columns that line up."""
    fairlane("organizations", "create", "a-rather-long-name", "--slots", "12")
    fairlane("organizations", "pause", acme)

    header, *rows = fairlane("organizations", "list").out.splitlines()

    assert header.split()[:3] == ["ORGANIZATION", "PLAN", "SLOTS"]
    assert sorted(row.split()[0] for row in rows) == ["a-rather-long-name", "acme"]
    assert {row.index("default") for row in rows} == {header.index("PLAN")}
    assert next(row for row in rows if row.startswith("acme")).endswith("paused")
    assert "\x1b" not in header


def test_list_of_nothing_says_what_to_do(fairlane: Command) -> None:
    """An empty list is a sentence for people and an empty list for programs."""
    people = fairlane("organizations", "list")
    programs = fairlane("organizations", "list", "--json")

    assert "fairlane organizations create" in people.out
    assert programs.document == {"organizations": []}


def test_show_names_every_limit_and_count(fairlane: Command, acme: str) -> None:
    """One line per fact."""
    ran = fairlane("organizations", "show", acme)

    facts = dict(line.split(maxsplit=1) for line in ran.out.splitlines() if len(line.split(maxsplit=1)) == 2)
    assert facts["Organization"] == "acme"
    assert facts["Slots"] == "4"
    assert facts["In"].split() == ["use", "0"]
    assert facts["State"] == "active"


def test_an_unknown_organization_is_named(fairlane: Command) -> None:
    """Showing and changing what does not exist exits 1 and repeats the name."""
    for arguments in (("show", "nobody"), ("pause", "nobody"), ("change", "nobody", "--slots", "3")):
        ran = fairlane("organizations", *arguments)

        assert ran.code == 1
        assert "Organization not found" in ran.err
        assert "nobody" in ran.err


def test_a_name_with_a_slash_is_one_name(fairlane: Command) -> None:
    """Names are escaped on their way through the admin API: this one is not found, or refused, but never misread."""
    ran = fairlane("organizations", "show", "a/keys")

    assert ran.code == 1
    assert "Organization not found" in ran.err
