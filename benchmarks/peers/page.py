"""The page on peers, and the table that a run prints. Made from the figures and from what is known; no hand work."""

import ast
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from string import Template

from benchmarks.peers.figures import Results, Rounds
from benchmarks.peers.known import DURABILITY, KNOWN, READ_ON
from benchmarks.peers.measuring import DRAIN_SLOTS, ORGANIZATIONS, PLACES, SLEEP_SECONDS, SLOTS, PeerScale
from benchmarks.peers.participants import PARTICIPANTS, Participant
from benchmarks.peers.protocol import BATCH, RECORD

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "peers.md"
NOTHING = "–"
LIMITS = {"1x10": PLACES, "20x5": SLOTS}
"""Tasks of one organization at once, at most."""


@dataclass(frozen=True)
class Shown:
    """One column of the tables."""

    row: str
    title: str
    digits: int = 0

    def show(self, value: float) -> str:
        """A figure as people read it."""
        return f"{value:,.{self.digits}f}"


RATES = (
    Shown("drain", "drain of no-ops, /s"),
    Shown("single", "submits one by one, /s"),
    Shown("batch", f"in batches of {BATCH}, tasks/s"),
)
SLOTS_AND_STARTS = (
    Shown("busy_1x10", f"slots busy, 1 × {PLACES}", 2),
    Shown("busy_20x5", f"slots busy, {ORGANIZATIONS} × {SLOTS}", 2),
    Shown("dispatch_p50_ms", "idle: submit to start, p50, ms", 1),
    Shown("dispatch_p99_ms", "p99, ms", 1),
)

TEMPLATE = Path(__file__).with_name("page.md")


def page(results: Results) -> str:
    """Return the whole page. Without a round it says what is measured, and that nothing was yet."""
    scale = {name: f"{value:,g}" for name, value in asdict(PeerScale()).items()}
    figures = "Nothing yet on a quiet machine.\n"
    if results.rounds:
        figures = "\n".join(
            [
                "![Drained no-ops, busy slots and dispatch of fairlane and its peers](images/peers.svg)\n",
                _facts(results),
                _figures(results, RATES),
                _figures(results, SLOTS_AND_STARTS),
            ]
        )
    peers = "\n".join(_peer(adapter, results) for adapter in dict.fromkeys(one.adapter for one in PARTICIPANTS))
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        scale,
        figures=figures,
        durability=_durability(),
        peers=peers,
        read_on=READ_ON,
        record_bytes=RECORD.size,
        batch=BATCH,
        sleep_ms=f"{SLEEP_SECONDS * 1000:g}",
        organizations=ORGANIZATIONS,
        slots=SLOTS,
        places=PLACES,
        drain_slots=DRAIN_SLOTS,
        all_slots=ORGANIZATIONS * SLOTS,
    )


def table(results: Results) -> str:
    """Return what a run prints: medians alone."""
    shown = [*RATES, *SLOTS_AND_STARTS]
    heads = ["", *(one.row for one in shown)]
    lines = [heads]
    for participant in _measured(results):
        rounds = results.participants[participant.name]
        middles = [(one, rounds.middle(one.row)) for one in shown]
        lines.append([participant.name, *(NOTHING if middle is None else one.show(middle) for one, middle in middles)])
    widths = [max(len(line[number]) for line in lines) for number in range(len(heads))]
    text = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]
    for participant in _measured(results):
        words = results.participants[participant.name].words
        text += [f"{participant.name}: {row}: {word}" for row, word in words.items() if word != "none"]
    return "\n".join(text)


def _facts(results: Results) -> str:
    facts = "; ".join(f"{name}: {value}" for name, value in results.machine.items())
    return f"Measured on {results.date}, in {results.rounds} rounds. {facts}.\n"


def _figures(results: Results, columns: Sequence[Shown]) -> str:
    lines = [
        "| | on | " + " | ".join(one.title for one in columns) + " |",
        "|---|---|" + "---|" * len(columns),
    ]
    for participant in _measured(results):
        rounds = results.participants[participant.name]
        name = f"**{participant.title}**" if participant.is_fairlane else participant.title
        cells = [_cell(rounds, one, results.rounds) for one in columns]
        lines.append(f"| {name} | {participant.home} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(rounds: Rounds, shown: Shown, whole: int) -> str:
    values = rounds.values(shown.row)
    middle = rounds.middle(shown.row)
    if middle is None:
        return rounds.words.get(shown.row, NOTHING).replace("|", "/")
    cell = f"{shown.show(middle)} ({shown.show(min(values))} to {shown.show(max(values))})"
    if len(values) < whole:
        cell += f", in {len(values)} of {whole} rounds"
    for row, limit in LIMITS.items():
        if shown.row == f"busy_{row}" and (most := max(rounds.values(f"most_{row}"), default=0)) > limit:
            cell += f"; **limit exceeded: {most:.0f} at once**"
    return cell


def _durability() -> str:
    lines = [
        "| | on | after the call that submits returns | where the limits of 20 × 5 come from |",
        "|---|---|---|---|",
    ]
    for one in PARTICIPANTS:
        lines.append(f"| {one.title} | {one.home} | {DURABILITY[one.home]} | {one.limits or 'none'} |")
    return "\n".join(lines) + "\n"


def _peer(adapter: str, results: Results) -> str:
    of = [one for one in PARTICIPANTS if one.adapter == adapter]
    versions: dict[str, str] = {}
    for one in of:
        if one.name in results.participants:
            versions |= results.participants[one.name].versions
    parts = [f"### {of[0].title}\n"]
    if versions:
        parts.append("Measured: " + ", ".join(f"{name} {version}" for name, version in versions.items()) + ".\n")
    parts.append(_docstring(adapter) + "\n")
    claims = [f"- {claim.text} ([source]({claim.source}))" for claim in KNOWN.get(adapter, ())]
    parts += ["\n".join(claims) + "\n"] if claims else []
    return "\n".join(parts)


def _docstring(adapter: str) -> str:
    """Return what an adapter says about itself, without importing it: it needs its peer."""
    source = (Path(__file__).parent / f"{adapter}.py").read_text("utf-8")
    said = ast.get_docstring(ast.parse(source))
    assert said
    return said.replace("`" * 2, "`").replace("\n\n", "\0").replace("\n", " ").replace("\0", "\n\n")


def _measured(results: Results) -> list[Participant]:
    return [one for one in PARTICIPANTS if one.name in results.participants]
