"""The options of worker processes and isolated ones: written once here, passed on as one JSON argument."""

import os
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from fairlane.protocol import NAME_LENGTH_MOST
from fairlane.worker.watcher import marked

KEY_VARIABLE = "FAIRLANE_WORKER_KEY"


class Options(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The options of a child. A field with the name of a setting has its meaning, too."""

    app_reference: str
    """The application, as :func:`fairlane.handlers.load_app` takes it."""
    servers: tuple[str, ...] = ()
    """Addresses of servers on one database: ``unix:PATH``, or URLs. Any one that answers is enough. An isolated process
    speaks to none."""
    key: str | None = None
    """The worker key, or None if the socket needs none. Passed in the environment: all users can see arguments."""
    places: int = 1
    """Attempts that one process runs at once."""
    wait_seconds: float = 20.0
    """How long an exchange without news waits at the server."""
    kill_grace_seconds: float = 5.0
    """How long an attempt past its deadline may take to end before its process is killed."""
    result_limit_bytes: int = 8_388_608
    """Largest result of one task."""
    log_level: str = "INFO"
    log_format: str = "text"
    log_error_text: bool = False
    traces: bool = False
    inherit_fds: tuple[int, ...] = ()
    """Descriptors that every child holds open as long as it lives, such as the lock of the database."""
    channel: int = -1
    """The descriptor of the child's end of the channel to its parent."""
    version: str = ""
    """The release of fairlane, told to the server for operators."""
    folder: str = ""
    """Folder in which isolated processes start: the application's reference may be relative to it."""

    @property
    def local(self) -> bool:
        """Return whether this is a child of the server itself, connected to it by a unix socket."""
        return all(server.startswith("unix:") for server in self.servers)

    @property
    def application(self) -> str:
        """Return the reference to the application as servers are told it."""
        return "".join(letter if letter.isprintable() else "?" for letter in self.app_reference)[-NAME_LENGTH_MOST:]

    def environment(self) -> dict[str, str]:
        """Return the environment for a child with these options."""
        environment = {name: value for name, value in os.environ.items() if name != KEY_VARIABLE}
        return marked(environment if self.key is None else environment | {KEY_VARIABLE: self.key})

    def argument(self, *, channel: int, inherit_fds: Sequence[int]) -> str:
        """Return these options, without the key, as the one argument of a child with these descriptors."""
        told = replace(self, key=None, channel=channel, inherit_fds=tuple(inherit_fds))
        return msgspec.json.encode(told).decode()


def read_options(arguments: Sequence[str]) -> Options:
    """Read the options of this process from its command line, and the key from its environment."""
    try:
        _, argument = arguments
        options = msgspec.json.decode(argument, type=Options)
    except (ValueError, msgspec.DecodeError):
        sys.exit("this program is started by fairlane; it is not meant to be run by hand")
    # Removed from the environment: programs that handlers start must not see it.
    return replace(options, key=os.environ.pop(KEY_VARIABLE, None))
