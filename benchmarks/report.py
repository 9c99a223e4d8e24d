"""The table: medians and spread over the rounds, with the aims beside."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from benchmarks.many import SERVED
from benchmarks.scenario import Figures, Scale

POSTGRES = "pg-"
"""Before the names of figures that were measured on PostgreSQL."""
CLIENT_BUSY_MOST = 0.9
"""Beyond this share of a core the client, not the server, may have been the limit."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    label: str
    unit: str = ""
    divisor: float = 1.0
    digits: int = 0
    least: float | None = None
    """The aim: not less than this."""
    most: float | None = None
    """The aim: not more than this."""

    def show(self, value: float) -> str:
        """A figure as people read it."""
        return f"{value / self.divisor:,.{self.digits}f}"

    @property
    def aim(self) -> str:
        """The aim as people read it; empty: none."""
        if self.least is not None:
            return f">= {self.least}"
        return "" if self.most is None else f"<= {self.most}"

    def is_met(self, value: float) -> bool:
        """Whether a value reaches the aim."""
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)


def rows(scale: Scale) -> list[tuple[str, list[Row]]]:
    """Every line, in groups: SQLite, then PostgreSQL."""
    sqlite = [
        (f"SQLite: {title}", [_aimed(row, SQLITE_AIMS) for row in group]) for title, group in _on_both(scale, HUEY)
    ]
    postgres = [
        (
            f"PostgreSQL: {title}",
            [replace(_aimed(row, POSTGRES_AIMS), name=POSTGRES + row.name) for row in group],
        )
        for title, group in [*_on_both(scale, PGQUEUER), _sharing(), _distance()]
    ]
    return sqlite + postgres


HUEY, PGQUEUER = "Huey, SQLite, fsync, no limits", "PgQueuer, no tenants, no limits"
SQLITE_AIMS: dict[str, tuple[float | None, float | None]] = {
    "status.deep_to_constant": (0.5, None),
    "drain.alone_to_peer": (5.0, None),
    "batches.to_bare": (0.35, None),
}
"""Aims of one database alone: (not less, not more)."""
POSTGRES_AIMS: dict[str, tuple[float | None, float | None]] = {
    "status.deep_to_constant": (0.3, None),
    "drain.alone_to_peer": (1.0, None),
    "batches.to_bare": (0.45, None),
    "claims.many_to_few": (None, 3.0),
    "distance.answered_trips": (None, 4.0),
    "distance.started_trips": (None, 10.0),
    "distance.2.busy": (0.85, None),
}


def _aimed(row: Row, aims: dict[str, tuple[float | None, float | None]]) -> Row:
    least, most = aims.get(row.name, (row.least, row.most))
    return replace(row, least=least, most=most)


def _sharing() -> tuple[str, list[Row]]:
    lines = []
    for count, label in ((1, "1 server"), (2, "2 servers"), (3, "3 servers")):
        lines += [
            Row(f"sharing.{count}.per_second", f"{label}: submits answered", "/s"),
            Row(f"sharing.{count}.p50_us", "  p50", "ms", 1_000, 2),
            Row(f"sharing.{count}.p99_us", "  p99 of the slowest", "ms", 1_000, 2),
            Row(f"sharing.{count}.started_p50_ms", "  idle, through the last one: to start, p50", "ms", digits=2),
        ]
    return "servers on one database, 150 submits/s in total, one worker; all on the same cores", lines


def _distance() -> tuple[str, list[Row]]:
    lines = []
    for milliseconds in (0, 1, 2):
        name = f"distance.{milliseconds}"
        lines += [
            Row(f"{name}.select_p50_ms", f"{milliseconds} ms: a bare SELECT 1, p50", "ms", digits=2),
            Row(f"{name}.answered_p50_ms", "  submit sent to durable answer, p50", "ms", digits=2),
            Row(f"{name}.started_p50_ms", "  submit sent to handler started, p50", "ms", digits=2),
            Row(f"{name}.busy", "  busy slot time", digits=3),
        ]
    lines += [
        Row("distance.answered_trips", "round trips in an answer, from 0 and 2 ms", digits=1),
        Row("distance.started_trips", "round trips in a start, from 0 and 2 ms", digits=1),
    ]
    return "database behind a delaying proxy; 20 organizations of 5 slots, 50 ms tasks, 100 places", lines


