"""Writes the tables of ``docs/operators/scaling.md`` from what ``make bench ARGS='--json FILE'`` wrote.

Run as ``python -m benchmarks.scaling FILE``. A figure that the file does not have is a dash.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.report import POSTGRES, Row, rows
from benchmarks.scenario import Figures, Scale

PAGE = Path(__file__).parents[1] / "docs" / "operators" / "scaling.md"
BEGIN, END = "<!-- figures: python -m benchmarks.scaling FILE -->", "<!-- end of figures -->"
NOTHING = "–"
DEEP = f"{Scale().depths[-1]:,}"

ONE_SERVER = (
    ("submits one by one, 32 connections, /s", "submits.per_second"),
    ("tasks submitted in batches of 500, /s", "batches.tasks_per_second"),
    ("no-op tasks drained, 20 organizations, /s", "drain.alone.per_second"),
    ("the same while 1,000 submits/s arrive, /s", "drain.while_submitting.per_second"),
    ("one organization alone: submits, /s", "single.submitted_per_second"),
    ("one organization alone: no-op tasks drained, /s", "single.drained_per_second"),
    (f"status requests with {DEEP} tasks queued, /s", f"status.{Scale().depths[-1]}.per_second"),
    ("from a submit to the start on an idle worker, p50, ms", "dispatch.started_p50_ms"),
    ("slots busy, 20 organizations of 5, tasks of 50 ms", "utilisation.busy"),
    ("one exchange with 10,000 organizations, p99, ms", "claims.10000.p99_ms"),
    (f"from start to ready with {DEEP} tasks queued, s", f"startup.{Scale().depths[-1]}.seconds"),
    (f"memory of the server with {DEEP} tasks queued, MiB", f"memory.{Scale().depths[-1]}.bytes"),
)
SERVERS = (1, 2, 3)
SHARING = (
    ("submits answered, /s", "per_second"),
    ("p50, ms", "p50_us"),
    ("p99 of the slowest, ms", "p99_us"),
    ("idle: submit to start, p50, ms", "started_p50_ms"),
)
MILLISECONDS = (0, 1, 2)
DISTANCE = (
    ("`SELECT 1`, p50, ms", "select_p50_ms"),
    ("submit to answer, p50, ms", "answered_p50_ms"),
    ("submit to start, p50, ms", "started_p50_ms"),
    ("slots busy", "busy"),
)


def tables(rounds: Sequence[Figures]) -> str:
    """Return the three tables: medians of the rounds."""
    known = {row.name: row for _, group in rows(Scale()) for row in group}

    def cell(name: str) -> str:
        return _cell(known[name], rounds)

    parts = ["| one server, one worker process | SQLite | PostgreSQL | figure |", "|---|---|---|---|"]
    parts += [f"| {label} | {cell(name)} | {cell(POSTGRES + name)} | `{name}` |" for label, name in ONE_SERVER]
    parts += [
        "",
        "| servers on one PostgreSQL | " + " | ".join(label for label, _ in SHARING) + " |",
        "|---|---|---|---|---|",
    ]
    for count in SERVERS:
        cells = [cell(f"{POSTGRES}sharing.{count}.{name}") for _, name in SHARING]
        parts.append(f"| {count} | " + " | ".join(cells) + " |")
    parts += ["", "| PostgreSQL away | " + " | ".join(label for label, _ in DISTANCE) + " |", "|---|---|---|---|---|"]
    for milliseconds in MILLISECONDS:
        cells = [cell(f"{POSTGRES}distance.{milliseconds}.{name}") for _, name in DISTANCE]
        parts.append(f"| {milliseconds} ms | " + " | ".join(cells) + " |")
    return "\n".join(parts)


def written(page: str, rounds: Sequence[Figures]) -> str:
    """Return the page with new tables between its two marks."""
    before, _, rest = page.partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise ValueError(f"the page lacks its marks: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{tables(rounds)}\n{END}{after}"


def _cell(row: Row, rounds: Sequence[Figures]) -> str:
    values = [one[row.name] for one in rounds if row.name in one]
    return row.show(median(values)) if values else NOTHING


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description="Write the tables on scaling.")
    parser.add_argument("figures", type=Path, metavar="FILE", help="what `make bench ARGS='--json FILE'` wrote")
    rounds = json.loads(parser.parse_args().figures.read_text("utf-8"))["rounds"]
    PAGE.write_text(written(PAGE.read_text("utf-8"), rounds), encoding="utf-8")


if __name__ == "__main__":
    main()
