"""``fairlane top``: every organization's queue, slots and throughput, live, for the operator."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer
from msgspec import Struct, to_builtins
from rich import box
from rich.console import JustifyMethod
from rich.live import Live
from rich.table import Table

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import print_json
from fairlane.cli.status import slot_bar
from fairlane.cli.tables import print_table
from fairlane.terminal import redraws

commands = Commands()


ROWS_MOST = 200
PAGES_MOST = 1_000
BAR_CELLS = 10
NAME_CELLS = 32
"""Room that names have before a column is left out for them."""
STATE_CELLS = 16
"""More than one state goes on in the next line."""
GAP_CELLS = 2
ROWS_AROUND = 5
"""Lines of the title, the header and the caption, and one that stays empty."""
BY_IMPORTANCE = ("QUEUED", "SLOTS", "OLDEST", "DONE/S", "FAILED/S", "RUNNING", "FAILED", "COMPLETED", "STATE")
COLUMNS = ("ORGANIZATION", "STATE", "QUEUED", "OLDEST", "RUNNING", "SLOTS", "DONE/S", "FAILED/S", "COMPLETED", "FAILED")


class TopRow(Struct, frozen=True, kw_only=True):
    """One organization at one moment."""

    name: str
    state: str
    queued: int
    oldest_seconds: float | None
    """How long the oldest ready task has been able to start, or None if there is none."""
    processing: int
    used: int
    """Slots in use, by tasks and by calls."""
    slots_max: int | None
    completed: int
    failed: int
    completed_per_second: float | None
    """None at the first look."""
    failed_per_second: float | None


@commands.command(epilog="Example: fairlane top --every 1")
def top(
    *,
    every: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="How often to refresh.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Measure one interval, show it, and end.")] = False,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show every organization live, the busiest first.

    It ends with Ctrl-C. Without a terminal, and with --json, it shows one interval and ends.
    """
    address = database_in_force(database)
    look = Look(address)
    if once or as_json or not redraws(sys.stdout):
        look.take()
        time.sleep(every)
        rows = look.take()
        if as_json:
            print_json({"organizations": to_builtins(rows)})
        else:
            print_table(COLUMNS, map(_cells, rows), empty="There are no organizations.")
        return
    try:
        _live(look, every)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


class Look:
    """Reads all organizations repeatedly, and remembers the look before."""

    def __init__(self, database: str, now: Callable[[], float] = time.time) -> None:
        self._database = database
        self._now = now
        self._before: dict[str, tuple[int, int]] = {}
        self._at = 0.0

    def take(self) -> list[TopRow]:
        """Return every organization now, the busiest first."""
        found, now = _organizations(self._database), time.monotonic()
        seconds = now - self._at if self._before else None
        rows = [self._row(one, seconds) for one in found]
        self._before = {one["name"]: (one["completed"], one["failed"]) for one in found}
        self._at = now
        return sorted(rows, key=lambda row: (-row.used, -row.queued, row.name))

    def _row(self, one: Mapping[str, Any], seconds: float | None) -> TopRow:
        before, oldest = self._before.get(one["name"]), one["oldest_ready_at"]
        rates: tuple[float | None, float | None] = (None, None)
        if before is not None and seconds:
            rates = ((one["completed"] - before[0]) / seconds, (one["failed"] - before[1]) / seconds)
        return TopRow(
            name=one["name"],
            state=state_of(one),
            queued=one["queued"],
            oldest_seconds=None if oldest is None else max(0.0, self._now() - oldest / 1_000),
            processing=one["processing"],
            used=one["used"],
            slots_max=one["slots_max"],
            completed=one["completed"],
            failed=one["failed"],
            completed_per_second=rates[0],
            failed_per_second=rates[1],
        )


def state_of(organization: Mapping[str, Any]) -> str:
    """Return its flags in words."""
    flags = [flag for flag in ("disabled", "paused", "maintenance", "drifted") if organization.get(flag)]
    return ", ".join(flags) or "active"


