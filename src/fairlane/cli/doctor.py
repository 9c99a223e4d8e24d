"""``fairlane doctor``: checks the setup, and says in words what to do."""

import asyncio
import resource
from pathlib import Path
from typing import Annotated, Any

import typer

import fairlane
from fairlane.admin.connection import find_elsewhere, find_server
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, OwnDatabase, database_in_force
from fairlane.cli.output import print_json
from fairlane.cli.tables import print_table
from fairlane.diagnosis import Elsewhere, Finding, Grade, Process, diagnose, unreachable
from fairlane.errors import DatabaseError, SetupError
from fairlane.settings import Settings, read_settings
from fairlane.store import Store

commands = Commands()


@commands.command(epilog="Example: fairlane doctor --server https://api.example")
def doctor(
    *,
    servers: Annotated[
        list[str] | None,
        typer.Option(
            "--server",
            metavar="URL",
            help="A server to check, https://HOST:PORT; may be given several times. Its version is compared if"
            "there is an admin key in FAIRLANE_ADMIN_KEY or FAIRLANE_ADMIN_KEY_FILE.",
            show_default=False,
        ),
    ] = None,
    database: OwnDatabase = None,
    as_json: AsJson = False,
) -> None:
    """Check the setup, and what keeps tasks from starting.

    Looks at the database, the disk, clocks and workers. Changes nothing; works with and without running servers. Exit
    code 1 if there is a problem; with warnings alone it is 0. Run it with the environment variables of the servers.
    """
    findings = asyncio.run(_findings(database_in_force(database), servers or []))
    problems = [finding for finding in findings if finding.state is Grade.PROBLEM]
    if as_json:
        shown = [
            {"check": one.check, "state": str(one.state), "message": one.message, "advice": one.advice}
            for one in findings
        ]
        print_json({"ok": not problems, "findings": shown})
    else:
        print_table(["CHECK", "STATE", "WHAT WAS SEEN"], [[f.check, f.state, f.message] for f in findings], empty="")
        for finding in findings:
            if finding.advice:
                print(f"\n{finding.state}: {finding.check}: {finding.message}\n  {finding.advice}")
    if problems:
        raise typer.Exit(1)


async def _findings(database: str, servers: list[str]) -> list[Finding]:
    try:
        settings = read_settings({"database": database})
        engine, content = await Store.look(settings)
    except DatabaseError as error:
        return [unreachable(str(error))]
    except SetupError as error:
        return [Finding("settings", Grade.PROBLEM, str(error), "fix this setting; no server starts with it")]
    return diagnose(
        engine,
        content,
        await _process(settings, servers),
        floor_bytes=settings.free_disk_floor_bytes,
        prepares=settings.pg_prepare != "off",
    )


async def _process(settings: Settings, servers: list[str]) -> Process:
    """Return the server that owns this database, if it is on this machine and answers, and the named servers."""
    owner, facts = await find_server(settings.database)
    found = await asyncio.gather(*(find_elsewhere(address) for address in servers))
    limits = None if owner is None else _open_files(owner)
    return Process(
        address=None if facts is None else facts["address"],
        version=None if facts is None else facts["version"],
        own_version=fairlane.__version__,
        open_files=_most_here() if limits is None else limits,
        owned=facts is None and owner is not None,
        # A server of the previous release does not report it.
        worker_trouble=None if facts is None else facts.get("worker_trouble"),
        elsewhere=tuple(
            Elsewhere(address=address, ready=ready, reason=reason, version=version)
            for address, (ready, reason, version) in zip(servers, found, strict=True)
        ),
    )


def _open_files(process: int) -> int | None:
    """Return the limit of a running process, or None if it cannot be read here."""
    try:
        lines = Path(f"/proc/{process}/limits").read_text().splitlines()
    except OSError:
        return None
    found: Any = next((line.split()[3] for line in lines if line.startswith("Max open files")), None)
    return int(found) if found is not None and found.isdigit() else None


def _most_here() -> int | None:
    """Return the limit that a server started from here could reach."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard
