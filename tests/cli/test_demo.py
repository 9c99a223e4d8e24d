"""``fairlane demo``: its handlers, its views, and a small run of the whole."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane import Fail
from fairlane.client import Client, Status
from fairlane.demo.app import LIBRARY, OUTPUT_VARIABLE, Rendering, highlight_source, outline_source
from fairlane.demo.main import DemoOptions, run_demo
from fairlane.demo.parties import SEED_KEY
from fairlane.demo.view import DemoProgress, PartyRow, line_of, view_on
from tests import postgres
from tests.cli.harness import ROOT, eventually


def a_progress(seconds: float) -> DemoProgress:
    """Two organizations at work."""
    rows = [
        PartyRow(name="acme", weight=1, queued=90, processing=2, used=2, limit=4, done=8, total=100, rate=3.5),
        PartyRow(name="globex", weight=3, queued=70, processing=4, used=4, limit=8, done=26, total=100, rate=10.5),
    ]
    return DemoProgress(seconds=seconds, rows=rows, recounts=7, drifts=0)


def test_a_source_file_becomes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the output folder, at the place the result names."""
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path))

    result = highlight_source(Rendering("json/__init__.py"))

    page = (tmp_path / result["page"]).read_text()
    assert "<title>json/__init__.py</title>" in page
    assert result["lines"] > 100


def test_an_outline_has_names_and_lines_in_order() -> None:
    """Methods carry their class's name."""
    outline = outline_source(Rendering("json/decoder.py"))["outline"]

    assert [entry["line"] for entry in outline] == sorted(entry["line"] for entry in outline)
    assert {"JSONDecoder", "JSONDecoder.decode"} <= {entry["name"] for entry in outline}


