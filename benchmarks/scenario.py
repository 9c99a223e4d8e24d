"""What every scenario is: something that is prepared once and then measured a little in each round."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from benchmarks.homes import Home
from benchmarks.peers.measuring import SMOKE as PEER_SMOKE
from benchmarks.peers.measuring import PeerScale

Figures = Mapping[str, float]
"""What one round measured, by name."""


PEER = PeerScale(submit_seconds=0.5, fill_count=20_000, fill_seconds=2.0, drain_seconds=2.0)
"""Of a peer only its submits and its drain are measured here; ``make bench-peers`` measures the rest."""


@dataclass(frozen=True)
class Scale:
    """How much is measured in one round."""

    load_seconds: float = 3.0
    depths: tuple[int, ...] = (0, 100_000, 1_000_000)
    deepest: tuple[int, int] = (10_000, 5_000_000)
    drain_tasks: int = 30_000
    peer: PeerScale = PEER
    dispatches: int = 150
    sleep_seconds: float = 6.0
    organizations: tuple[int, ...] = (100, 10_000)
    claim_tasks: int = 40_000
    claims: int = 300
    fair_claims: int = 200


SMOKE = Scale(
    load_seconds=0.5,
    depths=(0, 1_000, 10_000),
    deepest=(1_000, 10_000),
    drain_tasks=2_000,
    peer=PEER_SMOKE,
    dispatches=20,
    sleep_seconds=3.0,
    organizations=(10, 100),
    claim_tasks=2_000,
    claims=30,
    fair_claims=20,
)
"""Enough to see that every scenario works; its figures mean nothing."""


class Scenario(Protocol):
    """One thing that is measured. ``prepare`` is called once, ``measure`` in every round."""

    def __init__(self, home: Home, scale: Scale) -> None: ...

    def prepare(self) -> None:
        """Make what all rounds share."""

    def measure(self, turn: int) -> Figures:
        """Measure once; ``turn`` counts the rounds from 0, to change the order of what is compared."""
