"""Some seeds of the simulation, the same trace each time, and the faults that it must find."""

import logging
import os
import subprocess
import sys

import pytest

from fairlane import logs
from tests.architecture.sources import REPOSITORY
from tests.simulation.planted import FAULTS, planted
from tests.simulation.seeds import find, simulate
from tests.simulation.world import EVENTS

EARLY = ("frees a slot and leaves its lease", "owes deliveries in no transaction", "accepts a used key")
"""Planted faults that the first two or three seeds find."""


@pytest.mark.parametrize("seed", range(2))
def test_every_promise_holds(seed: int) -> None:
    """I1 to I4, I7 to I12 and I17, while servers, workers, the network, the database and the clock fail."""
    figures = simulate((seed, 500, None))

    assert figures.broken == ""
    assert figures.tasks > 0


@pytest.mark.long
def test_a_seed_has_one_trace() -> None:
    """The order of sets and dictionaries, which differs from process to process, has no part in it."""
    traces = [
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", "7", "--events", "300", "--lines", "0"],
            cwd=REPOSITORY, env=os.environ | {"PYTHONHASHSEED": hashes}, capture_output=True, text=True, check=True,
        ).stdout
        for hashes in ("1", "2")
    ]  # fmt: skip

    assert traces[0] == traces[1]
    assert "every promise held" in traces[0]


def test_the_log_is_as_it_was_before() -> None:
    """Loggers below keep what the one above said of the level."""
    log = logging.getLogger("fairlane.anything")
    before = log.isEnabledFor(logging.WARNING)

    simulate((0, 20, None))

    assert before
    assert log.isEnabledFor(logging.WARNING)


@pytest.mark.long
def test_no_attempt_puts_the_log_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one that is cut off at the end: it may be finalized later, and would set the level of its simulation."""
    asked: list[logs.KeptLogging] = []

    def put_back(kept: logs.KeptLogging) -> list[str]:
        asked.append(kept)
        return []

    monkeypatch.setattr(logs.KeptLogging, "put_back", put_back)

    simulate((1, 300, None))

    assert asked == []


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_can_be_planted(fault: str) -> None:
    """The piece of source or of a statement that it replaces is there, once."""
    with planted(fault):
        pass


@pytest.mark.parametrize("fault", EARLY)
def test_a_planted_fault_is_found_early(fault: str) -> None:
    """One of three seeds finds it. The others are found by ``make proof``, within sixty."""
    assert find(fault, EVENTS, 3) is not None