def _organizations(database: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    query: dict[str, str] = {}
    for _ in range(PAGES_MOST):
        answer = ask(database, "GET", "organizations", query=query)
        found += answer["organizations"]
        if not answer.get("cursor"):
            break
        query = {"cursor": answer["cursor"]}
    return found


def _live(look: Look, every: float) -> None:
    with Live(auto_refresh=False, screen=True) as live:
        while True:
            live.update(picture(look.take(), live.console.width, live.console.height), refresh=True)
            time.sleep(every)


def picture(rows: Sequence[TopRow], width: int, height: int) -> Any:
    """Return the organizations as a table for a terminal of this size."""
    queued, running = sum(row.queued for row in rows), sum(row.processing for row in rows)
    done = sum(row.completed_per_second or 0 for row in rows)
    noun = "organization" if len(rows) == 1 else "organizations"
    title = f"{len(rows):,} {noun}, {queued:,} queued, {running:,} running, {done:,.1f} done/s"
    widths, bar = _layout(rows[:ROWS_MOST], width)
    shown = _fitting(rows[:ROWS_MOST], widths, height - ROWS_AROUND)
    rest = len(rows) - len(shown)
    caption = f"{rest:,} more below · Ctrl-C ends" if rest else "Ctrl-C ends"
    table = Table(
        box=box.SIMPLE_HEAD, title=title, caption=caption, title_justify="left", caption_justify="left",
        show_edge=False, pad_edge=False, padding=(0, GAP_CELLS - 1, 0, 0),
    )  # fmt: skip
    for column, cells in widths.items():
        # Nothing is cut: a name that is longer than its column goes on in the next line.
        justify: JustifyMethod = "left" if column in ("ORGANIZATION", "STATE", "SLOTS") else "right"
        table.add_column(column, justify=justify, overflow="fold", width=cells)
    for row in shown:
        texts = _texts(row, bar)
        table.add_row(*(texts[column] for column in widths))
    return table


def _layout(rows: Sequence[TopRow], width: int) -> tuple[dict[str, int], int]:
    """Return the columns that have room beside the names, with their cells, and the cells of a bar (0: no bar).

    Without room for all columns, the state of active organizations goes first, then the totals.
    """
    texts = [_texts(row, 0) for row in rows]
    needs = {column: max([len(column), *(len(cells[column]) for cells in texts)]) for column in COLUMNS}
    needs["STATE"] = min(needs["STATE"], STATE_CELLS)
    cells = {"ORGANIZATION": min(needs["ORGANIZATION"], NAME_CELLS)}
    left = width - cells["ORGANIZATION"]
    unusual = any(row.state != "active" for row in rows)
    for column in (*(("STATE",) if unusual else ()), *BY_IMPORTANCE):
        if column not in cells and GAP_CELLS + needs[column] <= left:
            cells[column] = needs[column]
            left -= GAP_CELLS + needs[column]
    bar = BAR_CELLS if "SLOTS" in cells and left > BAR_CELLS else 0
    if bar:
        cells["SLOTS"] += bar + 1
        left -= bar + 1
    cells["ORGANIZATION"] = min(needs["ORGANIZATION"], cells["ORGANIZATION"] + left)
    return {column: cells[column] for column in COLUMNS if column in cells}, bar


def _fitting(rows: Sequence[TopRow], widths: Mapping[str, int], lines: int) -> list[TopRow]:
    """Return the first rows that fit into this number of lines, and at least one."""
    fitting: list[TopRow] = []
    for row in rows:
        states = -(-len(row.state) // STATE_CELLS) if "STATE" in widths else 1
        lines -= max(states, -(-len(row.name) // widths["ORGANIZATION"]))
        if lines < 0 and fitting:
            break
        fitting.append(row)
    return fitting


def _texts(row: TopRow, bar: int) -> dict[str, Any]:
    """Return each cell of a row as text, or the slots with a bar."""
    cells = dict(zip(COLUMNS, _cells(row, bar=bar), strict=True))
    return {column: f"{cell:,}" if isinstance(cell, int) else cell for column, cell in cells.items()}


def _cells(row: TopRow, *, bar: int | None = None) -> list[Any]:
    slots: Any = f"{row.used}/{row.slots_max}" if row.slots_max is not None else f"{row.used}/?"
    if bar and row.slots_max is not None:
        slots = slot_bar(row.used, row.slots_max, bar).append(f" {slots}")
    rates = [None if rate is None else f"{rate:.1f}" for rate in (row.completed_per_second, row.failed_per_second)]
    if bar is not None:
        rates = [rate or "-" for rate in rates]
    oldest = "-" if row.oldest_seconds is None else _short(row.oldest_seconds)
    return [row.name, row.state, row.queued, oldest, row.processing, slots, *rates, row.completed, row.failed]


def _short(seconds: float) -> str:
    """Return a time in its largest unit."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds:.0f}s"
