"""The tutorial, from its first command to its last, as it stands; only ports are changed, for others may be busy."""

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

from fairlane.demo.postgres import find_programs
from tests.api.house import eventually
from tests.deploy.test_material import check_command
from tests.postgres import GIVEN, give_back, lend

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
SECTIONS = re.findall(r"^## (\d+)\. .*?\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
ORDINARY, WITH_POSTGRES = range(9), range(10, 11)
"""Sections that run as they stand. The tenth is for root; tests/deploy has what it names."""

KEY = "sk_live_1234567890abcdef1234567890abcdef"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("curl") is None or shutil.which("bash") is None, reason="no curl or bash here"),
]


class Shell:
    """A reader at two terminals: one for commands, one for what stays."""

    def __init__(self, folder: Path, runtime: str) -> None:
        self.folder = folder
        self.ports = {usual: str(free_port()) for usual in ("8000", "9000")}
        self.said: list[str] = []
        self.staying: list[tuple[str, subprocess.Popen[bytes]]] = []
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLANE_", "PYTEST_"))}
        programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = kept | {"PATH": programs, "XDG_RUNTIME_DIR": runtime, "NO_COLOR": "1"}
        (folder / "exports").touch()

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
        """One block; what it exports stays."""
        script = (
            'curl() { command curl -sS --fail-with-body -w "\\n" "$@"; }\n'
            f"set -eu\n. ./exports\n{commands}\nexport -p > exports\n"
        )
        ran = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=90,
            check=False,
        )  # fmt: skip
        assert ran.returncode == 0, (commands, ran.stdout, ran.stderr)
        self.said.append(ran.stdout)

    def stay(self, command: str) -> Path:
        """Something that goes on; where it writes."""
        log = self.folder / f"log-{len(self.staying)}"
        with log.open("wb") as out:
            script = f". ./exports\nexec env {command}"
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


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """In an empty folder."""
    runtime = tempfile.mkdtemp(prefix="fl-", dir="/tmp")
    made = Shell(tmp_path, runtime)
    yield made
    made.end("")
    shutil.rmtree(runtime)


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
    told = shell.folder / "log-1"
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
