"""``make release``: build the packages, check them, install the wheel into an empty environment and use it.

Nothing is published. What is left in ``dist/`` is what a release consists of: source distribution, wheel, and the list
of everything the wheel brings (CycloneDX).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DIST = REPOSITORY / "dist"
TOOLS = Path(sys.executable).parent
PACKAGE = REPOSITORY / "src" / "fairlane"
OLDEST_OUTPUT = REPOSITORY / ".cache" / "release-oldest.txt"
"""What the tests with the oldest versions printed, if one failed."""


class Unfit(Exception):
    """The release must not leave the house."""


def build(folder: Path, moment: str) -> list[Path]:
    """Build both packages from a copy of the committed files in ``folder``, as at this moment (seconds since 1970)."""
    source = folder / "source"
    source.mkdir(parents=True)
    listed = _said("git", "ls-files", "-z", cwd=REPOSITORY).split("\0")
    for name in filter(None, listed):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / name, source / name)
    _said(
        sys.executable, "-m", "hatchling", "build", "-d", str(folder / "built"),
        cwd=source, SOURCE_DATE_EPOCH=moment,
    )  # fmt: skip
    return sorted((folder / "built").iterdir())


def build_twice() -> str:
    """Build in two places; both must give the same bytes. They go to ``dist/``."""
    if _said("git", "status", "--porcelain", cwd=REPOSITORY):
        raise Unfit("there are changes that are not committed")
    moment = _said("git", "log", "-1", "--format=%ct", cwd=REPOSITORY).strip()
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(prefix="another-place-") as other:
        first, second = build(Path(one), moment), build(Path(other), moment)
        differing = [a.name for a, b in zip(first, second, strict=True) if _digest(a) != _digest(b)]
        if differing:
            raise Unfit(f"two builds differ: {', '.join(differing)}")
        shutil.rmtree(DIST, ignore_errors=True)
        DIST.mkdir()
        for built in first:
            shutil.copy(built, DIST)
    return "\n".join(f"{_digest(path)}  {path.name}" for path in sorted(DIST.iterdir()))


def check_contents() -> str:
    """The wheel has the package and nothing else; the source distribution has what its tests need."""
    with zipfile.ZipFile(_wheel()) as wheel:
        inside = {name for name in wheel.namelist() if not name.endswith("/")}
    strange = sorted(name for name in inside if name.split("/")[0] != "fairlane" and ".dist-info/" not in name)
    if strange:
        raise Unfit(f"the wheel has {', '.join(strange[:5])}")
    committed = filter(None, _said("git", "ls-files", "-z", "src/fairlane", cwd=REPOSITORY).split("\0"))
    missing = sorted({name.removeprefix("src/") for name in committed} - inside)
    if missing:
        raise Unfit(f"the wheel lacks {', '.join(missing[:5])}")
    with tarfile.open(next(DIST.glob("*.tar.gz"))) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    needed = {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "src/fairlane/py.typed", "tests/conftest.py"}
    if lacking := sorted(needed - names):
        raise Unfit(f"the source distribution lacks {', '.join(lacking)}")
    return f"wheel: {len(inside)} files, source distribution: {len(names)} files"


def check_description() -> str:
    """The description can be shown by a package index."""
    return _said(str(TOOLS / "twine"), "check", "--strict", *map(str, sorted(DIST.iterdir())), cwd=REPOSITORY)


def install(environment: Path, extras: str = "") -> str:
    """Install the wheel and what it needs, and nothing else; ask the command for its version."""
    _said(sys.executable, "-m", "venv", str(environment), cwd=REPOSITORY)
    wheel = f"{_wheel()}{extras}"
    _said(str(environment / "bin" / "pip"), "install", "--quiet", wheel, cwd=environment)
    return _said(str(environment / "bin" / "fairlane"), "--version", cwd=environment)


def run_without_installing() -> str:
    """``uvx`` and ``pipx run`` find the wheel in ``dist/`` and run its demonstration, in environments of their own."""
    with tempfile.TemporaryDirectory() as folder:
        uvx = _said(
            str(REPOSITORY / ".tools" / "bin" / "uv"), "tool", "run", "--no-cache", "--find-links", str(DIST),
            "fairlane", "demo", "--tasks", "24",
            cwd=Path(folder), UV_TOOL_DIR=folder,
        )  # fmt: skip
        pipx = _said(
            str(TOOLS / "pipx"), "run", "--no-cache", f"--pip-args=--find-links={DIST}", "fairlane", "--version",
            cwd=Path(folder), PIPX_HOME=folder,
        )  # fmt: skip
    return f"uvx fairlane demo: {uvx.strip().splitlines()[-1]}\npipx run fairlane --version: {pipx.strip()}"


MISTAKEN = """

