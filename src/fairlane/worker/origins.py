"""Where a handler's exception comes from: its class, and the innermost function of the application.

Names alone, as in the log: never the text of the exception, a value, or a path of this machine.
"""

import sysconfig
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from fairlane import logs
from fairlane.protocol import ORIGIN_LENGTH_MOST, OriginBody

PLAIN = ("builtins", "fairlane.errors")
"""Modules that are left out of the names of their exceptions."""
FRAMES_MOST = 10
"""Most frames of a trace: the innermost ones."""
OWN_PACKAGE = __name__.partition(".")[0]
INSTALLED = frozenset(["site-packages", "dist-packages"])
"""Folders of libraries."""


def origin_of(error: BaseException, handler: Callable[..., Any], *, named: bool = True) -> OriginBody:
    """Return where this exception of a handler comes from; with ``named`` False without its class.

    A frame is the application's if its module is of the handler's package, or if its file is not a library's.
    """
    chain, raised_at = logs.first_of(error)
    of_handler = str(getattr(handler, "__module__", ""))
    place, line = "", 0
    for frame, number in walk_tb(raised_at):
        if _is_of_application(frame, of_handler):
            place, line = f"{_module(frame)}:{frame.f_code.co_qualname}", number
    name = " of ".join([_class(one) for one in chain])
    return OriginBody(exception=_short(name) if named else "", place=_short(place), line=line)


def trace_of(error: BaseException) -> str:
    """Return the innermost frames of an exception, the innermost first: names and lines, without values and paths.

    Frames of fairlane itself are left out.
    """
    _, raised_at = logs.first_of(error)
    frames = [
        f"at {_short(f'{module}:{frame.f_code.co_qualname}')}, line {line}"
        for frame, line in walk_tb(raised_at)
        if (module := _module(frame)).partition(".")[0] != OWN_PACKAGE
    ]
    return "\n".join(reversed(frames[-FRAMES_MOST:]))


def _class(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ in PLAIN else f"{kind.__module__}.{kind.__qualname__}"


def _is_of_application(frame: FrameType, of_handler: str) -> bool:
    module = _module(frame)
    package = of_handler.partition(".")[0]
    if package == OWN_PACKAGE:  # the demo: fairlane's own frames are not its
        return module == of_handler
    return module.partition(".")[0] == package or not _is_of_library(frame.f_code.co_filename)


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@lru_cache(maxsize=1_024)
def _is_of_library(file: str) -> bool:
    """Return whether a file is of a library. Code without a file counts as a library's."""
    path = Path(file)
    return (
        file.startswith("<")
        or not INSTALLED.isdisjoint(path.parts)
        or any(path.is_relative_to(folder) for folder in _library_folders())
    )


@cache
def _library_folders() -> tuple[Path, ...]:
    standard = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return (*standard, Path(__file__).parents[1])


def _short(text: str) -> str:
    """Return a name as a report can carry it: printable, and not too long; of a long one the end."""
    cut = text[-ORIGIN_LENGTH_MOST:].encode(errors="replace").decode()
    return "".join([one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in cut])
