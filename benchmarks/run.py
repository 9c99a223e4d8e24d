"""``make bench``: every scenario a little in each round, so that a noisy minute of the machine touches all of them.

Prints figures and whether the aims are met; it never fails because of a figure.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.dispatch import Dispatch
from benchmarks.drain import Drain
from benchmarks.machine import facts
from benchmarks.report import print_report, write_json
from benchmarks.scenario import SMOKE, Figures, Scale, Scenario
from benchmarks.status import Status
from benchmarks.submits import Submits
from benchmarks.utilisation import Utilisation

SCENARIOS: dict[str, type[Scenario]] = {
    "status": Status,
    "submits": Submits,
    "drain": Drain,
    "dispatch": Dispatch,
    "utilisation": Utilisation,
}
HOME = Path(".bench")


def main() -> None:
    """Measure and print."""
    options = _options()
    scale = SMOKE if options.smoke else Scale()
    home: Path = options.directory
    home.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=home)).absolute()
    try:
        machine = facts(place)
        rounds = _measure(place, scale, options.only or list(SCENARIOS), options.rounds)
    finally:
        shutil.rmtree(place)
    print_report(machine, rounds, scale)
    if options.json:
        write_json(options.json, machine, rounds)


def _measure(place: Path, scale: Scale, names: list[str], count: int) -> list[Figures]:
    scenarios = {name: SCENARIOS[name](place, scale) for name in names}
    for name, scenario in scenarios.items():
        _say(f"preparing {name}")
        scenario.prepare()
    rounds: list[Figures] = []
    for turn in range(count):
        figures: dict[str, float] = {}
        for name, scenario in scenarios.items():
            began_at = time.perf_counter()
            figures |= scenario.measure(turn)
            _say(f"round {turn + 1} of {count}: {name} ({time.perf_counter() - began_at:.0f} s)")
        rounds.append(figures)
    return rounds


def _say(what: str) -> None:
    """Progress is for people who wait, not part of the result."""
    print(f"bench: {what}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure fairlane on this machine.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round here, too")
    parser.add_argument("--directory", type=Path, default=HOME, help="where the databases stand; the disk matters")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers: does every scenario work?")
    return parser.parse_args()


if __name__ == "__main__":
    main()
