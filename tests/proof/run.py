"""``make proof``: the long proofs one after the other, and a page that says what was run and what came of it.

Each part is a program of its own with a control inside or beside it. ``QUICK=1`` runs a short form of each that ends in
a few minutes and writes no page. Chosen parts write their own sections if ``--write`` asks for it.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import apsw

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "proof.md"
WALKS = 5_000
"""Random walks of the full form, on each database."""
SLOW = 2
"""Exit code of a part that found nothing wrong, but saw too little or missed a bound of time beside the others."""
START, END = "<!-- figures: written by make proof -->", "<!-- end of figures -->"


@dataclass(frozen=True)
class Part:
    """One proof."""

    name: str
    promise: str
    command: tuple[str, ...]
    """Arguments of Python; they also replay it."""
    environment: dict[str, str] = field(default_factory=dict)


@dataclass
class Outcome:
    """What came of one part."""

    part: Part
    code: int
    seconds: float
    lines: list[str]

    @property
    def held(self) -> bool:
        """Return whether every promise held, and enough was seen in time."""
        return self.code == 0


def parts(*, quick: bool, seed: int, minutes: float | None = None, most: int = WALKS) -> list[list[Part]]:
    """Return the parts in groups; those of one group run at the same time."""
    seconds, slack = ("45", "5") if quick else ("1800", "1")

    def chaos(database: str) -> Part:
        return Part(
            f"kills and stops on {database}",
            "nothing acknowledged is lost, nothing ends twice, no limit is exceeded, no count drifts",
            (
                "-m",
                "tests.chaos.run",
                "--seconds",
                seconds,
                "--slack",
                slack,
                "--seed",
                str(seed),
                "--database",
                database,
            ),
        )

    def walks(database: str) -> Part:
        test = f"tests/store/test_machine.py::test_no_walk_differs_from_the_reference[{database}]"
        return Part(
            f"random walks on {database}",
            "each step has the result that a reference in plain Python gives",
            ("-m", "pytest", "-q", "-n", "0", "-p", "no:randomly", "-o", "timeout=0", test),
            {"FAIRLANE_TEST_WALKS": "12" if quick else str(most)},
        )

    power = Part(
        "power cuts on SQLite",
        "no image that a power cut can leave lacks something acknowledged, is damaged, or has a count that drifted",
        ("-m", "tests.proof.power_cuts", "1500" if quick else "20000", "--seed", str(seed)),
    )
    network = Part(
        "network faults at each message",
        "whatever message is cut, doubled, late or lost in silence, the caller is answered in time and told the truth",
        ("-m", "tests.proof.network", *(["--quick"] if quick else []), "--seed", str(seed)),
    )
    disk = Part(
        "full, slow and read-only disks",
        "nothing acknowledged is lost, what does not fit is answered 503, and a second after there is room all is well",
        (
            "-m",
            "tests.proof.disk_faults",
            *(["--scene", "full", "read-only", "control"] if quick else ["--rounds", "20"]),
        ),
    )
    readers = Part(
        "bytes of strangers",
        "each reader understands a text as other readers do, or refuses it with an error of its own",
        ("-m", "tests.proof.parsers", "5000" if quick else "300000", "--seed", str(seed)),
    )
    operations = Part(
        "PostgreSQL restarted, cut, locked and replaced",
        "each answer comes in time, nothing acknowledged is lost, and three seconds after the return all goes on",
        ("-m", "tests.proof.operations", *(["--quick"] if quick else ["--rounds", "5"])),
    )
    failover = Part(
        "PostgreSQL replaced by Patroni",
        "while nobody leads each answer comes in time, nothing acknowledged is lost, the new primary serves at once",
        ("-m", "tests.proof.failover", "--rounds", "5"),
    )
    clocks = Part(
        "clocks that jump, drift and stand still",
        "a wrong clock delays or repeats an attempt; it breaks no count, loses nothing, and ends no worker that renews",
        ("-m", "tests.proof.clocks", "2" if quick else "50", "--seed", str(seed)),
    )
    storm = Part(
        "idempotency keys in a storm",
        "a key that many clients send at once, while servers are killed, names one task, the one that they were told",
        ("-m", "tests.proof.storm", *(["300", "--database", "postgres"] if quick else []), "--seed", str(seed)),
    )
    ends = ("--controls", "60") if minutes is None else ("--minutes", str(minutes), "--processes", "1")
    whole = ("20000", "--first", str(seed), *ends)
    simulation = Part(
        "simulation of servers, workers and faults",
        "while everything fails, no invariant of the rows breaks after any commit, and all work ends once it is calm",
        ("-m", "tests.simulation", *(("60", "--events", "600") if quick else whole)),
    )
    deliveries = Part(
        "webhooks to receivers of every manner",
        "each message is delivered or given up after five tries, signed each time, and delays no other organization's",
        ("-m", "tests.proof.deliveries", "--seed", str(seed)),
    )
    rotation = Part(
        "rotation of every secret",
        "no request fails while keys, secrets and passwords are replaced, and what was revoked is refused",
        ("-m", "tests.proof.rotation"),
    )
    soak = Part(
        "an hour at half load",
        "neither memory nor open files, logs, the database or its dead rows grow with time",
        ("-m", "tests.proof.soak"),
    )
    canaries = Part(
        "canary secrets",
        "no key, secret or password is in a log, an answer, an argument, the database or a backup",
        ("-m", "tests.proof.canaries"),
    )
    times = Part(
        "what an answer's time tells",
        "no caller can tell a revoked key from an unknown one, or a foreign task from none, by the time of the answer",
        ("-m", "tests.proof.timing", "50000"),
    )
    mutants = Part(
        "named mutants",
        "the suite fails for each promise that is taken out of the product",
        ("-m", "tests.proof.mutants"),
    )
    strangers = Part(
        "requests made up from the API's description",
        "no request gets a 5xx, an undescribed answer, or an acceptance that the description forbids",
        ("-m", "tests.fuzz.strangers", "50000"),
    )
    suite = Part(
        "every test on every database",
        "each test of the suite holds, those of HTTP on SQLite and on PostgreSQL, with every control of the walks",
        ("-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal", "--http-on", "both"),
        {"CI": "true"},
    )
    clients = Part(
        "clients generated from the API's description",
        "two generators take all of it, and their clients submit, wait, call and read the status",
        ("-m", "pytest", "-q", "-n", "0", "-rs", "-o", "python_files=prove_*.py", "tests/generated"),
    )
    if quick:
        return [
            [walks("sqlite"), walks("postgres"), simulation],
            [chaos("postgres"), chaos("sqlite"), power],
            [network, disk, readers, operations, clocks, storm],
        ]
    return [
        [suite],
        [power],
        [simulation],
        [network],
        [disk],
        [operations],
        [failover],
        [clocks],
        [storm],
        [deliveries],
        [rotation],
        [soak],
        [chaos("postgres")],
        [chaos("sqlite")],
        [walks("sqlite")],
        [walks("postgres")],
        [strangers],
        [clients],
        [readers],
        [canaries],
        [times],
        [mutants],
    ]


def worst(codes: Collection[int]) -> int:
    """Return the exit code of a part that ran several times: a broken promise comes before too little seen."""
    return 1 if 1 in codes else max(codes)


def run(group: Sequence[Part]) -> list[Outcome]:
    """Run the parts of one group at the same time; print each when it has ended."""
    began = time.monotonic()
    started = [
        subprocess.Popen(
            [sys.executable, *part.command],
            cwd=REPOSITORY,
            env=os.environ | part.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for part in group
    ]
    outcomes = []
    for part, process in zip(group, started, strict=True):
        text, _ = process.communicate()
        outcome = Outcome(part, process.returncode, time.monotonic() - began, text.rstrip().splitlines())
        print(f"\nproof: {part.name}: {'held' if outcome.held else 'BROKEN'} after {outcome.seconds:.0f} s")
        print(*outcome.lines, sep="\n", flush=True)
        outcomes.append(outcome)
    return outcomes


def figures(outcomes: Sequence[Outcome], seed: int) -> str:
    """Return what a run of all parts writes into the page."""
    facts = [
        f"Run on {_surroundings()}, with seed {seed}.",
        "",
        "| proof | promise | held | seconds |",
        "|---|---|---|---|",
        *(f"| {one.part.name} | {one.part.promise} | {_word(one.held)} | {one.seconds:.0f} |" for one in outcomes),
    ]
    return "\n\n".join(["\n".join(facts), *map(_section, outcomes)])


def with_sections(written: str, outcomes: Sequence[Outcome]) -> str:
    """Return the figures of a page with the sections of these parts replaced or added."""
    head, *sections = re.split(r"^(?=### )", written, flags=re.MULTILINE)
    by_title = {section.partition("\n")[0]: section.strip() for section in sections}
    for one in outcomes:
        text = _section(one)
        title, _, rest = text.partition("\n")
        by_title[title] = f"{title}\n\nRun by itself on {_surroundings()}.\n{rest}"
    return "\n\n".join([head.strip(), *by_title.values()])


def _section(one: Outcome) -> str:
    variables = "".join(f"{name}={value} " for name, value in one.part.environment.items())
    title = f"### {one.part.name[0].upper()}{one.part.name[1:]}"
    return "\n".join([title, "", "```text", f"$ {variables}python {' '.join(one.part.command)}", *one.lines, "```"])


def _surroundings() -> str:
    machine = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    versions = f"Python {platform.python_version()}, SQLite {apsw.sqlite_lib_version()}"
    return f"{datetime.now(UTC):%Y-%m-%d}: {machine}, {versions}"


def _word(held: bool) -> str:
    return "yes" if held else "**no**"


def main() -> int:
    """Run everything; return 0 if every part held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a short form of each part, and no page")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", metavar="WORD", help="parts whose name has one of these words")
    parser.add_argument("--write", action="store_true", help="write the sections of the chosen parts into the page")
    parser.add_argument("--minutes", type=float, help="begin no further simulated seed after this time")
    parser.add_argument("--walks", type=int, default=WALKS, help="of the full form, on each database")
    chosen = parser.parse_args()
    began = time.monotonic()
    groups = [
        [part for part in group if chosen.only is None or any(word in part.name for word in chosen.only)]
        for group in parts(quick=chosen.quick, seed=chosen.seed, minutes=chosen.minutes, most=chosen.walks)
    ]
    outcomes = [one for group in groups for one in run(group)]
    if slow := [one.part for one in outcomes if one.code == SLOW]:
        print("\nproof: what was too slow beside others, once more and alone")
        outcomes = [one for one in outcomes if one.code != SLOW]
        outcomes += [one for part in slow for one in run([part])]
    broken = [one.part.name for one in outcomes if not one.held]
    print(f"\nproof: {len(outcomes) - len(broken)} of {len(outcomes)} held, {time.monotonic() - began:.0f} s", *broken)
    if chosen.write or (not chosen.quick and chosen.only is None):
        before, _, rest = PAGE.read_text("utf-8").partition(START)
        written, _, after = rest.partition(END)
        text = figures(outcomes, chosen.seed) if chosen.only is None else with_sections(written, outcomes)
        PAGE.write_text(f"{before}{START}\n\n{text}\n\n{END}{after}", "utf-8")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
