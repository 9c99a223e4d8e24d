"""What stands in deploy/: its form is right, and every command, option and variable in it exists."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from typer.main import get_command

from fairlane.cli.program import load, program
from fairlane.settings import OTHERS, PREFIX, Settings

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
VARIABLES = {PREFIX + name.upper() for name in Settings.__struct_fields__} | set(OTHERS)


def check_command(words: list[str]) -> None:
    """A fairlane command line that the program would take."""
    assert words[0].endswith("fairlane"), words
    load(words[1]).make_context(words[1], list(words[2:]), parent=typer.Context(get_command(program)))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_starts_a_command_that_exists(unit: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Every option of ExecStart is one of the command's, every variable one that is read."""
    text = unit.read_text("utf-8")
    started = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    monkeypatch.setenv("FAIRLANE_WORKER_SERVERS", "https://one.example")

    for line in started:
        check_command(shlex.split(line))
    assert bool(started) == (unit.suffix == ".service")
    assert set(re.findall(r"FAIRLANE_[A-Z_]+", text)) <= VARIABLES


def test_a_command_line_that_does_not_exist_is_noticed() -> None:
    """The control: the check above can fail."""
    with pytest.raises(Exception, match="No such option"):
        check_command(["fairlane", "serve", "a:b", "--no-such-option"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """``systemd-analyze verify`` has nothing to say against our units."""
    for unit in UNITS:
        text = re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text("utf-8"), flags=re.MULTILINE)
        (tmp_path / unit.name.replace("@", "@1")).write_text(text)

    checked = subprocess.run(
        ["systemd-analyze", "verify", *sorted(str(file) for file in tmp_path.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    ours = [line for line in checked.stderr.splitlines() if "fairlane" in line]
    assert not ours, ours


def test_container_file_is_whole() -> None:
    """Only instructions that exist; what is copied is there; it does not run as root; its command exists."""
    text = (DEPLOY / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    known = {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ARG",
        "ENV",
        "VOLUME",
        "USER",
        "EXPOSE",
        "STOPSIGNAL",
        "HEALTHCHECK",
        "CMD",
    }

    assert {instruction for instruction, _ in lines} <= known | {"CMD"}
    assert [instruction for instruction, _ in lines[:2]] == ["ARG", "FROM"]
    for instruction, rest in lines:
        if instruction == "COPY" and not rest.startswith("--from") and "$" not in rest:
            for source in rest.split()[:-1]:
                assert (DEPLOY.parent / source).exists(), source
    assert [rest for instruction, rest in lines if instruction == "USER"] == ["fairlane"]
    assert set(re.findall(r"FAIRLANE_[A-Z_]+", text)) <= VARIABLES
    check_command(yaml.safe_load([rest for instruction, rest in lines if instruction == "CMD"][-1]))
