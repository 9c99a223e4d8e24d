"""``fairlane migrate``: look, apply, look again."""

from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fairlane.cli import program
from fairlane.store.postgres import opening
from fairlane.store.sqlite import opening as sqlite_opening
from tests import postgres
from tests.cli.harness import Command, RunningServer, start_server
from tests.store.made_up import with_later


@pytest.mark.nothing_yet
def test_a_check_changes_nothing_and_says_what_is_pending(fairlane: Command, tmp_path: Path) -> None:
    """Exit code 1 and the names before, 0 after; the file is made by the migration alone."""
    before = fairlane("migrate", "--check", "--json")
    assert before.code == 1
    assert before.document["version"] == 0
    assert before.document["pending"] == ["0100_schema"]
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


@pytest.fixture
def nothing_yet(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A PostgreSQL database without tables, for every process of this test."""
    address = postgres.lend(bare=True)
    monkeypatch.setenv("FAIRLANE_DATABASE", address)
    yield address
    postgres.give_back(address)


@pytest.fixture(params=["sqlite", "postgres"])
def older(request: pytest.FixtureRequest, fairlane: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database of this release, and from then on a release with later migrations."""
    if request.param == "postgres":
        request.getfixturevalue("nothing_yet")
    assert fairlane("migrate").code == 0
    for module in (opening, sqlite_opening):
        monkeypatch.setattr(module, "load_migrations", with_later)


@pytest.mark.usefixtures("older")
def test_no_other_command_migrates(fairlane: Command) -> None:
    """It says what to do, and the schema is as it was: servers of the release before may serve on it."""
    before = fairlane("migrate", "--check", "--json").document

    looked, changed = fairlane("plans", "list"), fairlane("organizations", "create", "acme")

    assert (looked.code, changed.code) == (4, 4)
    assert f"has schema version {before['version']}, this fairlane needs {before['known']}" in changed.err
    assert "run 'fairlane migrate'" in changed.err
    assert fairlane("migrate", "--check", "--json").document == before


def test_no_other_command_makes_tables_on_postgresql(fairlane: Command, nothing_yet: str) -> None:
    """The address may be another's, or mistyped."""
    assert fairlane("organizations", "create", "acme").code == 4

    assert fairlane("migrate", "--check", "--json").document["version"] == 0
    assert fairlane("migrate").code == 0
    assert fairlane("organizations", "create", "acme").code == 0


# As each is typed; none of them may create a database.
COMMANDS = [
    "organizations create acme", "organizations list", "keys create acme", "keys list --worker", "plans list",
    "credits show acme", "webhooks secrets list acme", "tasks list", "failures", "sessions list", "sessions drain x",
    "usage export --month 2026-11", "backup {copy}",
    "drift", "audit", "maintenance show", "maintenance on", "top --once", "simulate --slots acme=3", "doctor",
    "migrate --check", "move --from {database} --to postgresql://127.0.0.1:1/x",
]  # fmt: skip


@pytest.mark.nothing_yet
@pytest.mark.parametrize("found", ["nothing", "folder", "empty file"])
def test_a_mistyped_path_is_told_and_creates_nothing(
    fairlane: Command, tmp_path: Path, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By every command but serve, migrate and restore: the message names the path, and the exit code is not 0."""
    path = tmp_path / "mistyped" / "fairlane.db"
    if found != "nothing":
        path.parent.mkdir()
    if found == "empty file":
        path.touch()
    before = sorted(tmp_path.rglob("*"))
    address = f"sqlite:///{path}"
    monkeypatch.setenv("FAIRLANE_DATABASE", address)

    for command in COMMANDS:
        ran = fairlane(*command.format(copy=tmp_path / "copy.db", database=address).split())

        assert ran.code not in (0, 2), command
        assert str(path) in ran.err + ran.out or command.startswith("migrate"), command
        assert sorted(tmp_path.rglob("*")) == before, command


@pytest.mark.nothing_yet
def test_every_command_about_a_database_is_in_the_list_of_those_that_create_none() -> None:
    """A new command is added there, or to those that may create one, or speaks to a server alone."""
    reading = {command.split()[0] for command in COMMANDS}
    others = {"serve", "restore", "demo", "version", "run", "worker", "help", "completion", "logout", "settings"}
    asking = {
        "client",
        "login",
        "status",
        "slots",
        "wait",
        "why",
        "cancel",
        "submit",
        "monitor",
        "capacity",
        "dashboard",
    }

    assert set(program.COMMANDS) == reading | others | asking


def test_servers_and_a_migration_that_start_at_once_all_succeed(
    fairlane: Command, nothing_yet: str, tmp_path: Path
) -> None:
    """Two servers and the command, on a database without tables: one migrates, the others wait, both serve."""
    logs = [tmp_path / "one.log", tmp_path / "two.log"]
    with start_server(logs[0], "--workers", "0") as one, start_server(logs[1], "--workers", "0") as two:
        try:
            migration = fairlane("migrate")
            servers = [RunningServer(process, log) for process, log in zip((one, two), logs, strict=True)]
        finally:
            codes = []
            for process in (one, two):
                process.terminate()
                codes.append(process.wait(20))

    assert migration.code == 0, migration.err
    assert len({server.address for server in servers}) == 2
    assert codes == [0, 0]
    applied = [log.read_text().count("schema.migrated version=1 ") for log in logs]
    assert sum(applied) + (migration.err.count("schema.migrated version=1 ")) <= 1
    assert fairlane("migrate", "--check").code == 0
