"""``python -m tests.simulation``: run many seeds, or replay one with its trace.

Prints each broken promise with the command that replays it, and at the end what the seeds came to.
"""

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator

from tests.simulation.planted import FAULTS, planted
from tests.simulation.seeds import find, simulate
from tests.simulation.world import EVENTS, Figures, World

CHUNK = 4
"""Seeds that a process takes at once."""
CHUNKS = 25
"""After how many of these a process is replaced."""
WIDTH = 90
"""How much of a broken promise is printed for a planted fault."""


def replay(seed: int, events: int, fault: str | None, *, lines: int) -> int:
    """Run one seed and print the end of its trace."""
    told: list[str] = []
    with planted(fault):
        figures = World(seed, events=events, told=told).run()
    if lines:
        print(*told[-lines:], sep="\n")
    print(f"seed {seed}: {figures.events} events, {figures.seconds:.1f} s, trace {figures.digest}")
    print(f"broken: {figures.broken}" if figures.broken else "every promise held")
    return bool(figures.broken)


def run_all(seeds: range, events: int, processes: int) -> Iterator[Figures]:
    """Yield what each seed came to, in no order."""
    jobs = [(seed, events, None) for seed in seeds]
    if len(jobs) <= CHUNK:
        yield from map(simulate, jobs)
        return
    # Not a copy of this process: it may have threads. A process ends after some seeds, because each leaves some memory
    # behind: what was cut off in the middle of a call.
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=CHUNKS) as pool:
        yield from pool.imap_unordered(simulate, jobs, chunksize=CHUNK)


def summary(found: list[Figures], seconds: float) -> list[str]:
    """Return what the seeds came to, for people."""
    faults: Counter[str] = Counter()
    for one in found:
        faults.update(one.faults)
    broken = [one for one in found if one.broken]
    virtual = sum(one.seconds for one in found) / 3_600
    compared = sum(one.comparisons for one in found)
    whole = [one for one in found if not one.broken]
    counts = {
        name: sum(getattr(one, name) for one in found) for name in ("events", "commits", "tasks", "calls", "messages")
    }
    drained = max((one.drain_seconds for one in whole), default=0.0)
    share = max((one.lag_share for one in found), default=0.0)
    return [
        f"simulation: {len(found)} seeds in {seconds:.0f} s, {len(broken)} broke a promise",
        "    " + ", ".join(f"{count} {name}" for name, count in counts.items()) + f", {virtual:.1f} h of virtual time",
        f"    drained after {drained:.0f} virtual seconds at most",
        f"    I8: {compared} comparisons, largest lag {share:.0%} of its bound",
        "    faults: " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())),
    ]


def main() -> int:
    """Run what was asked for; return 0 if every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", type=int, nargs="?", default=100, help="how many seeds")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--events", type=int, default=EVENTS, help="events of a seed while things go wrong")
    parser.add_argument("--minutes", type=float, help="begin no further seed after this time")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, help="replay this one, and print the end of its trace")
    parser.add_argument("--lines", type=int, default=60, help="how many lines of it")
    parser.add_argument("--plant", choices=sorted(FAULTS), help="plant this fault")
    parser.add_argument(
        "--controls", type=int, metavar="SEEDS", help="find every planted fault within this number of seeds"
    )
    chosen = parser.parse_args()
    if chosen.seed is not None:
        return replay(chosen.seed, chosen.events, chosen.plant, lines=chosen.lines)
    began = time.monotonic()
    found: list[Figures] = []
    for one in run_all(range(chosen.first, chosen.first + chosen.seeds), chosen.events, chosen.processes):
        found.append(one)
        if one.broken:
            print(
                f"seed {one.seed}: {one.broken}\n    replay: python -m tests.simulation --seed {one.seed}", flush=True
            )
        if chosen.minutes is not None and time.monotonic() - began > chosen.minutes * 60:
            break
    print(*summary(found, time.monotonic() - began), sep="\n", flush=True)
    missed = 0
    if chosen.controls:
        for fault in FAULTS:
            caught = find(fault, chosen.events, chosen.controls)
            missed += caught is None
            how = "NOT FOUND" if caught is None else f"seed {caught.seed}: {caught.broken[:WIDTH]}"
            print(f"    planted: {fault}: {how}", flush=True)
    return bool(missed or any(one.broken for one in found))


if __name__ == "__main__":
    sys.exit(main())
