"""The tutorial, from its first command to its last, in the environment that its first section makes.

Only ports are changed, because the usual ones may be busy.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.api.house import eventually
from tests.cluster import find_programs
from tests.deploy.test_material import check_command
from tests.postgres import GIVEN, give_back, lend

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
SECTIONS = re.findall(r"^## (\d+)\. .*?\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
INSTALL, ORDINARY, WITH_POSTGRES = 0, range(1, 9), range(10, 11)
"""Sections that run as they stand; the first runs once for all tests. The tenth is for root: see tests/deploy."""

NOT_OF_A_READER = ("FAIRLANE_", "PYTEST_", "PYTHON", "VIRTUAL_ENV")
"""Variables of the tests that a reader does not have, by their first letters."""
KEY = "sk_live_1234567890abcdef1234567890abcdef"
PACKAGE = os.environ.get("FAIRLANE_TEST_PACKAGE", ".")
"""What the first section installs: the clone, or a wheel."""

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl or bash here"),
]


class Shell:
    """A reader at two terminals: one for commands, one for what stays."""

    def __init__(self, state: Path, runtime: str) -> None:
        """``state`` has a file of exported variables, and one with the name of the working directory."""
        self._state = state
        self.ports = {usual: str(free_port()) for usual in ("8000", "9000")}
        self.said: list[str] = []
        self.staying: list[tuple[str, subprocess.Popen[bytes]]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(NOT_OF_A_READER)}
        self.environment = kept | {"PATH": programs(), "XDG_RUNTIME_DIR": runtime, "NO_COLOR": "1"}

    @property
    def folder(self) -> Path:
        """The working directory."""
        return Path((self._state / "folder").read_text().strip())

    def follow(self, text: str) -> None:
        """Do what a section says."""
        name = ""
        for found in re.finditer(r"[Aa]s `([a-z_]+\.py)`:|^```(\w+)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            file, language, code = found.groups()
            for usual, free in self.ports.items():
                code = code and code.replace(f"127.0.0.1:{usual}", f"127.0.0.1:{free}").replace(
                    f", {usual})", f", {free})"
                )
            match language:
                case None:
                    name = file
                case "python":
                    (self.folder / name).write_text(code)
                case "sh":
                    self.run(code)
                case "serve":
                    self.end("fairlane serve")
                    log = self.stay(code.strip() + f" --port {self.ports['8000']}")
                    eventually(partial(is_ready, log), seconds=60)
                case "background":
                    self.stay(code)
                    if "receiver" in code:
                        # Else its first message comes too early, and the second in two minutes.
                        eventually(lambda: listens(self.ports["9000"]), seconds=30)

    def run(self, commands: str) -> None:
        """Run one block; its exports and its working directory stay."""
        script = (
            'curl() { command curl -sS --fail-with-body -w "\\n" "$@"; }\n'
            f"set -eu\n. {self._state}/exports\n{commands}\n"
            f"export -p > {self._state}/exports\npwd > {self._state}/folder\n"
        )
        ran = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=240,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, (commands, ran.stdout, ran.stderr)
        self.said.append(ran.stdout)

    def log(self, number: int) -> Path:
        """Where a program that stays writes."""
        return self._state / f"log-{number}"

    def stay(self, command: str) -> Path:
        """Start a program that stays; return where it writes."""
        log = self.log(len(self.staying))
        with log.open("wb") as out:
            script = f". {self._state}/exports\nexec env {command}"
            process = subprocess.Popen(
                ["bash", "-c", script], cwd=self.folder, env=self.environment, stdout=out, stderr=subprocess.STDOUT
            )
        self.staying.append((command, process))
        return log

    def end(self, what: str) -> None:
        """Ctrl-C."""
        for command, process in self.staying:
            if what in command:
                process.terminate()
                process.wait(20)


def is_ready(log: Path) -> bool:
    """Whether a server has said so."""
    return "ready at" in log.read_text("utf-8")


def listens(port: str) -> bool:
    """Whether somebody answers there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def free_port() -> int:
    """A port nobody uses now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def programs() -> str:
    """The path of a reader: the interpreter that made the tests' environment, and nothing of that environment."""
    own = Path(sys.executable).parent
    others = [one for one in os.environ["PATH"].split(os.pathsep) if one and Path(one) != own]
    return os.pathsep.join([str(Path(sys.base_prefix) / "bin"), *others])


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """The first section, in a clone with all that is not committed yet: its state, and a runtime directory."""
    state, clone = tmp_path_factory.mktemp("state"), tmp_path_factory.mktemp("tutorial") / "fairlane"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():  # it may be deleted and not committed
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, clone / name)
    (state / "exports").touch()
    (state / "folder").write_text(str(clone))
    runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    Shell(state, runtime).follow(SECTIONS[INSTALL][1].replace("pip install . ", f"pip install {PACKAGE} "))
    yield state, runtime
    shutil.rmtree(runtime)


