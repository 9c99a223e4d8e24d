"""``make mutation``: change one thing after the other in the modules that decide; count the changes that tests notice.

mutmut makes the changes, in a copy of the repository, and runs for each the narrow tests that reach the function it is
in. A change that no test notices is a promise without a test, or makes no difference: ``docs/proof.md`` names these.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
LEAST = 0.9
"""The least share of the changes that tests must notice."""
BUSY = 4
"""How often one change may last as long as the tests do without it: the machine may be busy."""
SETTINGS = """\
[mutmut]
source_paths=
    src
only_mutate={mutated}
also_copy={beside}
pytest_add_cli_args=
    -n
    0
    -o
    timeout=0
    -k
    not postgres
pytest_add_cli_args_test_selection={tests}
timeout_constant=60
timeout_multiplier={busy}
use_git_change_detection=false
"""


class Target(NamedTuple):
    """Modules that are changed, and the tests that belong to them."""

    mutated: tuple[str, ...]
    tests: tuple[str, ...]


TARGETS = {
    "rules": Target(
        ("rules/*.py",), ("tests/test_rules.py", "tests/test_pulse_rules.py", "tests/test_ending_rules.py")
    ),
    "settling": Target(
        ("store/settling.py",),
        (
            "tests/store/test_settling.py",
            "tests/store/test_attempts.py",
            "tests/store/test_canceling.py",
            "tests/store/test_credits.py",
            "tests/store/test_calls.py",
            "tests/store/test_failures.py",
            "tests/store/test_waits.py",
            "tests/store/test_type_usage.py",
        ),
    ),
    "guard": Target(("webhooks/guard.py",), ("tests/webhooks/test_guard.py", "tests/webhooks/test_network.py")),
    "signing": Target(("webhooks/signing.py",), ("tests/webhooks/test_signing.py",)),
    "keys": Target(
        ("api/keys.py", "store/keys.py", "model/keys.py"),
        (
            "tests/api/test_authorization.py",
            "tests/api/test_admin.py",
            "tests/api/test_remote.py",
            "tests/store/test_installation_keys.py",
            "tests/store/test_cache.py",
        ),
    ),
}


class Score(NamedTuple):
    """What came of the changes of one target."""

    killed: int
    total: int
    survivors: list[str]

    @property
    def share(self) -> float:
        """Return the share of the changes that tests noticed."""
        return self.killed / max(1, self.total)


def score(target: Target, folder: Path, processes: int) -> Score:
    """Make every change of a target in this folder, which becomes a copy of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    names = sorted(name for name in listed.split("\0") if name and (REPOSITORY / name).is_file())
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    beside = sorted({name.partition("/")[0] for name in names} - {"src", "tests", "setup.cfg"})
    settings = SETTINGS.format(
        mutated=_lines(f"src/fairlane/{name}" for name in target.mutated),
        beside=_lines(beside), tests=_lines(target.tests), busy=BUSY,
    )  # fmt: skip
    (folder / "setup.cfg").write_text(settings, "utf-8")
    ended = _mutmut(folder, "run", "--max-children", str(processes))
    if ended.returncode:
        raise SystemExit(f"mutmut failed:\n{ended.stdout[-3000:]}")
    _mutmut(folder, "export-cicd-stats")
    counts = json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text("utf-8"))
    left = [line.split(":") for line in _mutmut(folder, "results").stdout.splitlines() if ":" in line]
    survivors = []
    for name, state in left:
        if state.strip() in ("survived", "no tests"):
            shown = _mutmut(folder, "show", name.strip()).stdout.splitlines()
            changed = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
            survivors.append(f"{name.strip()}: {state.strip()}\n" + "\n".join(f"        {line}" for line in changed))
    killed = counts["killed"] + counts.get("timeout", 0)
    return Score(killed, counts["total"] - counts.get("skipped", 0), survivors)


def _lines(values: object) -> str:
    return "".join(f"\n    {value}" for value in values)  # type: ignore[attr-defined]


def _mutmut(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mutmut", *arguments]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )


def main() -> int:
    """Score the chosen targets; return 0 if tests notice enough of the changes of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all, if none is named")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    chosen = parser.parse_args()
    os.nice(19)
    short = 0
    for name in chosen.targets or TARGETS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="fairlane-mutation-") as folder:
            found = score(TARGETS[name], Path(folder), chosen.processes)
        short += found.share < LEAST
        seconds = time.monotonic() - began
        print(f"{name}: {found.killed} of {found.total} changes noticed, {found.share:.1%}, {seconds:.0f} s")
        print(*(f"    {one}" for one in found.survivors), sep="\n", flush=True)
    return bool(short)


if __name__ == "__main__":
    sys.exit(main())
