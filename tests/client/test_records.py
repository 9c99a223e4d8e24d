"""What the client keeps of the API's answers: all of it, so that ``--json`` prints no less than the API says."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlane.client import records

GOLDEN = Path(__file__).parents[1] / "wire"
RECORDS: list[tuple[str, type[Any], str | None]] = [
    ("status", records.Status, None),
    ("status_verified_with_drift", records.Status, None),
    ("wait_running", records.Why, None),
    ("wait_fair_turn", records.Why, None),
    ("slots", records.Slot, "slots"),
    ("attempts", records.Attempt, "attempts"),
    ("attempts_running", records.Attempt, "attempts"),
    ("failures", records.FailureGroup, "failures"),
    ("usage", records.Usage, None),
    ("usage_by_type", records.UsageOfTypes, None),
    ("capacity", records.Capacity, None),
    ("credits", records.Credits, None),
    ("alerts", records.Alert, "alerts"),
    ("deliveries", records.Delivery, "deliveries"),
]
"""(golden file, record, the list in it that has the records)."""


@pytest.mark.parametrize(("name", "kind", "within"), RECORDS, ids=[name for name, _, _ in RECORDS])
def test_a_record_keeps_every_field_of_the_answer(name: str, kind: type[Any], within: str | None) -> None:
    """Under the API's own names."""
    told = json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))
    for one in told[within] if within else [told]:
        kept = msgspec.to_builtins(msgspec.convert(one, kind))

        assert list(_lost(one, kept, name)) == []


def _lost(told: Any, kept: Any, place: str) -> list[str]:
    if isinstance(told, dict) and isinstance(kept, dict):
        gone = [f"{place}.{name}" for name in told.keys() - kept.keys()]
        return gone + [lost for name in told.keys() & kept.keys() for lost in _lost(told[name], kept[name], name)]
    if isinstance(told, list):
        return [lost for one, other in zip(told, kept, strict=True) for lost in _lost(one, other, place)]
    return []
