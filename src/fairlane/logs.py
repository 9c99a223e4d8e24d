"""Logs: the standard library's logging, one event per line, as key=value or as JSON.

A record's message is the event's name (``task.claimed``); what belongs to it is passed as ``extra={"task_id": …}``.
Never log payloads, results, keys or webhook secrets. Imports nothing of ours.
"""

import json
import logging
import sys
from datetime import UTC, datetime

FORMATS = ("text", "json")
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(*, format: str = "text", level: str = "INFO") -> None:
    """Send every event to standard error in one format. Replaces what was configured before.

    Raises:
        ValueError: an unknown format or level.
    """
    if format not in FORMATS:
        raise ValueError(f"log format {format!r} is unknown: give one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.handlers[:] = [handler]


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO task.claimed task_id=… attempt=1``."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_moment(record), record.levelname, record.getMessage()]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        return "\n".join([" ".join(words), *_trace(self, record)])


class JsonFormatter(logging.Formatter):
    """One JSON object per line: at, level, event, then the event's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"at": _moment(record), "level": record.levelname, "event": record.getMessage()} | _fields(record)
        if trace := _trace(self, record):
            line["trace"] = "\n".join(trace)
        return json.dumps(line, default=str)


def _moment(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}


def _quoted(value: object) -> str:
    """Bare where it cannot be misread, else as a JSON string, so that one event stays one line."""
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    parts = []
    if record.exc_info and not record.exc_text:
        record.exc_text = formatter.formatException(record.exc_info)
    if record.exc_text:
        parts.append(record.exc_text)
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return parts
