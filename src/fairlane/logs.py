"""Logs: the standard library's logging, one event per line, as key=value or as JSON.

A record's message is the event's name (``task.claimed``); its fields are passed as ``extra={"task_id": …}``. Never log
payloads, results, keys or webhook secrets. Imports nothing of fairlane.
"""

import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import TextIO

FORMATS = ("text", "json")
CHATTY = ("httpx", "httpx2", "httpcore", "httpcore2")
"""Loggers that write one or more lines for each request. If the application sets the level of one, that level stays."""
_COLORS = {
    logging.DEBUG: "34",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
CALLERS_MOST = 8
"""Frames that are named in addition to the one that raised."""

about: ContextVar[Mapping[str, object] | None] = ContextVar("about", default=None)
"""The subject of every record that is made now: the ids of the attempt, or None if none runs here."""

logger = logging.getLogger(__name__)
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure(*, format: str = "text", level: str = "INFO") -> None:
    """Send every event to standard error in one format. Replaces the previous configuration.

    Raises:
        ValueError: an unknown format or level.
    """
    if format not in FORMATS:
        raise ValueError(f"log format {format!r} is unknown: give one of {', '.join(FORMATS)}")
    handler = OwnHandler(own_stream(sys.stderr))
    text = ColorFormatter() if _has_colors(handler.stream) else TextFormatter()
    handler.setFormatter(JsonFormatter() if format == "json" else text)
    root = logging.getLogger()
    root.setLevel(level.upper())
    root.handlers[:] = [handler]
    for name in CHATTY:
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(logging.WARNING)
    name_attempts()


class OwnHandler(logging.StreamHandler[TextIO]):
    """Writes events to the standard error of the time when logging was configured."""


def own_stream(stream: TextIO) -> TextIO:
    """Return a stream to the same file that stays open and writes any text, whatever happens to ``sys.stderr``."""
    try:
        number = stream.fileno()
    except (OSError, ValueError):
        return stream  # The stream is a buffer of a test.
    if number not in (1, 2):
        return stream
    return os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8", errors="backslashreplace")


class KeptLogging:
    """The configuration of logging before an application is imported."""

    def __init__(self) -> None:
        self._root, self._own = logging.getLogger(), logging.getLogger("fairlane")
        self._worker = logging.getLogger("fairlane.worker")
        self._handlers = [one for one in (*self._root.handlers, *self._own.handlers) if isinstance(one, OwnHandler)]
        self._level = self._own.getEffectiveLevel()

    def is_intact(self) -> bool:
        """Return whether fairlane's own events still appear. Each attempt asks, so this looks at few things."""
        root, own, level = self._root, self._own, self._level
        for handler in self._handlers[:1]:
            if handler.level > logging.NOTSET or (handler not in root.handlers and handler not in own.handlers):
                return False
        return self._worker.propagate and self._worker.isEnabledFor(level) and own.getEffectiveLevel() == level

    def put_back(self) -> list[str]:
        """Restore the output of fairlane's own events, and return what the application had changed.

        The application's own records go where the application sends them.
        """
        root, own, changed = self._root, self._own, []
        if root.manager.disable > logging.NOTSET:
            logging.disable(logging.NOTSET)
            changed.append("logging.disable")
        silent = [found for found in _loggers() if found.disabled and f"{found.name}.".startswith("fairlane.")]
        if silent:
            for found in silent:
                found.disabled = False
            changed.append("loggers that existed were disabled")
        if self._handlers and not set(self._handlers) & {*root.handlers, *own.handlers}:
            for handler in self._handlers:
                own.addHandler(handler)
            own.propagate = False  # Otherwise a handler that replaced ours would write each event again.
            changed.append("the handlers of the root logger")
        below = [one for one in _loggers() if one.name.startswith("fairlane.") and (one.level or not one.propagate)]
        if below or any(handler.level for handler in self._handlers):
            for one in below:
                one.setLevel(logging.NOTSET)
                one.propagate = True
            for handler in self._handlers:
                handler.setLevel(logging.NOTSET)
            changed.append("the levels of fairlane's loggers or its handler")
        if own.getEffectiveLevel() != self._level:
            own.setLevel(self._level)
            changed.append("the level of the root logger")
        name_attempts()
        return changed


def _loggers() -> list[logging.Logger]:
    known = [logging.getLogger(), *logging.getLogger().manager.loggerDict.values()]
    return [found for found in known if isinstance(found, logging.Logger)]


class AttemptFilter(logging.Filter):
    """Adds the current subject to a record. Fields that the record already has stay as they are."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name, value in (about.get() or {}).items():
            vars(record).setdefault(name, value)
        return True


_ATTEMPTS = AttemptFilter()


def name_attempts() -> None:
    """Make every handler of every logger add ``task_id``, ``organization`` and ``attempt`` to an attempt's records."""
    for found in _loggers():
        for handler in found.handlers:
            handler.addFilter(_ATTEMPTS)


def raised(error: BaseException) -> dict[str, object]:
    """Return what a log may contain of an application's exception: its type and where it was raised, never its text.

    The text may quote a payload. For a group, it is the first exception; the place is the group's own if that exception
    was never raised.
    """
    chain, raised_at = first_of(error)
    name = " of ".join([type(one).__qualname__ for one in chain])
    frames = [
        f"{frame.f_code.co_filename}:{line} in {frame.f_code.co_name}" for frame, line in traceback.walk_tb(raised_at)
    ]
    fields: dict[str, object] = {"error": name, "place": frames[-1] if frames else "unknown"}
    if callers := frames[-CALLERS_MOST - 1 : -1]:
        fields["called_from"] = " < ".join(reversed(callers))
    return fields


def first_of(error: BaseException) -> tuple[list[BaseException], TracebackType | None]:
    """Return an exception, down to the first one in it if it is a group of groups; and where that one was raised."""
    chain, raised_at = [error], error.__traceback__
    while isinstance(first := chain[-1], BaseExceptionGroup):
        chain.append(first.exceptions[0])
        raised_at = chain[-1].__traceback__ or raised_at
    return chain, raised_at


def withhold_strays() -> None:
    """Log exceptions that end a thread or are ignored, without the text that Python would write to standard error.

    ``asyncio`` has the same for its tasks: see :func:`stray_task`.
    """

    def of_thread(stray: threading.ExceptHookArgs) -> None:
        if stray.exc_value is not None and not isinstance(stray.exc_value, SystemExit):
            logger.error("thread.raised", extra=raised(stray.exc_value))

    def ignored(stray: "sys.UnraisableHookArgs") -> None:
        if stray.exc_value is not None:
            logger.error("exception.ignored", extra=raised(stray.exc_value))

    threading.excepthook = of_thread
    sys.unraisablehook = ignored


def stray_task(loop: object, context: Mapping[str, object]) -> None:
    """Log an exception that no task or callback awaited, without its text: an event loop's exception handler."""
    error = context.get("exception")
    logger.error("task.raised", extra=raised(error) if isinstance(error, BaseException) else {"error": "unknown"})


class TextFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z INFO task.claimed task_id=… attempt=1``."""

    def format(self, record: logging.LogRecord) -> str:
        words = [_moment(record), record.levelname, record.getMessage()]
        words += [f"{name}={_quoted(value)}" for name, value in _fields(record).items()]
        return "\n".join([" ".join(words), *_trace(self, record)])


class ColorFormatter(TextFormatter):
    """The same line for a terminal: the level in its color, the event bold, the time and the names of fields dim."""

    def format(self, record: logging.LogRecord) -> str:
        level = f"\x1b[{_COLORS.get(record.levelno, '0')}m{record.levelname}\x1b[0m"
        words = [f"\x1b[2m{_moment(record)}\x1b[0m", level, f"\x1b[1m{record.getMessage()}\x1b[0m"]
        words += [f"\x1b[2m{name}=\x1b[0m{_quoted(value)}" for name, value in _fields(record).items()]
        return "\n".join([" ".join(words), *_trace(self, record)])


def _has_colors(stream: TextIO) -> bool:
    """Return whether a stream is a terminal with colors, and its user wants them: see no-color.org."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    return wanted and stream.isatty()


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
    """Return the value bare if it cannot be misread, otherwise as a JSON string, so that one event stays one line."""
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
