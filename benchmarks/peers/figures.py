"""What a run measured, as it is kept beside the code: the page and the picture are made from it alone."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

FIGURES = Path(__file__).with_name("figures.json")


@dataclass
class Rounds:
    """Every round of one participant."""

    versions: dict[str, str] = field(default_factory=dict)
    figures: list[dict[str, float]] = field(default_factory=list)
    words: dict[str, str] = field(default_factory=dict)
    """The last word instead of a figure, by row."""

    def add(self, versions: Mapping[str, str], figures: Mapping[str, float], words: Mapping[str, str]) -> None:
        """Add a round."""
        self.versions |= versions
        self.figures.append({row: float(f"{value:.5g}") for row, value in figures.items()})
        self.words |= words

    def values(self, row: str) -> list[float]:
        """Return the figure of each round that has it."""
        return [one[row] for one in self.figures if row in one]

    def middle(self, row: str) -> float | None:
        """Return the median; None: no round has the figure."""
        values = self.values(row)
        return median(values) if values else None


@dataclass(frozen=True)
class Results:
    """A whole run."""

    date: str
    machine: dict[str, str]
    participants: dict[str, Rounds]

    @property
    def rounds(self) -> int:
        """How many there were."""
        return max((len(one.figures) for one in self.participants.values()), default=0)


def read_results(path: Path = FIGURES) -> Results:
    """Read what :func:`write_results` wrote; nothing, if there is no such file."""
    if not path.exists():
        return Results(date="", machine={}, participants={})
    content = json.loads(path.read_text("utf-8"))
    participants = {name: Rounds(**one) for name, one in content.pop("participants").items()}
    return Results(**content, participants=participants)


def write_results(path: Path, results: Results) -> None:
    """Write every figure of every round."""
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")
