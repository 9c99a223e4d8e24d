"""``fairlane drift``, ``audit``, ``maintenance`` and ``version``, without a server."""

import sqlite3
from pathlib import Path

import fairlane as package
from tests.cli.harness import Command


def test_no_drift_exits_0(fairlane: Command) -> None:
    """Counts that equal their rows are a sentence for people and an empty list for programs."""
    fairlane("organizations", "create", "acme")

    people = fairlane("drift")
    programs = fairlane("drift", "acme", "--json")

    assert (people.code, programs.code) == (0, 0)
    assert people.out.startswith("No drift: the counts of 1 organization")
    assert programs.document["drift"] == []


def test_drift_is_shown_exits_1_and_can_be_repaired(fairlane: Command, tmp_path: Path) -> None:
    """A count that was damaged behind the store's back is found."""
    fairlane("organizations", "create", "acme")
    with sqlite3.connect(tmp_path / "fairlane.db") as connection:
        connection.execute("UPDATE organization SET queued = 3 WHERE name = 'acme'")
    connection.close()

    people = fairlane("drift")
    programs = fairlane("drift", "--json")
    repaired = fairlane("organizations", "repair", "acme", "--json")
    after = fairlane("drift")

    assert (people.code, programs.code, repaired.code, after.code) == (1, 1, 0, 0)
    assert repaired.document == {"drift": programs.document["drift"]}
    header, row, *_ = people.out.splitlines()
    assert header.split() == ["ORGANIZATION", "COUNT", "KEPT", "COUNTED"]
    assert row.split()[0] == "acme"
    assert any((found["kept"], found["counted"]) == (3, 0) for found in programs.document["drift"])


def test_drift_of_nobody_is_refused(fairlane: Command) -> None:
    """An unknown name is no clean bill."""
    ran = fairlane("drift", "nobody")

    assert ran.code == 1
    assert "Organization not found" in ran.err


def test_every_change_is_in_the_audit_newest_first(fairlane: Command) -> None:
    """Who, what, on what; and never a secret."""
    fairlane("organizations", "create", "acme")
    key = fairlane("keys", "create", "acme", "--json").document
    for name in ("globex", "initech", "umbrella"):
        fairlane("organizations", "create", name)
    fairlane("organizations", "pause", "acme")

    rows = fairlane("audit", "--json")
    newest = fairlane("audit", "--limit", "1", "--json").document["audit"]
    people = fairlane("audit")

    changed = [row["subject"] for row in rows.document["audit"]]
    assert changed[:6] == ["acme", "umbrella", "initech", "globex", "acme", "acme"]
    assert newest == rows.document["audit"][:1]
    assert key["value"] not in rows.out
    assert len(people.out.splitlines()) == len(rows.document["audit"]) + 1


def test_maintenance_of_everything_goes_on_and_off(fairlane: Command) -> None:
    """Show tells what was set."""
    states = [fairlane("maintenance", word, "--json").document["on"] for word in ("show", "on", "show", "off", "show")]

    assert states == [False, True, True, False, False]
    assert fairlane("maintenance", "show").out == "Maintenance is off.\n"


def test_version_is_the_packages(fairlane: Command) -> None:
    """The same for people and programs."""
    assert fairlane("version").out == f"{package.__version__}\n"
    assert fairlane("--version").out == f"fairlane {package.__version__}\n"
    assert fairlane("version", "--json").document == {"version": package.__version__}
