"""Clients generated from ``/openapi.json`` submit, wait, call and read the status, in Python and in TypeScript.

``make proof`` runs what is here, and notes in ``proved.txt`` for which description it held; ``test_description.py``
compares. Files are named ``prove_*.py`` so that `make test` does not install the generators.
The generators are installed once into ``.cache``, by hashes and a lock file of this repository; without pip's or npm's
registry the tests are skipped. The Python one needs older packages than fairlane does, so it has a folder of its own.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from fairlane.admin.connection import ask
from tests.cli.harness import ROOT, RunningServer, start_server
from tests.generated.description import DESCRIPTION, PROVED, digest

HERE = Path(__file__).parent
CACHE = ROOT / ".cache" / "generators"
KEY = "sk_live_1234567890abcdef1234567890abcdef"
EXPECTED = {"status": "COMPLETED", "words": 6, "success": True, "called": 3, "max": 2, "queued": 0}
INSTALL_SECONDS = 200

pytestmark = pytest.mark.timeout(300)


class Served(NamedTuple):
    """A server, its description in a file, and the languages of the clients that worked."""

    address: str
    description: Path
    worked: list[str]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The smallest application with a worker, and an organization of two slots."""
    folder = tmp_path_factory.mktemp("served")
    runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    database = f"sqlite:///{folder / 'fairlane.db'}"
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FAIRLANE_")]:
            patch.delenv(name)
        patch.setenv("XDG_RUNTIME_DIR", runtime)
        patch.setenv("FAIRLANE_DATABASE", database)
        with start_server(folder / "server.log", "--workers", "1") as process:
            try:
                server = RunningServer(process, folder / "server.log")
                ask(database, "POST", "organizations", body={"name": "acme", "slots": 2})
                ask(database, "POST", "organizations", "acme", "keys", body={"value": KEY})
                description = folder / "openapi.json"
                shutil.copy(DESCRIPTION, description)
                made = Served(server.address, description, [])
                yield made
                if sorted(made.worked) == ["python", "typescript"]:
                    PROVED.write_text(f"{digest(description.read_bytes())}\n", "utf-8")
            finally:
                process.terminate()
                process.wait(20)
    shutil.rmtree(runtime)


def installed(name: str, lock: Path, install: Callable[[Path], list[str]]) -> Path:
    """The folder of a generator, installed by its lock file if it is not there as the lock file says."""
    kept = CACHE / name
    stamp = kept / "installed-from"
    if stamp.is_file() and stamp.read_bytes() == lock.read_bytes():
        return kept
    CACHE.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=CACHE))
    try:
        ran = subprocess.run(
            install(made), cwd=made, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS
        )
        if ran.returncode != 0:
            pytest.skip(f"the generator cannot be installed here: {ran.stderr.strip().splitlines()[-1:]}")
        (made / stamp.name).write_bytes(lock.read_bytes())
        shutil.rmtree(kept, ignore_errors=True)
        made.rename(kept)
    except (OSError, subprocess.TimeoutExpired) as error:
        pytest.skip(f"the generator cannot be installed here: {error}")
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


def installer() -> list[str]:
    """The command that installs Python packages: uv where make fetched it, else pip."""
    uv = ROOT / ".tools" / "bin" / "uv"
    if uv.is_file():
        return [str(uv), "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-user"]


def ran(*command: str | Path, folder: Path, **environment: str) -> str:
    """What a program says; it must end well."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_python_client_is_generated_whole_and_works(served: Served, tmp_path: Path) -> None:
    """Without one warning: each warning is a schema or an endpoint that is left out."""
    lock = ROOT / "requirements" / "clients.txt"
    packages = installed(
        "python",
        lock,
        lambda folder: [*installer(), "--target", str(folder), "--require-hashes", "-r", str(lock)],
    )  # fmt: skip
    (tmp_path / "config.yml").write_text("post_hooks: []\n")
    paths = os.pathsep.join([str(packages), str(tmp_path)])

    ran(
        sys.executable, "-c", "from openapi_python_client.cli import app; app()", "generate", "--fail-on-warning",
        "--path", served.description, "--meta", "none", "--output-path", tmp_path / "fairlane_generated",
        "--config", tmp_path / "config.yml", folder=tmp_path, PYTHONPATH=paths,
    )  # fmt: skip
    said = ran(
        sys.executable, HERE / "program.py", served.address, folder=tmp_path, PYTHONPATH=paths, FAIRLANE_API_KEY=KEY
    )

    assert json.loads(said) == EXPECTED
    served.worked.append("python")


def test_a_typescript_client_is_generated_and_works(served: Served, tmp_path: Path) -> None:
    """The program is checked against the generated types, strictly, before it runs."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no Node with npm here")
    node = HERE / "node"

    def install(folder: Path) -> list[str]:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(node / name, folder)
        return [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]

    modules = installed("typescript", node / "package-lock.json", install) / "node_modules"
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for name in ("program.ts", "guide.ts"):
        shutil.copy(node / name, tmp_path)
    (tmp_path / "node_modules").symlink_to(modules)
    (tmp_path / "process.d.ts").write_text(
        "declare const process: { argv: string[]; env: Record<string, string | undefined> };\n"
    )

    ran("node", modules / "openapi-typescript" / "bin" / "cli.js", served.description, "-o", "schema.d.ts",
        "--default-non-nullable", "false",
        folder=tmp_path)  # fmt: skip
    ran("node", modules / "typescript" / "bin" / "tsc", "--strict", "--noEmitOnError", "--skipLibCheck", "--target",
        "es2022", "--module", "esnext", "--moduleResolution", "bundler", "program.ts", "guide.ts", "process.d.ts",
        folder=tmp_path)  # fmt: skip
    said = ran("node", "program.js", served.address, folder=tmp_path, FAIRLANE_API_KEY=KEY)
    guided = ran("node", "guide.js", served.address, folder=tmp_path, FAIRLANE_API_KEY=KEY)

    assert json.loads(said) == EXPECTED
    assert guided == 'COMPLETED {"words":6,"characters":18}\n0 queued, 0 slots used\n'
    served.worked.append("typescript")