def _on_both(scale: Scale, peer: str) -> list[tuple[str, list[Row]]]:
    empty, deep = scale.depths[0], scale.depths[-1]
    few, many = scale.deepest
    names = {"constant": "constant body"} | {str(depth): f"{depth:,} queued" for depth in scale.depths}
    return [
        (
            "status requests, 32 connections, one core each for server and load",
            [
                row
                for name, label in names.items()
                for row in (
                    Row(f"status.{name}.per_second", label, "/s"),
                    Row(f"status.{name}.p50_us", "  p50", "ms", 1_000, 2),
                    Row(f"status.{name}.p99_us", "  p99", "ms", 1_000, 2),
                )
            ]
            + [
                Row("status.deep_time_to_empty", f"time at {deep:,} / at {empty:,}", digits=3, most=1.05),
                Row("status.deep_to_constant", f"rate at {deep:,} / constant body", digits=3),
                Row("status.empty_to_constant", f"rate at {empty:,} / constant body", digits=3),
            ],
        ),
        (
            "server process",
            [
                row
                for depth in scale.depths
                for row in (
                    Row(f"startup.{depth}.seconds", f"start to ready, {depth:,} queued", "s", digits=2),
                    Row(f"memory.{depth}.bytes", f"memory after load, {depth:,} queued", "MiB", 2**20, 1),
                )
            ],
        ),
        (
            "submits, one task each, 32 connections, durable before the answer",
            [
                Row("submits.per_second", "submits", "/s"),
                Row("submits.p50_us", "  p50", "ms", 1_000, 2),
                Row("submits.p99_us", "  p99", "ms", 1_000, 2),
            ],
        ),
        (
            "batches of 500 tasks, 2 connections, durable before the answer",
            [
                Row("batches.tasks_per_second", "tasks", "/s"),
                Row("batches.p50_us", "  a batch, p50", "ms", 1_000, 2),
                Row("batches.p99_us", "  a batch, p99", "ms", 1_000, 2),
                Row("batches.bare_per_second", "bare inserts of the same rows, in process", "/s"),
                Row("batches.to_bare", "tasks / bare", digits=3),
            ],
        ),
        (
            "no-op tasks drained, 20 organizations of 5 to 10 slots",
            [
                Row("drain.alone.per_second", "alone", "/s"),
                Row("drain.while_submitting.per_second", "while 1,000 submits/s arrive", "/s"),
                Row("peer.drained_per_second", peer, "/s"),
                Row("peer.enqueued_per_second", "  its enqueue, in process, one caller", "/s"),
                Row("drain.alone_to_peer", "alone / peer", digits=2),
            ],
        ),
        (
            "dispatch when idle",
            [
                Row("dispatch.started_p50_ms", "submit sent to handler started, p50", "ms", digits=2),
                Row("dispatch.started_p99_ms", "submit sent to handler started, p99", "ms", digits=2),
                Row("dispatch.answered_p50_ms", "submit sent to durable answer, p50", "ms", digits=2),
            ],
        ),
        (
            "slot utilisation, 20 organizations of 5 slots, 50 ms tasks, 100 places",
            [
                Row("utilisation.busy", "busy slot time", digits=3, least=0.95),
                Row("utilisation.nominal", "  counting 50 ms for each task", digits=3),
                Row("utilisation.slots_most", "  most handlers at once"),
                Row("utilisation-1x10.busy", "one organization of 10 slots, 10 places", digits=3, least=0.97),
                Row("utilisation-100x5.busy", "100 organizations of 5 slots, 500 places", digits=3, least=0.85),
            ],
        ),
        (
            "one claim at the store: settle 10, pick 10, commit",
            [
                row
                for count in scale.organizations
                for row in (
                    Row(f"claims.{count}.p50_ms", f"{count:,} organizations, p50", "ms", digits=2),
                    Row(f"claims.{count}.p99_ms", f"{count:,} organizations, p99", "ms", digits=2),
                )
            ]
            + [Row("claims.many_to_few", "p99 with most / with fewest organizations", digits=2)],
        ),
        (
            f"one queue of {many:,} tasks (deepest)",
            [
                Row(f"deepest.status.{many}.per_second", "status, 32 connections", "/s"),
                Row(f"deepest.status.{few}.per_second", f"  with {few:,} queued", "/s"),
                Row("deepest.status.deep_time_to_empty", f"  time at {many:,} / at {few:,}", digits=3, most=1.05),
                Row(f"deepest.startup.{many}.seconds", "start to ready", "s", digits=2),
                Row(f"deepest.memory.{many}.bytes", "memory after load", "MiB", 2**20, 1),
                Row(f"deepest.memory.{few}.bytes", f"  with {few:,} queued", "MiB", 2**20, 1),
                Row(f"deepest.claims.{many}.p50_ms", "one claim: settle 10, pick 10, commit, p50", "ms", digits=2),
                Row("deepest.claims.many_to_few", f"  p50 at {many:,} / at {few:,}", digits=2),
            ],
        ),
        (
            f"claims for {SERVED} organizations, beside {scale.organizations[-1]:,} without a worker (few-of-many)",
            [
                Row(f"few_of_many.{scale.organizations[-1]}.p50_ms", "p50", "ms", digits=2),
                Row("few_of_many.0.p50_ms", "  without the others", "ms", digits=2),
                Row("few_of_many.many_to_few", "  with / without them", digits=2),
                Row(f"few_of_many.{scale.organizations[-1]}.bytes", "memory of a server", "MiB", 2**20, 1),
                Row("few_of_many.0.bytes", "  without the others", "MiB", 2**20, 1),
            ],
        ),
        (
            "one organization alone, 100 slots",
            [
                Row("single.submitted_per_second", "submits, 32 connections", "/s"),
                Row("single.drained_per_second", "no-op tasks drained", "/s"),
            ],
        ),
        (
            "fairness: 4 organizations of weights 1, 1, 2 and 4 that always have work, 5 places",
            [
                Row("fairness.lag_ms", "largest lag, service at weight 1", "ms", digits=1),
                Row("fairness.quantum_ms", "  expected duration of one attempt", "ms", digits=1),
                Row("fairness.of_bound", "  largest share of the bound", digits=2, most=1.0),
            ],
        ),
    ]