def mistaken(client: Client) -> None:
    client.run(count_words, 3)
    assert_type(client.run(count_words, Text("to be")), str)
"""
"""Two mistakes of a caller, which the type checker must find."""


def check_callers(environment: Path) -> str:
    """Pyright's strict rules find nothing in callers of the wheel and in the examples, and do find two mistakes."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        for path in (*(REPOSITORY / "tests" / "typing").glob("*.py"), *(REPOSITORY / "examples").glob("*.py")):
            shutil.copy(path, project)
        (project / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}', "utf-8")
        command = [
            str(TOOLS / "basedpyright"), "--project", folder, "--pythonpath", str(environment / "bin" / "python"),
            "--outputjson",
        ]  # fmt: skip
        found = json.loads(_said(*command, cwd=project))["summary"]
        with (project / "client.py").open("a", encoding="utf-8") as caller:
            caller.write(MISTAKEN)
        ran = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        rules = sorted(one.get("rule", "") for one in json.loads(ran.stdout)["generalDiagnostics"])
    if found["warningCount"]:
        raise Unfit(f"{found['warningCount']} warnings")
    if not {"reportArgumentType", "reportAssertTypeFailure"} <= set(rules):
        raise Unfit(f"the mistakes of a caller are not found: {rules}")
    return f"{found['filesAnalyzed']} files without an error; both mistakes of the control are found"


def check_manifests() -> str:
    """Every resource for Kubernetes has the form that its schema asks for; KEDA's has a schema of its own."""
    files = sorted((REPOSITORY / "deploy" / "kubernetes" / "base").glob("*.yaml"))
    checked = [str(path) for path in files if path.name != "kustomization.yaml"]
    said = _said(str(TOOLS / "kubernetes-validate"), "--strict", *checked, cwd=REPOSITORY)
    return f"{said.count(' passed ')} resources"


