"""``make bench``: every scenario a little in each round, so that a noisy minute of the machine touches all of them.

Prints figures and whether the aims are met; it never fails because of a figure.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.batches import Batches
from benchmarks.claims import Claims
from benchmarks.dispatch import Dispatch
from benchmarks.distance import Distance
from benchmarks.drain import Drain
from benchmarks.fairness import Fairness
from benchmarks.homes import Home, PostgresHome, SqliteHome
from benchmarks.machine import facts
from benchmarks.many import Deepest, FewOfMany
from benchmarks.report import POSTGRES, print_report, write_json
from benchmarks.scenario import SMOKE, Figures, Scale, Scenario
from benchmarks.sharing import Sharing
from benchmarks.single import Single
from benchmarks.status import Status
from benchmarks.submits import Submits
from benchmarks.utilisation import HundredOrganizations, OneOrganization, Utilisation

ON_BOTH: dict[str, type[Scenario]] = {
    "status": Status,
    "submits": Submits,
    "batches": Batches,
    "drain": Drain,
    "dispatch": Dispatch,
    "utilisation": Utilisation,
    "utilisation-1x10": OneOrganization,
    "utilisation-100x5": HundredOrganizations,
    "claims": Claims,
    "fairness": Fairness,
    "single": Single,
}
LONG: dict[str, type[Scenario]] = {"deepest": Deepest, "few-of-many": FewOfMany}
"""Measured only if they are named: they take minutes to prepare."""
SCENARIOS: dict[str, type[Scenario]] = (
    ON_BOTH
    | LONG
    | {POSTGRES + name: scenario for name, scenario in (ON_BOTH | LONG).items()}
    | {POSTGRES + "sharing": Sharing, POSTGRES + "distance": Distance}
)
"""Those on PostgreSQL have its prefix, and so have their figures."""
HOME = Path(".bench")


def main() -> None:
    """Measure and print."""
    options = _options()
    scale = SMOKE if options.smoke else Scale()
    home: Path = options.directory
    home.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=home)).absolute()
    names = options.only or [name for name in SCENARIOS if name.removeprefix(POSTGRES) not in LONG]
    postgres = PostgresHome(place) if any(name.startswith(POSTGRES) for name in names) else None
    try:
        machine = facts(place) | (postgres.facts() if postgres else {})
        rounds = _measure(SqliteHome(place), postgres, scale, names, options.rounds)
    finally:
        if postgres:
            postgres.leave()
        shutil.rmtree(place)
    print_report(machine, rounds, scale)
    if options.json:
        write_json(options.json, machine, rounds)


def _measure(
    sqlite: SqliteHome, postgres: PostgresHome | None, scale: Scale, names: list[str], count: int
) -> list[Figures]:
    scenarios: dict[str, Scenario] = {}
    for name in names:
        home: Home | None = postgres if name.startswith(POSTGRES) else sqlite
        assert home is not None
        scenarios[name] = SCENARIOS[name](home, scale)
    for name, scenario in scenarios.items():
        _say(f"preparing {name}")
        scenario.prepare()
    rounds: list[Figures] = []
    for turn in range(count):
        figures: dict[str, float] = {}
        for name, scenario in scenarios.items():
            began_at = time.perf_counter()
            prefix = POSTGRES if name.startswith(POSTGRES) else ""
            figures |= {prefix + figure: value for figure, value in scenario.measure(turn).items()}
            _say(f"round {turn + 1} of {count}: {name} ({time.perf_counter() - began_at:.0f} s)")
        rounds.append(figures)
    return rounds


def _say(what: str) -> None:
    """Print progress, which is no part of the result."""
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
