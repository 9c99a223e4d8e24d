"""``fairlane simulate``: how long tasks would have waited with other plans, weights and workers."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from msgspec import Struct

from fairlane.admin.connection import Admin, connect
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import note, print_json
from fairlane.cli.tables import print_table
from fairlane.errors import CommandFailed
from fairlane.model.simulation import SimulatedOrganization, Traced, Waits, WhatIf
from fairlane.model.tasks import PRIORITY_HIGHEST, PRIORITY_LOWEST
from fairlane.simulation import what_if

commands = Commands()


TASKS_MOST = 200_000
"""Most tasks that are replayed, which takes some seconds."""
LINE_BYTES_MOST = 64 * 1024
COLUMNS = ("ORGANIZATION", "TASKS", "WAITS", "SLOTS", "WEIGHT", "P50 S", "P90 S", "P99 S")
SLOTS_MOST = 1_000_000
WEIGHT_MOST = 1_000
PLACES_MOST = 1_000_000


class Limits(Struct, kw_only=True, forbid_unknown_fields=True):
    """The limits of all organizations: the first line of a trace file."""

    organizations: dict[str, SimulatedOrganization | None]
    """None if an organization's limit is not known."""
    places: int | None = None
    """Places of all workers together, or None if there are none: then there are always enough."""


