"""Run again, or cancel, all tasks that the options of a command choose: count them, ask, begin, and follow."""

import asyncio
import sys
from typing import Annotated, Any
from uuid import uuid4

import typer

from fairlane.admin.connection import Admin, connect
from fairlane.cli.output import note, print_json
from fairlane.cli.progress import BulkBar

LOOK_SECONDS = 0.5

DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count the tasks.")]
WithoutAsking = Annotated[bool, typer.Option("--yes", help="Begin without asking.")]

VERBS = {"retry": ("Run again", "run again"), "cancel": ("Cancel", "canceled")}


def run_bulk(
    database: str, kind: str, chosen: dict[str, str | int], *, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Begin a bulk, once it is agreed to, and follow it to its end. Ctrl-C stops following, not the bulk."""
    counted = asyncio.run(_count(database, kind, chosen))
    if dry_run:
        print_json(counted) if as_json else print(f"{_counted(counted, kind)} Nothing was changed.")
        return
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("nothing was begun: give --yes, or --dry-run to count", param_hint="--yes")
        question = f"{_counted(counted, kind)} {VERBS[kind][0]} these?"
        if not typer.confirm(question, err=True):
            raise typer.Exit(1)
    try:
        bulk = asyncio.run(_follow(database, kind, chosen, counted, quiet=as_json))
    except KeyboardInterrupt:
        note("interrupted: the server goes on; see `fairlane tasks bulks`")
        raise typer.Exit(130) from None
    if as_json:
        print_json(bulk)
    else:
        print(f"{bulk['state'].lower()}: {words_of(bulk)}.")


async def _count(database: str, kind: str, chosen: dict[str, str | int]) -> dict[str, Any]:
    """Count the chosen tasks; without a status those that can be canceled."""
    statuses = [chosen["status"]] if "status" in chosen else ["QUEUED", "PROCESSING"]
    total = {"count": 0, "retried": 0, "complete": True}
    async with connect(database) as admin:
        for status in statuses:
            query = {name: str(value) for name, value in {**chosen, "status": status}.items()}
            counted = await admin.ask("GET", "tasks", "count", query=query)
            total = {
                "count": total["count"] + counted["count"],
                "retried": total["retried"] + counted["retried"],
                "complete": total["complete"] and counted["complete"],
            }
    return total


async def _follow(
    database: str, kind: str, chosen: dict[str, str | int], counted: dict[str, Any], *, quiet: bool
) -> dict[str, Any]:
    async with connect(database) as admin:
        bulk: dict[str, Any] = await admin.ask(
            "POST", "tasks", kind, body={**chosen, "idempotency_key": f"command-{uuid4()}"}
        )
        if admin.alone and bulk["state"] == "RUNNING":
            note("no server runs on this database: the bulk goes on once one is started")
            return bulk
        if quiet:
            return await _wait(admin, bulk, lambda _: None)
        with BulkBar(counted["count"] if counted["complete"] else None) as bar:
            return await _wait(admin, bulk, lambda one: bar.show(one["matched"], words_of(one)))


async def _wait(admin: Admin, bulk: dict[str, Any], show: Any) -> dict[str, Any]:
    """Look at a bulk until it has ended."""
    while bulk["state"] == "RUNNING":
        await asyncio.sleep(LOOK_SECONDS)
        bulk = await admin.ask("GET", "tasks", "bulk", bulk["id"])
        show(bulk)
    return bulk


def _counted(counted: dict[str, Any], kind: str) -> str:
    atleast = "" if counted["complete"] else "at least "
    words = f"{atleast}{counted['count']:,} {'task' if counted['count'] == 1 else 'tasks'}"
    if kind == "retry" and counted["retried"]:
        words += f", {counted['retried']:,} of them run again already"
    return f"{words}."


def words_of(bulk: dict[str, Any]) -> str:
    """Say how far a bulk is."""
    words = f"{bulk['done']:,} {VERBS[bulk['kind']][1]}"
    if bulk["skipped"]:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(bulk["reasons"].items()))
        words += f", {bulk['skipped']:,} skipped ({reasons})"
    return words if bulk["held_by"] is None else f"{words}, waiting for room in a queue"
