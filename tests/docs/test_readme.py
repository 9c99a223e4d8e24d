"""README's commands and code run, as a newcomer runs them, and print what it shows."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.house import eventually
from tests.site.badges import badges

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
VARYING = {"id", "createdAt", "latencyMs"}
FIRST_SCREEN_LINES = 70


def blocks(language: str) -> list[str]:
    """The code of one language."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def answers(port: str) -> bool:
    """Whether a server listens here."""
    with closing(socket.socket()) as looking:
        return looking.connect_ex(("127.0.0.1", int(port))) == 0


def a_port() -> str:
    """A port that was free."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.long
@pytest.mark.skipif(not Path("/usr/bin/curl").exists(), reason="there is no curl here")
def test_the_first_screen_runs_as_it_stands(tmp_path: Path) -> None:
    """The file, the server, the organization, the request: its answer is the one that is shown. The port is another."""
    [program] = blocks("python")
    install, serve, create, submit = blocks("sh")[:4]
    [shown] = blocks("json")
    port, runtime = a_port(), tempfile.mkdtemp(prefix="fl-", dir="/tmp")  # a socket's path has 107 bytes
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("FAIRLANE_", "XDG_"))}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": runtime,
        "HOME": str(tmp_path),
    }
    (tmp_path / "app.py").write_text(program, "utf-8")

    def run(commands: str) -> str:
        command = ["bash", "-euc", commands.replace("127.0.0.1:8000", f"127.0.0.1:{port}")]
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    command = ["bash", "-c", f"exec {serve.strip()} --port {port}"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        eventually(lambda: answers(port) or server.poll() is not None, seconds=30)
        assert server.poll() is None, (tmp_path / "log").read_text("utf-8")
        run(create)
        answered = json.loads(run(submit))
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(runtime)

    assert install == "pip install fairlane\n"
    expected = json.loads(shown)
    assert list(answered) == list(expected)
    assert {name: answered[name] for name in ("success", "credits", "response")} == {
        name: expected[name] for name in ("success", "credits", "response")
    }
    assert {**answered["task"], **dict.fromkeys(VARYING, 0)} == {**expected["task"], **dict.fromkeys(VARYING, 0)}


def test_a_newcomer_sees_everything_on_the_first_screen() -> None:
    """A sentence, a picture in light and dark, the installation, ten lines of code, one request and its answer."""
    first = README.partition("\n## ")[0]
    [program] = blocks("python")

    assert len(first.splitlines()) < FIRST_SCREEN_LINES
    assert all(part in first for part in ("<picture>", "prefers-color-scheme: dark", "pip install", "```json"))
    assert len([line for line in program.splitlines() if line.strip()]) <= 10
    assert first.count("curl http") == 1


def test_the_pictures_are_there() -> None:
    """Also those of the badges, which say what the package says."""
    pictures = re.findall(r"(?:\]\(|src(?:set)?=\")(docs/images/[^)\"]+)", README)

    assert [picture for picture in pictures if not (ROOT / picture).exists()] == []
    for name, text in badges().items():
        assert f"docs/images/{name}" in pictures
        assert (ROOT / "docs" / "images" / name).read_text("utf-8") == text