def use_oldest() -> str:
    """Listener, commands, workers and clients work with the oldest versions that pyproject.toml admits."""
    uv = REPOSITORY / ".tools" / "bin" / "uv"
    if not uv.exists():
        return "NOT run: uv cannot be had here, and pip cannot choose the oldest versions"
    # Without traces: the tests' SDK of OpenTelemetry asks for an API of its own version.
    with tempfile.TemporaryDirectory() as folder:
        python, oldest = Path(folder, "venv", "bin", "python"), Path(folder, "oldest.txt")
        _said(
            str(uv), "pip", "compile", "--resolution", "lowest-direct", "--extra", "postgres", "--extra", "encryption",
            "pyproject.toml",
            "-o", str(oldest),
            cwd=REPOSITORY,
        )  # fmt: skip
        _said(str(uv), "venv", "--python", sys.executable, str(python.parents[1]), cwd=REPOSITORY)
        for given in ("requirements/dev.txt", str(oldest)):
            _said(str(uv), "pip", "install", "--python", str(python), "-r", given, cwd=REPOSITORY)
        _said(
            str(uv), "pip", "install", "--python", str(python), "--no-deps", "--no-build-isolation", "-e", ".",
            cwd=REPOSITORY,
        )  # fmt: skip
        folders = [f"tests/{name}" for name in ("api", "cli", "client", "worker")]
        ran = subprocess.run(
            [
                str(python), "-m", "pytest", "-q", "-n", "auto", "-m", "not long", "-W", "ignore::DeprecationWarning",
                *folders,
            ],
            cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if ran.returncode:
        OLDEST_OUTPUT.parent.mkdir(exist_ok=True)
        OLDEST_OUTPUT.write_text(ran.stdout, "utf-8")
        raise Unfit(f"{ran.stdout[-4_000:]}\nall of it: {OLDEST_OUTPUT.relative_to(REPOSITORY)}")
    return ran.stdout.strip().splitlines()[-1]


def list_parts(environment: Path) -> str:
    """Write the list of everything that an installation consists of."""
    version = _wheel().name.split("-")[1]
    target = DIST / f"fairlane-{version}.cdx.json"
    _said(
        str(TOOLS / "cyclonedx-py"), "environment", "--output-reproducible", "--of", "JSON", "-o", str(target),
        str(environment / "bin" / "python"),
        cwd=REPOSITORY,
    )  # fmt: skip
    parts = json.loads(target.read_text("utf-8"))["components"]
    return f"{target.name}: {len(parts)} parts"


def look_for_faults() -> str:
    """No finding of bandit of medium or high severity; no known fault in what the wheel brings."""
    _said(
        str(TOOLS / "bandit"), "--quiet", "--recursive", "--severity-level", "medium", "--configfile", "pyproject.toml",
        "src",
        cwd=REPOSITORY,
    )  # fmt: skip
    audit = subprocess.run(
        [str(TOOLS / "pip-audit"), "--disable-pip", "--strict", "-r", "requirements/runtime.txt"],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if audit.returncode == 0:
        return "bandit: nothing; pip-audit: nothing known"
    if "could not be audited" in audit.stdout + audit.stderr or "ConnectionError" in audit.stderr:
        return "bandit: nothing; pip-audit: NOT looked up, the list of known faults cannot be reached from here"
    raise Unfit(audit.stdout + audit.stderr)


def follow_tutorial() -> str:
    """Follow the first nine sections of the tutorial with the wheel in the place of a clone."""
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", "tests/docs/test_tutorial.py", "-k", "first_nine"],
        cwd=REPOSITORY, env=os.environ | {"FAIRLANE_TEST_PACKAGE": str(_wheel())}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if ran.returncode:
        raise Unfit(ran.stdout[-4_000:])
    return ran.stdout.strip().splitlines()[-1]


def main() -> int:
    """Take all steps; stop at the first that finds something."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bare, whole = Path(folder, "bare"), Path(folder, "whole")
        steps: list[tuple[str, Callable[[], str]]] = [
            ("build twice, equal", build_twice),
            ("contents", check_contents),
            ("description", check_description),
            ("install into an empty environment", lambda: install(bare)),
            ("install with all extras", lambda: install(whole, "[postgres,encryption,otel]")),
            ("types of callers", lambda: check_callers(whole)),
            ("run by uvx and pipx", run_without_installing),
            ("Kubernetes manifests", check_manifests),
            ("list of parts", lambda: list_parts(whole)),
            ("known faults", look_for_faults),
            ("oldest versions", use_oldest),
            ("tutorial with the wheel", follow_tutorial),
        ]
        for name, step in steps:
            try:
                said = step()
            except Unfit as unfit:
                print(f"release: {name}: NO\n{unfit}", flush=True)
                return 1
            print(f"release: {name}: yes\n    " + said.strip().replace("\n", "\n    "), flush=True)
    return 0


def _wheel() -> Path:
    return next(DIST.glob("*.whl"))


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def _said(*command: str, cwd: Path, **environment: str) -> str:
    ran = subprocess.run(
        command, cwd=cwd, env=os.environ | environment | {"NO_COLOR": "1"}, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise Unfit(f"{' '.join(command)}\n{ran.stdout}{ran.stderr}")
    return ran.stdout


if __name__ == "__main__":
    sys.exit(main())
