"""Single seeds, with or without a planted fault. Processes of a pool import them from here."""

from tests.simulation.planted import planted
from tests.simulation.world import Figures, World


def simulate(job: tuple[int, int, str | None]) -> Figures:
    """Run one seed, with a planted fault if one is named."""
    seed, events, fault = job
    with planted(fault):
        return World(seed, events=events).run()


def find(fault: str, events: int, most: int) -> Figures | None:
    """Return what the first seed from 0 on came to that finds a planted fault, or None if the first ``most`` do not."""
    found = (simulate((seed, events, fault)) for seed in range(most))
    return next((figures for figures in found if figures.broken), None)
