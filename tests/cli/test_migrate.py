"""``fairlane migrate``: look, apply, look again."""

from pathlib import Path

import apsw

from tests.cli.harness import Command, RunningServer


def test_a_check_changes_nothing_and_says_what_is_pending(fairlane: Command, tmp_path: Path) -> None:
    """Exit code 1 and the names before, 0 after; the file is made by the migration alone."""
    before = fairlane("migrate", "--check", "--json")
    assert before.code == 1
    assert before.document["version"] == 0
    assert before.document["pending"][0] == "0001_initial"
    assert not (tmp_path / "fairlane.db").exists()

    applied = fairlane("migrate", "--json")
    assert (applied.code, applied.document["applied"]) == (0, before.document["pending"])

    after = fairlane("migrate", "--check")
    assert (after.code, after.out) == (0, f"Up to date: schema version {before.document['known']}.\n")
    assert fairlane("migrate").out == after.out


def test_a_newer_schema_is_told_and_refused(fairlane: Command, tmp_path: Path) -> None:
    """1 for the check, 4 for the migration."""
    fairlane("migrate")
    connection = apsw.Connection(str(tmp_path / "fairlane.db"))
    connection.execute("INSERT INTO schema_version VALUES (9999, 0)")
    connection.close()

    check, migration = fairlane("migrate", "--check"), fairlane("migrate")

    assert check.code == 1
    assert "newer: the schema has version 9999" in check.out
    assert migration.code == 4
    assert "use the newer release" in migration.err


def test_a_running_server_is_not_in_the_way(fairlane: Command, server: RunningServer) -> None:
    """It has migrated already, so there is nothing to do."""
    assert fairlane("migrate", "--check").code == 0
    assert fairlane("migrate").code == 0
