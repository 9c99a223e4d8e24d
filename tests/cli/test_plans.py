"""``fairlane plans``, without a server."""

import pytest

from tests.cli.harness import Command

LIMITS = ["Priority limit", "Task types"]


def test_create_show_and_list_agree(fairlane: Command) -> None:
    """What was created is what is shown and listed."""
    created = fairlane("plans", "create", "pro", "--slots", "20", "--queue-limit", "50", "--weight", "2", "--json")

    shown = fairlane("plans", "show", "pro", "--json").document
    listed = fairlane("plans", "list", "--json").document["plans"]

    assert created.code == 0
    assert created.document == shown
    assert shown in listed
    assert [shown[field] for field in ("name", "slots", "queue_limit", "weight")] == ["pro", 20, 50, 2]


def test_people_read_words(fairlane: Command) -> None:
    """Without ``--json`` each field has a label of plain words."""
    fairlane("plans", "create", "pro", "--slots", "20")

    lines = fairlane("plans", "show", "pro").out.splitlines()

    assert [line.split("  ")[0].strip() for line in lines] == [
        "Plan",
        "Slots",
        "Queue limit",
        "Weight",
        *LIMITS,
        "Monthly credits",
        "Rate limit",
        "Retention",
        "Created",
    ]


def test_change_leaves_what_was_not_named(fairlane: Command) -> None:
    """Only the named limit changes."""
    fairlane("plans", "create", "pro", "--slots", "20", "--queue-limit", "50", "--weight", "2")

    changed = fairlane("plans", "change", "pro", "--slots", "30", "--json").document

    assert [changed[field] for field in ("slots", "queue_limit", "weight")] == [30, 50, 2]


def test_a_plan_says_what_may_be_submitted(fairlane: Command) -> None:
    """A highest priority and task types, taken away by ``none``; an organization may have its own, or the plan's."""
    allowed = ("--priority-limit", "5", "--task-types", "PAGE, REPORT")
    created = fairlane("plans", "create", "pro", "--slots", "2", *allowed, "--json").document
    fairlane("organizations", "create", "acme", "--plan", "pro", "--task-types", "PAGE", "--priority-limit", "9")
    own = fairlane("organizations", "show", "acme", "--json").document
    lines = fairlane("organizations", "change", "acme", "--task-types", "plan", "--priority-limit", "plan").out
    changed = fairlane("plans", "change", "pro", "--priority-limit", "none", "--task-types", "none", "--json").document

    assert (created["priority_limit"], created["task_types"]) == (5, ["PAGE", "REPORT"])
    assert (own["priority_limit"], own["task_types"]) == (9, ["PAGE"])
    assert [line.split(maxsplit=2)[2] for line in lines.splitlines() if line.startswith(tuple(LIMITS))] == [
        "5",
        "PAGE, REPORT",
    ]
    assert (changed["priority_limit"], changed["task_types"]) == (None, None)


def test_a_retention_is_a_length_of_time(fairlane: Command) -> None:
    """As people write it; the word goes back to the setting, and to the plan's."""
    made = [
        fairlane(*arguments, "--json").document["retention_seconds"]
        for arguments in (
            ("plans", "create", "kept", "--slots", "1", "--retention", "30d"),
            ("organizations", "create", "keeper", "--plan", "kept", "--retention", "90m"),
            ("organizations", "change", "keeper", "--retention", "plan"),
            ("plans", "change", "kept", "--retention", "none"),
        )
    ]

    assert made == [30 * 86_400, 90 * 60, 30 * 86_400, None]
    assert "36h" in fairlane("plans", "change", "kept", "--retention", "36h").out


def test_organizations_follow_their_plan(fairlane: Command) -> None:
    """A changed plan reaches organizations without limits of their own."""
    fairlane("plans", "create", "pro", "--slots", "20")
    fairlane("organizations", "create", "acme", "--plan", "pro")

    fairlane("plans", "change", "pro", "--slots", "30")

    assert fairlane("organizations", "show", "acme", "--json").document["slots_max"] == 30


def test_a_plan_may_have_no_slots_yet(fairlane: Command) -> None:
    """``none`` is shown as null to programs and as a dash to people."""
    created = fairlane("plans", "create", "later", "--slots", "none", "--json")

    assert created.code == 0
    assert created.document["slots"] is None
    row = next(line for line in fairlane("plans", "list").out.splitlines() if line.startswith("later"))
    assert row.split()[1] == "-"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("create", "pro"), 2),
        (("create", "pro", "--slots", "some"), 2),
        (("create", "pro", "--slots", "0"), 1),
        (("create", "default", "--slots", "1"), 1),
        (("change", "default"), 2),
        (("change", "nowhere", "--slots", "1"), 1),
        (("show", "nowhere"), 1),
    ],
)
def test_what_cannot_be_done_has_a_code_and_a_reason(fairlane: Command, arguments: tuple[str, ...], code: int) -> None:
    """2 for wrong usage, 1 for a refusal; the reason is on stderr."""
    ran = fairlane("plans", *arguments)

    assert (ran.code, ran.out) == (code, "")
    assert ran.err