def print_report(facts: Mapping[str, str], rounds: Sequence[Figures], scale: Scale) -> None:
    """Everything for people. The verdict is on the median; each round's value stands beside it."""
    print()
    for name, fact in facts.items():
        print(f"{name + ':':<14}{fact}")
    print(f"{'rounds:':<14}{len(rounds)}, interleaved; every commit synced before its answer\n")
    print(f"{'':<46}{'median':>10} {'least':>10} {'most':>10}      {'aim':<9}")
    for title, group in rows(scale):
        shown = [(row, [one[row.name] for one in rounds if row.name in one]) for row in group]
        if not any(values for _, values in shown):
            continue
        print(title)
        for row, values in shown:
            if values:
                print(_line(row, values))
    for name in sorted({name for one in rounds for name in one if name.endswith(".client_busy")}):
        if (busy := median(one[name] for one in rounds if name in one)) > CLIENT_BUSY_MOST:
            print(f"  note: the load used {busy:.0%} of its core: {name.removesuffix('.client_busy')} may be higher")


def write_json(path: Path, facts: Mapping[str, str], rounds: Sequence[Figures]) -> None:
    """Everything for programs."""
    path.write_text(json.dumps({"machine": dict(facts), "rounds": [dict(one) for one in rounds]}, indent=1) + "\n")


def _line(row: Row, values: Sequence[float]) -> str:
    middle = median(values)
    figures = f"{row.show(middle):>10} {row.show(min(values)):>10} {row.show(max(values)):>10} {row.unit:<4}"
    if not row.aim:
        return f"  {row.label:<44}{figures}".rstrip()
    verdict = "met" if row.is_met(middle) else "MISSED"
    missed = sum(not row.is_met(value) for value in values)
    rounds = f" (missed in {missed} of {len(values)} rounds)" if missed else ""
    return f"  {row.label:<44}{figures} {row.aim:<9}{verdict}{rounds}"
