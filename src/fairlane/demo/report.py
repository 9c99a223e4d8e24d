"""The demonstration's report: one line per promise, held or not, and the pages it made."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from msgspec import Struct

from fairlane.client import Task
from fairlane.demo.measures import Sample, adds_up, both_waiting, highest_used, queued_spans, share_of, slot_spans
from fairlane.demo.parties import GLOBEX, PARTIES

SHARE_LEAST, SHARE_MOST = 0.65, 0.85
"""Weights of 1 and 3 make 0.75; the rest allows for tasks of uneven length."""
FAIRNESS_SECONDS_LEAST = 3.0
FAIRNESS_TASKS_LEAST = 300
"""With fewer tasks, or over less time, a share is not meaningful and is not judged."""


class Check(Struct, frozen=True, kw_only=True):
    """One promise."""

    name: str
    held: bool
    text: str


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything that the demonstration observed."""

    planned: int
    """Tasks that were to be fetched at the end."""
    taken_back: int = 0
    """Tasks that the machine was too slow for."""
    tasks: Mapping[str, Sequence[Task]]
    """Every task as GET shows it at the end, by organization."""
    samples: Sequence[Sample]
    recounts: int
    drifts: Sequence[dict[str, object]]
    seconds: float


def judge(evidence: Evidence) -> list[Check]:
    """Check every promise against the evidence."""
    return [
        _completed(evidence),
        *(_slots_held(party.name, party.slots, evidence) for party in PARTIES),
        _added_up(evidence),
        _shared(evidence),
        _exact(evidence),
    ]


def write_index(folder: Path, tasks: Mapping[str, Sequence[Task]]) -> Path:
    """Write a page with links to all pages."""
    sections = []
    for name, owned in tasks.items():
        pages = sorted({task.response["page"] for task in owned if task.response and "page" in task.response})
        links = "\n".join(f'<li><a href="{escape(page, quote=True)}">{escape(page)}</a></li>' for page in pages)
        sections.append(f"<h2>{escape(name)}: {len(pages)} pages</h2>\n<ul>\n{links}\n</ul>")
    index = folder / "index.html"
    body = "\n".join(sections)
    index.write_text(f"<!doctype html>\n<meta charset=utf-8>\n<title>fairlane demo</title>\n{body}\n", encoding="utf-8")
    return index


def _completed(evidence: Evidence) -> Check:
    found = [task.status for owned in evidence.tasks.values() for task in owned]
    completed = found.count("COMPLETED")
    text = f"{completed} of {evidence.planned} tasks fetched and COMPLETED, in {evidence.seconds:.1f} s"
    if evidence.taken_back:
        text += f"; this machine is slow: {evidence.taken_back} more were taken back"
    return Check(name="completed", held=completed == len(found) == evidence.planned > 0, text=text)


def _slots_held(name: str, slots: int, evidence: Evidence) -> Check:
    highest = highest_used(name, evidence.samples)
    slots_seen = [sample.statuses[name].concurrency for sample in evidence.samples]
    seen = {None if one is None else one.max for one in slots_seen}
    text = f"{name}: highest used {highest} of max {slots}, over {len(evidence.samples)} looks"
    if seen != {slots}:
        text += f"; max was also shown as {sorted(map(str, seen - {slots}))}"
    return Check(name=f"slots of {name}", held=highest <= slots and seen == {slots}, text=text)


def _added_up(evidence: Evidence) -> Check:
    odd = sum(not adds_up(status) for sample in evidence.samples for status in sample.statuses.values())
    count = sum(len(sample.statuses) for sample in evidence.samples)
    return Check(name="status adds up", held=odd == 0, text=f"{count - odd} of {count} status answers add up")


def _shared(evidence: Evidence) -> Check:
    """Judge by the records of the server: on a busy machine an observer sees too little."""
    span = both_waiting(queued_spans(owned) for owned in evidence.tasks.values())
    count = sum(map(len, evidence.tasks.values()))
    seconds = 0.0 if span is None else span.seconds
    name = "fair share"
    if span is None or seconds < FAIRNESS_SECONDS_LEAST:
        # In a demonstration of full size, both organizations must have had tasks queued: otherwise it proves nothing.
        text = f"not judged: both had tasks queued for only {seconds:.1f} s"
        return Check(name=name, held=count < FAIRNESS_TASKS_LEAST, text=text)
    held_slots = {owner: slot_spans(owned) for owner, owned in evidence.tasks.items()}
    share = share_of(GLOBEX.name, held_slots, span)
    wanted = GLOBEX.weight / sum(party.weight for party in PARTIES)
    held = SHARE_LEAST <= share <= SHARE_MOST or count < FAIRNESS_TASKS_LEAST
    text = (
        f"{GLOBEX.name} got {share:.3f} of the slot time in the {seconds:.1f} s when both had tasks queued; "
        f"weights say {wanted:.2f}, allowed are {SHARE_LEAST:.2f} to {SHARE_MOST:.2f}"
    )
    return Check(name=name, held=held, text=text)


def _exact(evidence: Evidence) -> Check:
    text = f"drift {len(evidence.drifts)} in {evidence.recounts} recounts"
    if evidence.drifts:
        text += f"; the first: {evidence.drifts[0]}"
    return Check(name="recount", held=not evidence.drifts and evidence.recounts > 0, text=text)
