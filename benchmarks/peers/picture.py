"""The picture of three rows: a column of bars for each, fairlane's in its own color, light or dark as the page.

It has no script and no outside part. A bar is the median of the rounds, the thin line their spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.peers.figures import Results
from benchmarks.peers.participants import PARTICIPANTS, Participant

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "peers.svg"
NAMESPACE = "http://www.w3.org/2000/svg"
WIDTH, MARGIN, GAP = 1140, 12, 24
COLUMN = (WIDTH - 2 * MARGIN - 2 * GAP) / 3
NAME, VALUE = 172, 48
"""Room for the name before a bar, and for the figure after it."""
ROW, BAR = 19, 11
HEAD, FOOT = 62, 44

DURABILITY = "Stored tasks are synced to disk before the answer; with Redis everysec, within a second of it."
STYLE = """
text { font: 12px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328; }
.title { font-size: 14px; font-weight: 600; }
.note { fill: #59636e; }
.value { font-variant-numeric: tabular-nums; }
.ours { font-weight: 600; }
.bar { fill: #afb8c1; }
.bar.ours { fill: #0969da; }
.spread { stroke: #59636e; stroke-width: 1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .note { fill: #9198a1; }
  .bar { fill: #545d68; }
  .bar.ours { fill: #4493f8; }
  .spread { stroke: #9198a1; }
}
"""


@dataclass(frozen=True)
class Column:
    """One of the three rows that are shown."""

    row: str
    title: str
    note: str
    digits: int = 0
    more_is_better: bool = True
    longest: float | None = None
    """Bars of larger figures are cut here."""


COLUMNS = (
    Column("drain", "No-op tasks drained per second", "more is better"),
    Column("busy_20x5", "Slots busy: 20 organizations × 5, 50 ms", "1.00 is full; peers that can limit", digits=2),
    Column(
        "dispatch_p50_ms", "Idle: submit to start, p50, ms", "less is better; bars end at 20 ms", digits=1,
        more_is_better=False, longest=20.0,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Bar:
    """One participant's figure."""

    participant: Participant
    middle: float
    least: float
    most: float


def picture(results: Results) -> str:
    """Return the picture as SVG."""
    columns = [(column, bars(results, column)) for column in COLUMNS]
    height = HEAD + ROW * max(1, *(len(found) for _, found in columns)) + FOOT
    label = "fairlane and other task queues: drained no-op tasks, busy slots, dispatch when idle"
    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{label}</title>",
        f"<style>{STYLE}</style>",
    ]
    for number, (column, found) in enumerate(columns):
        parts += _column(column, found, x=MARGIN + number * (COLUMN + GAP))
    machine = results.machine.get("processor", "")
    facts = (
        f"{results.date}: medians and spread of {results.rounds} rounds; {machine}; client, worker and database on it"
    )
    parts.append(_text(MARGIN, height - 26, facts, "note"))
    parts.append(_text(MARGIN, height - 10, DURABILITY, "note"))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def bars(results: Results, column: Column) -> list[Bar]:
    """Return a column's bars, the best first."""
    found = []
    for participant in PARTICIPANTS:
        rounds = results.participants.get(participant.name)
        if rounds and (values := rounds.values(column.row)):
            middle = rounds.middle(column.row)
            assert middle is not None
            found.append(Bar(participant, middle, min(values), max(values)))
    return sorted(found, key=lambda bar: bar.middle, reverse=column.more_is_better)


def _column(column: Column, found: Sequence[Bar], *, x: float) -> list[str]:
    parts = [_text(x, 22, column.title, "title"), _text(x, 40, column.note, "note")]
    if not found:
        return [*parts, _text(x, HEAD + BAR, "not measured yet", "note")]
    longest = column.longest or max(bar.most for bar in found)
    room = COLUMN - NAME - VALUE
    for number, bar in enumerate(found):
        top = HEAD + number * ROW
        ours = " ours" if bar.participant.is_fairlane else ""
        start, middle = x + NAME, top + BAR / 2
        length = min(bar.middle, longest) / longest * room
        least, most = (start + min(value, longest) / longest * room for value in (bar.least, bar.most))
        parts.append(_text(x, top + BAR - 1, name_of(bar.participant), f"name{ours}"))
        parts.append(
            f'<rect class="bar{ours}" x="{start:.1f}" y="{top}" width="{max(1, length):.1f}" height="{BAR}" rx="2"/>'
        )
        if bar.middle <= longest:
            parts.append(f'<line class="spread" x1="{least:.1f}" x2="{most:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"/>')
        value = f"{bar.middle:,.{column.digits}f}"
        parts.append(_text(max(start + length, most) + 5, top + BAR - 1, value, f"value{ours}"))
    return parts


def name_of(participant: Participant) -> str:
    """Return a name short enough for the picture."""
    return f"{participant.title} · {participant.home.replace(',', '')}"


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'
