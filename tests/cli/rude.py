"""An application whose import changes all that it can for its whole process."""

import asyncio
import gc
import io
import locale
import logging
import logging.config
import os
import signal
import socket
import sys
import warnings

from fairlane import Fairlane

app = Fairlane()


def change_everything() -> None:
    """Leave nothing as it was."""
    logging.basicConfig(force=True, level=logging.CRITICAL, stream=io.StringIO())
    logging.config.dictConfig({"version": 1, "root": {"level": "CRITICAL", "handlers": []}})
    logging.disable(logging.CRITICAL)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    locale.setlocale(locale.LC_ALL, "C")
    warnings.simplefilter("error")
    socket.setdefaulttimeout(0.01)
    gc.disable()
    os.umask(0o777)
    os.chdir("/")
    os.environ["FAIRLANE_DATABASE"] = "sqlite:////nowhere/x.db"
    for name in ("XDG_RUNTIME_DIR", "PATH", "HOME"):
        os.environ.pop(name, None)
    sys.path[:] = []
    sys.stdout = sys.stderr = io.StringIO()


asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())
change_everything()
app.on_start(change_everything)


@app.task("ON_LOOP", attempts=1)
async def on_loop(payload: dict[str, str]) -> None:
    """Raise."""
    raise LookupError


@app.task("ALONE", attempts=1, isolation="process")
def alone(payload: dict[str, str]) -> None:
    """Raise in a process of its own."""
    raise LookupError