@commands.command(epilog="Example: fairlane simulate --slots acme=20 --weight acme=3 --places 40")
def simulate(
    *,
    slots: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=N", help="Slots for an organization. May be repeated.", show_default=False),
    ] = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=W", help="Weight for an organization. May be repeated.", show_default=False),
    ] = None,
    places: Annotated[
        int | None,
        typer.Option(min=1, max=PLACES_MOST, metavar="N", help="Places of all workers together.", show_default=False),
    ] = None,
    begins_at: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MOMENT",
            help="Only tasks that ended from this moment on. Default: a day ago.",
            show_default=False,
        ),
    ] = None,
    ends_at: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="MOMENT", help="Only tasks that ended before this moment. Default: now.", show_default=False
        ),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Replay this file instead of the database's tasks.", show_default=False),
    ] = None,
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the replayed tasks to a file.", show_default=False)
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Replay finished tasks under other limits.

    By the server's own rules. Shows for each organization how long tasks waited, how long they would have waited with
    the present limits, and how long with those of the options. It is an estimate: tasks take as long as they took, and
    unfinished tasks are left out.
    """
    if trace is not None:
        if begins_at is not None or ends_at is not None:
            raise typer.BadParameter("a file is replayed completely: leave out --from and --to")
        limits, tasks = read_trace(trace)
    else:
        limits, tasks = _recorded(database_in_force(database), begins_at, ends_at)
    if len(tasks) > TASKS_MOST:
        tasks = tasks[:TASKS_MOST]
        note(f"only the first {TASKS_MOST:,} tasks that ended are replayed: use a shorter span to see the others")
    changes = _changes(slots, option="--slots", most=SLOTS_MOST), _changes(weight, option="--weight", most=WEIGHT_MOST)
    now, then = _parties(limits, tasks, *changes)
    if save is not None:
        _write_trace(save, limits, tasks)
    places_then = limits.places if places is None else places
    found = what_if(tasks, now, then, places_now=limits.places, places_then=places_then)
    if as_json:
        shown = {"estimate": True, "places_now": limits.places, "places_then": places_then}
        print_json(shown | {"tasks": len(tasks), "organizations": msgspec.to_builtins(found)})
        return
    if found:
        print(f"An estimate: {len(tasks):,} finished tasks, replayed.")
        print(f"Places of workers: {_places(limits.places)} now, {_places(places_then)} then.")
    print_table(COLUMNS, _rows(found), empty="There are no finished tasks in this span: nothing to replay.")
    for one in found:
        if not one.trusted:
            note(
                f"{one.organization}: the replay with present limits misses the measured waits by more than a third: "
                "do not trust it"
            )


def _rows(found: Sequence[WhatIf]) -> list[list[object]]:
    rows: list[list[object]] = []
    for one in found:
        for kind, party, waits in (
            ("measured", None, one.waits_measured),
            ("now", one.now, one.waits_now),
            ("then", one.then, one.waits_then),
        ):
            limits = (None, None) if party is None else (party.slots, party.weight)
            rows.append([one.organization, one.tasks, kind, *limits, *_seconds(waits)])
    return rows


def _seconds(waits: Waits) -> list[float | None]:
    return [None if wait is None else wait / 1_000 for wait in (waits.p50_ms, waits.p90_ms, waits.p99_ms)]


def _places(places: int | None) -> str:
    return "unlimited" if places is None else f"{places:,}"


# Limits --------------------------------------------------------------------------------------------------------------


def _changes(given: Sequence[str] | None, *, option: str, most: int) -> dict[str, int]:
    changes: dict[str, int] = {}
    for text in given or ():
        name, _, number = text.rpartition("=")
        if not (name and number.isascii() and number.isdigit() and len(number) < 9 and 1 <= int(number) <= most):
            raise typer.BadParameter(f"{text!r} is not NAME=N with N from 1 to {most:,}", param_hint=option)
        changes[name] = int(number)
    return changes


def _parties(
    limits: Limits, tasks: Sequence[Traced], slots: Mapping[str, int], weights: Mapping[str, int]
) -> tuple[dict[str, SimulatedOrganization], dict[str, SimulatedOrganization]]:
    """Return every organization with tasks, with its present and its changed limits."""
    names = sorted({one.organization for one in tasks})
    unknown = sorted({*slots, *weights} - {*names, *limits.organizations})
    if unknown:
        raise CommandFailed(f"there is no organization {unknown[0]!r} among the replayed tasks")
    now, then = {}, {}
    for name in names:
        known = limits.organizations.get(name)
        if known is None and name not in slots:
            raise CommandFailed(f"the limit of {name} is not known: give --slots {name}=N")
        now[name] = known or SimulatedOrganization(slots=slots[name])
        then[name] = SimulatedOrganization(
            slots=slots.get(name, now[name].slots), weight=weights.get(name, now[name].weight)
        )
    return now, then


# What was recorded ---------------------------------------------------------------------------------------------------


def _recorded(database: str, begins_at: str | None, ends_at: str | None) -> tuple[Limits, list[Traced]]:
    """Return the present limits, and the tasks that ended in the span, up to one more than are replayed."""
    span = {name: moment for name, moment in (("from", begins_at), ("to", ends_at)) if moment is not None}

    async def everything() -> tuple[Limits, list[Traced]]:
        async with connect(database) as admin:
            found = [one async for one in _pages(admin, "organizations", {})]
            scaling = await admin.ask("GET", "scaling")
            tasks = []
            async for one in _pages(admin, "trace", span, noun="tasks"):
                tasks.append(msgspec.convert(one, Traced))
                if len(tasks) > TASKS_MOST:
                    break
        organizations = {
            one["name"]: None
            if one["slots_max"] is None
            else SimulatedOrganization(slots=one["slots_max"], weight=one["weight"])
            for one in found
        }
        places = round(scaling["workers"] * scaling["places_per_worker"])
        return Limits(organizations=organizations, places=places or None), tasks

    return asyncio.run(everything())


async def _pages(admin: Admin, path: str, query: dict[str, str], *, noun: str | None = None) -> AsyncIterator[Any]:
    asked = dict(query)
    while True:
        answer = await admin.ask("GET", path, query=asked)
        for one in answer[noun or path]:
            yield one
        if "cursor" not in answer:
            return
        asked["cursor"] = answer["cursor"]


# Trace files ---------------------------------------------------------------------------------------------------------


def read_trace(path: Path) -> tuple[Limits, list[Traced]]:
    """Read a trace file: the limits of all organizations in the first line, a task in each further one.

    Raises:
        CommandFailed: it cannot be read, or one of its lines is wrong.
    """
    tasks: list[Traced] = []
    try:
        with path.open("rb") as file:
            limits = _line(path, 1, file.readline(LINE_BYTES_MOST), Limits)
            number = 1
            while text := file.readline(LINE_BYTES_MOST):
                number += 1
                task = _line(path, number, text, Traced)
                if not (PRIORITY_LOWEST <= task.priority <= PRIORITY_HIGHEST):
                    raise CommandFailed(f"{path}, line {number}: priority must be from 1 to 10")
                tasks.append(task)
                if len(tasks) > TASKS_MOST:
                    break
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from error
    return limits, tasks


def _line(path: Path, number: int, text: bytes, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CommandFailed(f"{path}, line {number}: {error}") from error


def _write_trace(path: Path, limits: Limits, tasks: Sequence[Traced]) -> None:
    named = {one.organization for one in tasks}
    kept = {name: party for name, party in limits.organizations.items() if name in named}
    lines = [msgspec.structs.replace(limits, organizations=kept), *tasks]
    try:
        with path.open("wb") as file:
            file.writelines(msgspec.json.encode(line) + b"\n" for line in lines)
    except OSError as error:
        raise CommandFailed(f"cannot write {path}: {error.strerror}") from error
