"""One event, one line, in either form."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from fairlane import logs


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("fairlane")
    handlers, level, watched = root.handlers[:], root.level, own.level
    own.setLevel(logging.NOTSET)  # tests/watching.py hears everything
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(watched)


def test_text_is_key_and_value(capsys: pytest.CaptureFixture[str]) -> None:
    """Values that could be misread are quoted; a value cannot forge a line."""
    logs.configure(format="text", level="info")
    extra = {"task_id": "t1", "cause": 'a "b"\nc=d', "empty": "", "count": 3}

    logging.getLogger("fairlane.x").info("task.claimed", extra=extra)
    logging.getLogger("fairlane.x").debug("task.settled")

    [line] = capsys.readouterr().err.splitlines()
    moment, rest = line.split(" ", 1)
    assert len(moment) == len("2026-01-02T03:04:05.678Z")
    assert rest == r'INFO task.claimed task_id=t1 cause="a \"b\"\nc=d" empty="" count=3'


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    """With the trace of an exception inside."""
    logs.configure(format="json", level="DEBUG")
    try:
        raise RuntimeError("no")
    except RuntimeError:
        logging.getLogger("fairlane.x").exception("request.failed", extra={"request_id": "r"})

    [line] = capsys.readouterr().err.splitlines()
    event = json.loads(line)
    assert list(event) == ["at", "level", "event", "request_id", "trace"]
    assert (event["level"], event["event"]) == ("ERROR", "request.failed")
    assert "RuntimeError: no" in event["trace"]


def test_a_terminal_gets_colors_unless_they_are_unwanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are the same. A file gets none, nor does a terminal with NO_COLOR or without colors."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    written = {}
    for name, terminal, variables in (
        ("colored", True, {"TERM": "xterm"}), ("unwanted", True, {"TERM": "xterm", "NO_COLOR": "1"}),
        ("dumb", True, {"TERM": "dumb"}), ("file", False, {"TERM": "xterm"}),
    ):  # fmt: skip
        stream = io.StringIO()
        monkeypatch.setattr(stream, "isatty", lambda terminal=terminal: terminal, raising=False)
        monkeypatch.setattr("sys.stderr", stream)
        with monkeypatch.context() as patch:
            for variable, value in variables.items():
                patch.setenv(variable, value)
            logs.configure()
        logging.getLogger("fairlane.x").warning("task.requeued", extra={"task_id": "t1"})
        written[name] = stream.getvalue().partition("Z")[2]

    assert written["colored"] == "\x1b[0m \x1b[33mWARNING\x1b[0m \x1b[1mtask.requeued\x1b[0m \x1b[2mtask_id=\x1b[0mt1\n"
    assert written["unwanted"] == written["dumb"] == written["file"] == " WARNING task.requeued task_id=t1\n"


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"level": "LOUD"}])
def test_unknown_choices_are_refused(wrong: dict[str, str]) -> None:
    """With a ValueError that names them."""
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        logs.configure(**wrong)
