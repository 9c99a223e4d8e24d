"""``make bench-peers``: fairlane and its peers, a little of each in every round, so that a noisy minute touches all.

Prints a table, and keeps every figure in ``.bench/peers.json`` after each round. A whole run of three rounds or more
also writes the page and the picture; ``--from-figures FILE`` writes them from the figures of an earlier run.
"""

import argparse
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.homes import PostgresHome, SqliteHome
from benchmarks.machine import facts
from benchmarks.peers.figures import FIGURES, Results, Rounds, read_results, write_results
from benchmarks.peers.measuring import SMOKE, Measuring, PeerScale, PlaceHome
from benchmarks.peers.page import PAGE, page, table
from benchmarks.peers.participants import ALWAYS, EVERYSEC, PARTICIPANTS, POSTGRES, SQLITE, Participant
from benchmarks.peers.picture import PICTURE, picture
from benchmarks.peers.redis_home import RedisHome

HOME = Path(".bench")
KEPT = "peers.json"
ROUNDS_LEAST = 3
"""Fewer rounds are shown, but not written down."""


def main() -> None:
    """Measure and print; write what stands in the documents."""
    options = _options()
    # Ends the peers' processes, too: they are in sessions of their own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("bench-peers: ended by a signal"))
    if options.from_figures:
        write_documents(read_results(options.from_figures))
        return
    participants = chosen(options.only)
    scale = SMOKE if options.smoke else PeerScale()
    options.directory.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="peers-", dir=options.directory)).absolute()
    postgres = PostgresHome(place) if any(one.home == POSTGRES for one in participants) else None
    redis = {EVERYSEC: RedisHome(place, "everysec"), ALWAYS: RedisHome(place, "always")}
    homes: dict[str, PlaceHome] = {SQLITE: SqliteHome(place), **redis}
    if postgres:
        homes[POSTGRES] = postgres
    try:
        machine = facts(place) | (postgres.facts() if postgres else {}) | redis[EVERYSEC].facts()
        results = Results(f"{datetime.now(UTC):%Y-%m-%d}", machine, {one.name: Rounds() for one in participants})
        for _ in measure(results, homes, scale, rounds=options.rounds, minutes=options.minutes):
            write_results(options.directory / KEPT, results)
    finally:
        if postgres:
            postgres.leave()
        shutil.rmtree(place)
    print()
    for name, fact in machine.items():
        print(f"{name + ':':<14}{fact}")
    print("\n" + table(results))
    if options.json:
        write_results(options.json, results)
    whole = participants == list(PARTICIPANTS) and not options.smoke
    if whole and results.rounds >= ROUNDS_LEAST:
        write_documents(results)
    else:
        print(f"bench-peers: nothing was written: that takes every participant and {ROUNDS_LEAST} rounds")


def measure(
    results: Results, homes: Mapping[str, PlaceHome], scale: PeerScale, *, rounds: int, minutes: float
) -> Iterator[int]:
    """Measure every participant in turn, and yield after each round; each begins with another participant.

    No further round begins that would not end in ``minutes``, judged by the longest one before it.
    """
    participants = chosen(list(results.participants))
    began_at, longest = time.perf_counter(), 0.0
    for turn in range(rounds):
        round_at = time.perf_counter()
        if turn and round_at + longest > began_at + minutes * 60:
            _say(f"ends after {turn} rounds: another one would last beyond {minutes:g} minutes")
            break
        first = turn * len(participants) // rounds
        for participant in (*participants[first:], *participants[:first]):
            one_at = time.perf_counter()
            found = Measuring(participant, homes[participant.home], scale).measure()
            results.participants[participant.name].add(found.versions, found.figures, found.words)
            _say(f"round {turn + 1} of {rounds}: {participant.name} ({time.perf_counter() - one_at:.0f} s)")
            for row, word in found.words.items():
                _say(f"  {row}: {word}")
        longest = max(longest, time.perf_counter() - round_at)
        yield turn + 1


def chosen(names: Sequence[str] | None) -> list[Participant]:
    """Return the participants with these names, or with an adapter of these names; all, if there are no names."""
    if not names:
        return list(PARTICIPANTS)
    return [one for one in PARTICIPANTS if one.name in names or one.adapter in names]


def write_documents(results: Results) -> None:
    """Write the page and the picture, and the figures from which both can be written again."""
    if results.rounds:
        write_results(FIGURES, results)
    PAGE.write_text(page(results), encoding="utf-8")
    if results.rounds:
        PICTURE.write_text(picture(results), encoding="utf-8")
    _say(f"wrote {PAGE.name}" + (f" and {PICTURE.name}" if results.rounds else ""))


def _say(what: str) -> None:
    """Print progress, which is no part of the result."""
    print(f"bench-peers: {what}", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    names = sorted({one.name for one in PARTICIPANTS} | {one.adapter for one in PARTICIPANTS})
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.run", description="Measure fairlane's peers.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=40.0, help="begin no round that would end later")
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every round here, too")
    parser.add_argument("--directory", type=Path, default=HOME, help="where the databases stand; the disk matters")
    parser.add_argument("--smoke", action="store_true", help="tiny numbers: does every participant work?")
    parser.add_argument(
        "--from-figures",
        type=Path,
        nargs="?",
        const=FIGURES,
        metavar="FILE",
        help="measure nothing; write the documents from these figures, or again from those that they were written from",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