@pytest.mark.parametrize(
    "path",
    [
        "../../../etc/passwd",
        "/etc/passwd",
        "no_such_module.py",
        "json",
        "json/../../secret.py",
        "a\0.py",
        "x" * 5000,
        "",
    ],
)
@pytest.mark.nothing_yet
def test_a_path_out_of_the_library_fails(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For good, with a code, and without a page."""
    monkeypatch.setenv(OUTPUT_VARIABLE, str(tmp_path))

    for handler in (highlight_source, outline_source):
        with pytest.raises(Fail, match="SOURCE_"):
            handler(Rendering(path))

    assert not list(tmp_path.iterdir())


def test_a_link_out_of_the_library_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The path is followed before it is judged."""
    (tmp_path / "library").mkdir()
    (tmp_path / "secret.py").write_text("password = 1")
    (tmp_path / "library" / "link.py").symlink_to(tmp_path / "secret.py")
    monkeypatch.setattr("fairlane.demo.app.LIBRARY", tmp_path / "library")

    with pytest.raises(Fail, match="SOURCE_REFUSED"):
        outline_source(Rendering("link.py"))


def test_away_from_a_terminal_a_plain_line_comes_now_and_then() -> None:
    """Every two seconds, without colour or control characters."""
    stream = io.StringIO()

    with view_on(stream) as view:
        for tenths in range(50):
            view.show(a_progress(tenths / 10))

    lines = stream.getvalue().splitlines()
    assert lines == [line_of(a_progress(seconds)) for seconds in (0.0, 2.0, 4.0)]
    assert "globex: queued 70, processing 4, used 4/8, done 26/100, 10.5 tasks/s" in lines[0]
    assert "\x1b" not in lines[0]


def test_on_a_terminal_there_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every number that the lines have."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with view_on(stream) as view:
        view.show(a_progress(1.0))

    for shown in ("queued", "processing", "used/max", "tasks/s", "globex", "4/8", "26/100", "10.5", "drift 0"):
        assert shown in stream.getvalue()


def demo(tmp_path: Path, *flags: str) -> subprocess.Popen[str]:
    """Start a small demonstration."""
    command = [sys.executable, "-m", "fairlane", "demo", "--output", str(tmp_path / "out"), *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    """The flags for a database: none for a temporary file, or an empty one on PostgreSQL."""
    if request.param == "sqlite":
        yield ()
        return
    address = postgres.lend(bare=True)
    yield "--postgres", address
    postgres.give_back(address)


def test_a_small_demonstration_holds_and_its_server_stays_until_told(
    tmp_path: Path, where: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real server and real workers; every page is there; the curl line works until Ctrl-C, and no longer.

    Meanwhile there is something to see: the limit of acme holds, its lanes fill, a task fails (looked at once). Without
    a browser, the address of the dashboard is printed.
    """
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    looked_at = not where
    with demo(tmp_path, "--tasks", "24", "--json", "--open" if looked_at else "--keep", *where) as process:
        assert process.stdout is not None
        report = json.loads(process.stdout.readline())
        try:
            address = shlex.split(report["curl"])[-1].removesuffix("/v1/async/status")
            with Client(address, SEED_KEY) as acme:
                eventually(lambda: acme.status().concurrency is not None)
                if looked_at:
                    eventually(lambda: fills(acme.status()))
                    eventually(lambda: [*acme.tasks(status="FAILED", most=1)] != [])
        finally:
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=30)[1]

    assert (process.returncode, report["held"]) == (0, True), report
    assert "24 of 24 tasks" in report["checks"][0]["text"]
    pages = list((tmp_path / "out" / "pages").rglob("*.html"))
    assert len(pages) == Path(report["pages"]).read_text().count("<li>") == 12
    assert report["status"]["concurrency"] == {"used": 0, "max": 4}
    assert bool(re.search(rf"Open this within a minute: {address}/dashboard#/enter/\S+\n", told)) == looked_at
    assert 'Bearer sk_live_1234567890abcdef1234567890abcdef"' in report["curl"]
    assert pasted(report["curl"]) is None


def fills(status: Status) -> bool:
    """Whether all slots of an organization are used, and several lanes have tasks."""
    used = status.concurrency
    return used is not None and used.used == used.max and len(status.priority_breakdown) > 1


def test_a_database_with_an_installation_is_refused(tmp_path: Path) -> None:
    """The demonstration's server would take part in it."""
    address = postgres.lend()
    try:
        with demo(tmp_path, "--postgres", address) as process:
            _, told = process.communicate(timeout=30)
    finally:
        postgres.give_back(address)

    assert process.returncode == 1
    assert "the demo needs an empty one" in told


def test_an_interrupted_demonstration_leaves_no_server(tmp_path: Path) -> None:
    """A signal in the middle of the work ends the server in order, and the exit code says that it was interrupted."""
    with demo(tmp_path, "--seconds", "20") as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("  curl"))
        next(line for line in process.stdout if "processing" in line)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)

    assert process.returncode == 130
    assert pasted(line) is None


def pasted(curl: str) -> Any:
    """What the curl line answers; None if nobody listens. There may be no curl here, so the line is only read."""
    program, option, header, address = shlex.split(curl)
    assert (program, option) == ("curl", "-H")
    request = urllib.request.Request(address, headers=dict([header.split(": ", 1)]))
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return json.load(response)
    except urllib.error.URLError:
        return None


def test_the_library_is_the_pythons_own() -> None:
    """And not a directory of ours."""
    assert LIBRARY.samefile(Path(os.__file__).parent)


def test_a_machine_that_is_too_slow_is_called_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What it did not begin in time is taken back, and everything else is judged as ever."""
    monkeypatch.setattr("fairlane.demo.main.SECONDS_USUAL", 0.1)
    options = DemoOptions(keep=False, seconds=1, tasks=600, port=0, output=tmp_path, as_json=True)

    code = run_demo(options)

    report = json.loads(capsys.readouterr().out)
    [completed] = [check for check in report["checks"] if check["name"] == "completed"]
    assert (code, report["held"]) == (0, True), report
    assert re.search(
        r"^(\d+) of \1 tasks fetched .*; this machine is slow: \d+ more were taken back$", completed["text"]
    )