@pytest.fixture
def shell(installed: tuple[Path, str], tmp_path: Path) -> Iterator[Shell]:
    """A reader after the first section."""
    state, runtime = installed
    for name in ("exports", "folder"):
        shutil.copy(state / name, tmp_path)
    made = Shell(tmp_path, runtime)
    yield made
    made.end("")


def test_the_first_nine_sections_run_in_order(shell: Shell) -> None:
    """From the handler to its test; what they promise is seen."""
    for index in ORDINARY:
        shell.follow(SECTIONS[index][1])

    said = "\n".join(shell.said)
    assert '"words": 6' in shell.said[0]
    assert '"status":"COMPLETED"' in said.replace(": ", ":").replace('" :', '":')
    assert len((shell.folder / "reports.jsonl").read_text().splitlines()) == 8
    assert "0/2 slots" in said
    assert "0/5 slots" in said
    assert '"remaining":100' in shell.said[-2].replace(": ", ":")
    assert "1 passed" in shell.said[-1]
    told = shell.log(1)
    eventually(lambda: "told-1 COMPLETED {'chapters': 1, 'words': 1}" in told.read_text())
    with urllib.request.urlopen(f"http://127.0.0.1:{shell.ports['8000']}/dashboard", timeout=10) as page:
        assert page.status == 200


@pytest.mark.skipif(
    GIVEN is None and find_programs() is None and not os.environ.get("CI"), reason="no PostgreSQL is here"
)
def test_the_last_section_runs_on_postgresql(shell: Shell) -> None:
    """With the handler of the second; a worker joins over the network."""
    shell.follow(SECTIONS[1][1])
    shell.environment["PG"] = address = lend(bare=True)
    shell.environment |= {"FAIRLANE_URL": f"http://127.0.0.1:{shell.ports['8000']}", "FAIRLANE_API_KEY": KEY}
    try:
        for index in WITH_POSTGRES:
            shell.follow(SECTIONS[index][1])
        assert '"words": 2' in shell.said[-1]
        assert "No drift" in shell.said[-1]
    finally:
        shell.end("")
        give_back(address)


def test_the_sections_are_numbered_and_none_is_left_out() -> None:
    """Nine that run, one for root, one with PostgreSQL."""
    assert [int(number) for number, _ in SECTIONS] == list(range(1, 12))
    assert "```sh" not in SECTIONS[9][1]


def test_the_section_for_root_names_what_is_there() -> None:
    """Files of deploy/, the line that is changed in a unit, commands of fairlane, the database of the unit."""
    text = SECTIONS[9][1]
    unit = (ROOT / "deploy" / "systemd" / "fairlane.service").read_text("utf-8")

    for name in re.findall(r"\.\./fairlane/(\S+)", text):
        assert (ROOT / name).is_file(), name
    before, after = re.findall(r"sed -i 's/(.*?)/(.*?)/'", text)[0]
    assert f"/srv/fairlane/venv/bin/fairlane serve {before} " in unit
    assert after == "tasks:app"
    assert f"Environment={re.findall(r'export (.*)', text)[0]}\n" in unit
    commands = re.findall(r"-- (/srv/fairlane/venv/bin/fairlane .*)", text)
    assert len(commands) == 2
    for command in commands:
        check_command(command.split())
