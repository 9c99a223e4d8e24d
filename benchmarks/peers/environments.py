"""The environment of each peer, in ``.bench/peers/NAME``: what its hashed requirement file names, nothing of ours."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.peers.faults import PeerFault, last_line

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".bench" / "peers"
REQUIREMENTS = ROOT / "requirements" / "peers"
UV = ROOT / ".tools" / "bin" / "uv"
INSTALL_SECONDS = 300.0


def python_of(peer: str) -> str:
    """Return the interpreter of a peer's environment; make it first if it is missing or older than its requirements.

    Raises:
        PeerFault: it cannot be installed here.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    folder = ENVIRONMENTS / peer
    python, mark = folder / "bin" / "python", folder / "installed"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest() + f" {sys.version}"
    if not (mark.exists() and mark.read_text() == wanted and python.exists()):
        shutil.rmtree(folder, ignore_errors=True)
        for command in _commands(folder, python, requirements):
            _run(command)
        mark.write_text(wanted)
    return str(python)


def _commands(folder: Path, python: Path, requirements: Path) -> list[list[str]]:
    """uv is only the quick way, as in the Makefile."""
    wanted = ["--require-hashes", "-r", str(requirements)]
    if UV.exists():
        return [
            [str(UV), "venv", "--quiet", "--python", sys.executable, str(folder)],
            [str(UV), "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *wanted],
        ]
    return [[sys.executable, "-m", "venv", str(folder)], [str(python), "-m", "pip", "install", "-qq", *wanted]]


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS, cwd=ROOT)
    except subprocess.CalledProcessError as error:
        raise PeerFault(f"not installed: {last_line(error.stderr)}") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerFault(f"not installed: {error}") from error
