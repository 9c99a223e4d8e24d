"""While tests run, what programs print, log and answer is searched for keys and secrets. A test that shows one fails.

Every secret of the tests has a form that nothing else has. Searched are: all log records of this process, from DEBUG
on; the answers that its HTTP clients read; what its commands and the programs that it starts print, into a pipe, a
file or the test's own output; the arguments of programs. ``SHOWN`` lists what is meant to show one.
"""

import logging
import os
import re
import subprocess
import weakref
from collections.abc import Generator
from typing import Any, BinaryIO

import httpx2
import pytest

from tests.cluster import PASSWORD

HINTS = (b"k_", b"whsec_", PASSWORD.encode())
"""One of them is in every text with a secret: quicker to look for than ``SECRET``."""
SECRET = re.compile(rb"(?:sk|wk|ak)_[a-z]+_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/]{16,}|" + re.escape(PASSWORD.encode()))
SHOWN = {
    r"answer POST (/admin/v1(/organizations/[^/]+)?|/dashboard/access)/(keys|webhook-secrets)$":
        "what was made is shown once, to the caller that made it",
    r"output .*fairlane (keys|webhooks secrets) create ": "the same, by a command",
    r"arguments .*fairlane (keys create|demo) .*(--value|--postgres) ": "the caller chose this key or this database",
    r"arguments \S* \S*/tests/": "programs of the tests, not of fairlane",
    r"arguments st ": "Schemathesis takes the key that it sends as an argument",
    r"(arguments|output) ((ba)?sh -|curl )": "commands of documents, with the keys that these show",
    r"errors .*fairlane demo ": "the last line is a request that can be sent to the demo's server, with its key",
}  # fmt: skip
"""Places, as patterns, that are meant to show a secret, and why."""
SHOWN_CHARACTERS = 12
"""Of what was found: enough to recognize it, too few to be found again in the report."""
PLACE_CHARACTERS = 160
SERVER_THREAD = "fairlane-test-server"
"""Runs a server of HTTP tests; the name of its folder follows."""
SHARED_THREAD = f"{SERVER_THREAD}-shared"
"""Runs the server that all HTTP tests of a process share, which logs when it has something to."""
STANDARD = frozenset(vars(logging.makeLogRecord({}))) - {"msg", "args"}


class Watch(logging.Handler):
    """What was found in this process since the last test."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._files: list[tuple[weakref.ref[Any], BinaryIO]] = []
        self._shown = [re.compile(place) for place in SHOWN]

    def note(self, place: str, text: bytes) -> None:
        """Search what came out at a place."""
        if not any(hint in text for hint in HINTS):
            return
        for secret in {one.group() for one in SECRET.finditer(text)}:
            if not any(shown.match(place) for shown in self._shown):
                told = f"{place[:PLACE_CHARACTERS]}: ".encode() + secret
                self.found.append(SECRET.sub(lambda one: one.group()[:SHOWN_CHARACTERS] + b"...", told).decode())

    def emit(self, record: logging.LogRecord) -> None:
        """Search a record of fairlane's own with its fields."""
        said = [str(value) for name, value in vars(record).items() if name not in STANDARD]
        self.note(f"log {record.getMessage()}", " ".join(said).encode())

    def answered(self, response: httpx2.Response, content: bytes) -> None:
        """Search an answer with its headers."""
        try:
            request = response.request
        except RuntimeError:  # a test made it, and no server
            return
        headers = b"".join(value for name, value in response.headers.raw if name != b"set-cookie")
        self.note(f"answer {request.method} {request.url.path}", content + headers)

    def started(self, process: "subprocess.Popen[Any]", *files: Any) -> None:
        """Search the arguments of a program, and what it writes to these files until it ends."""
        self.note(f"arguments {_named(process)}", " ".join(_words(process)).encode())
        for file in files:
            name = getattr(file, "name", None)
            if isinstance(name, str) and os.path.isfile(name):
                opened = open(name, "rb")  # noqa: SIM115 - until the program ends
                opened.seek(0, os.SEEK_END)
                self._files.append((weakref.ref(process), opened))

    def look(self) -> list[str]:
        """Search the programs' files; return all that was found, once."""
        left = []
        for process, file in self._files:
            running = (one := process()) is not None and one.returncode is None
            self.note(f"file {file.name}", file.read())
            if running:
                left.append((process, file))
            else:
                file.close()
        self._files = left
        found, self.found = self.found, []
        return sorted(set(found))

    # What pytest calls -----------------------------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        """Search what a test printed, and fail its end if anything was found."""
        report = yield
        if report.when == "teardown":
            for title, text in report.sections:
                self.note(f"{title} of {item.nodeid}", text.encode(errors="replace"))
            if (found := self.look()) and report.passed:
                report.outcome = "failed"
                report.longrepr = "secrets were shown (tests/watching.py):\n" + "\n".join(found)
        return report


WATCH = Watch()


def pytest_configure(config: pytest.Config) -> None:
    """Watch this process from now on."""
    config.pluginmanager.register(WATCH)
    begin(WATCH)


def begin(watch: Watch) -> None:
    """Let it hear of records, answers and programs."""
    own = logging.getLogger("fairlane")
    own.setLevel(logging.DEBUG)
    own.addHandler(watch)
    read, aread = httpx2.Response.read, httpx2.Response.aread
    start, communicate = subprocess.Popen.__init__, subprocess.Popen.communicate

    def read_watched(self: httpx2.Response) -> bytes:
        fresh = not hasattr(self, "_content")
        content = read(self)
        if fresh:
            watch.answered(self, content)
        return content

    async def aread_watched(self: httpx2.Response) -> bytes:
        fresh = not hasattr(self, "_content")
        content = await aread(self)
        if fresh:
            watch.answered(self, content)
        return content

    def start_watched(self: Any, *arguments: Any, **named: Any) -> None:
        start(self, *arguments, **named)
        watch.started(self, named.get("stdout"), named.get("stderr"))

    def communicate_watched(self: Any, *arguments: Any, **named: Any) -> Any:
        out, err = communicate(self, *arguments, **named)
        for kind, text in (("output", out), ("errors", err)):
            if text:
                watch.note(f"{kind} {_named(self)}", text.encode(errors="replace") if isinstance(text, str) else text)
        return out, err

    httpx2.Response.read = read_watched  # type: ignore[method-assign]
    httpx2.Response.aread = aread_watched  # type: ignore[method-assign]
    subprocess.Popen.__init__ = start_watched  # type: ignore[method-assign]
    subprocess.Popen.communicate = communicate_watched  # type: ignore[method-assign]


def _named(process: "subprocess.Popen[Any]") -> str:
    """Return the command of a program, without the folder that it is in."""
    program, *arguments = _words(process)
    return " ".join([os.path.basename(program), *arguments])


def _words(process: "subprocess.Popen[Any]") -> list[str]:
    arguments: Any = process.args
    return [os.fsdecode(one) for one in (arguments if isinstance(arguments, list | tuple) else [arguments])]
