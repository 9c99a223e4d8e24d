"""``fairlane backup`` and ``fairlane restore``, with a server and without one."""

from pathlib import Path

from tests.cli.harness import Command, RunningServer


def test_a_database_is_copied_and_put_back(fairlane: Command, tmp_path: Path) -> None:
    """Without a server; the copy has what there was, and the former database is kept."""
    assert fairlane("organizations", "create", "acme").code == 0
    made = fairlane("backup", str(tmp_path / "copy.db"), "--json")
    fairlane("organizations", "create", "later")

    refused = fairlane("restore", str(tmp_path / "copy.db"))
    restored = fairlane("restore", str(tmp_path / "copy.db"), "--replace", "--json")

    assert (made.code, made.document["done"]) == (0, True)
    assert (refused.code, refused.out) == (4, "")
    assert "--replace" in refused.err
    assert restored.code == 0
    assert Path(restored.document["former"]).exists()
    assert restored.document["as_of"] is not None
    listed = fairlane("organizations", "list", "--json").document["organizations"]
    assert [one["name"] for one in listed] == ["acme"]
    assert [row["action"] for row in fairlane("audit", "--limit", "2", "--json").document["audit"]] == [
        "database.restored",
        "backup.made",
    ]


def test_a_running_server_is_backed_up_and_never_restored_over(
    fairlane: Command, server: RunningServer, tmp_path: Path
) -> None:
    """It writes the copy itself; while it owns the database, no restore touches it."""
    assert fairlane("organizations", "create", "acme").code == 0

    made = fairlane("backup", str(tmp_path / "copy.db"))
    again = fairlane("backup", str(tmp_path / "copy.db"))
    restored = fairlane("restore", str(tmp_path / "copy.db"), "--replace")

    assert made.code == 0
    assert "pages, checked." in made.out
    assert (again.code, restored.code) == (1, 5)
    assert fairlane("organizations", "show", "acme").code == 0
