"""One event, one line, in either form."""

import json
import logging
from collections.abc import Iterator

import pytest

from fairlane import logs


@pytest.fixture(autouse=True)
def _root_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


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


@pytest.mark.parametrize("wrong", [{"format": "xml"}, {"level": "LOUD"}])
def test_unknown_choices_are_refused(wrong: dict[str, str]) -> None:
    """With a ValueError that names them."""
    with pytest.raises(ValueError, match=next(iter(wrong.values()))):
        logs.configure(**wrong)
