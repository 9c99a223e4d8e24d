"""What the import of an application may change for its whole process: taken before, compared and put back after.

Used around the import by the server and by worker processes. A worker process keeps what handlers may rely on, such as
the working directory; a server, which runs no handler, keeps nothing that could change what it does.
"""

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from fairlane.logs import KeptLogging

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGCHLD)
"""Signals whose handling decides how fairlane ends, writes to closed connections and waits for its processes."""

logger = logging.getLogger(__name__)


class Surroundings:
    """The state of this process before an application is imported.

    Args:
        hosts_handlers: This process runs handlers.
    """

    def __init__(self, *, hosts_handlers: bool) -> None:
        self._hosts_handlers = hosts_handlers
        self.folder = _folder()
        """The working directory; empty: it is not there any more."""
        self._path = list(sys.path)
        self._variables = dict(os.environ)
        self._signals = {number: signal.getsignal(number) for number in SIGNALS}
        self._blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._streams = sys.stdout, sys.stderr
        self._filters = list(warnings.filters)
        self._umask = _umask()
        self._socket_timeout = socket.getdefaulttimeout()
        self._collects = gc.isenabled()
        self._logging = KeptLogging()

    def put_back(self) -> list[str]:
        """Put back what fairlane needs, and log what the application had changed of it. Returns that in words."""
        changed = [*self._logging.put_back(), *self._signals_put_back(), *self._path_put_back()]
        if not self._hosts_handlers:
            changed += self._server_put_back()
        if changed:
            logger.warning("application.changed", extra={"changed": "; ".join(changed)})
        return changed

    def _signals_put_back(self) -> Iterator[str]:
        for number, before in self._signals.items():
            if signal.getsignal(number) != before and before is not None:
                signal.signal(number, before)
                yield f"the handler of {number.name}"
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ()) - self._blocked
        if mine := blocked & set(SIGNALS):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, mine)
            yield "blocked signals"

    def _path_put_back(self) -> Iterator[str]:
        missing = [entry for entry in self._path if entry not in sys.path]
        if missing:
            sys.path.extend(missing)
            yield "entries of sys.path"

    def _server_put_back(self) -> Iterator[str]:
        if self.folder and _folder() != self.folder:
            os.chdir(self.folder)
            yield "the working directory"
        lost = {name: value for name, value in self._variables.items() if os.environ.get(name) != value}
        if lost:
            os.environ.update(lost)
            yield f"environment variables ({', '.join(sorted(lost)[:5])})"
        if (sys.stdout, sys.stderr) != self._streams:
            sys.stdout, sys.stderr = self._streams
            yield "sys.stdout or sys.stderr"
        if warnings.filters != self._filters:
            warnings.filters[:] = self._filters  # type: ignore[index]
            yield "the filters of warnings"
        if _umask() != self._umask:
            os.umask(self._umask)
            yield "the umask"
        if socket.getdefaulttimeout() != self._socket_timeout:
            socket.setdefaulttimeout(self._socket_timeout)
            yield "the default timeout of sockets"
        if self._collects and not gc.isenabled():
            gc.enable()
            yield "the garbage collector"


def _folder() -> str:
    with contextlib.suppress(OSError):
        return str(Path.cwd())
    return ""


def _umask() -> int:
    """Read the umask, which is only told when it is set."""
    found = os.umask(0o077)
    os.umask(found)
    return found
