"""The path from the command line to the customers' API: address, key, and its errors as exit codes.

For commands that an organization uses on its own. They need no database and no access to the server's machine.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import msgspec
import typer

from fairlane.cli.output import note
from fairlane.cli.profiles import profile_in_force
from fairlane.client import ApiError, AsyncClient, ClientError, NoAnswer, NotInTime, SetupMissing, Unauthorized
from fairlane.errors import CommandFailed

Result = TypeVar("Result")

DEFAULT_URL = "http://127.0.0.1:8000"
"""Where ``fairlane serve`` listens by default."""
KINDS_OF_KEYS = {"wk_": "a worker's", "ak_": "an operator's"}
"""The owner of a key that is not an organization's, by its first characters."""
RETRIES = 10
"""Retries of a request. With their pauses about forty seconds, as long as a restart of a server takes."""

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", envvar="FAIRLANE_URL",
        help="The API's address. Default: that of fairlane login, or http://127.0.0.1:8000.",
        show_default=False,
    ),
]  # fmt: skip

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file", metavar="PATH", show_default=False,
        help="A file with the organization's key. Default: the variable FAIRLANE_API_KEY, or the key of fairlane "
        "login. There is no option for the key itself: others could read it in the list of processes.",
    ),
]  # fmt: skip


class NotAnswered(CommandFailed):
    """The API gave no usable answer; it is unknown whether the last request was carried out."""

    exit_code: ClassVar[int] = 6


class StillRunning(CommandFailed):
    """The tasks to wait for had not ended in time."""

    exit_code: ClassVar[int] = 7


def with_client(url: str | None, key_file: Path | None, work: Callable[[AsyncClient], Awaitable[Result]]) -> Result:
    """Run a function with a client of the API.

    Without an address or a key in options or variables, those of ``fairlane login`` are used. Its key is sent to no
    other address than its own.

    Raises:
        CommandFailed: the API refused, or did not answer.
    """
    key = _key(key_file)
    if url and key:
        return asked(url, key, work, source=_source(key_file))
    profile = profile_in_force()
    address = url or (DEFAULT_URL if profile is None else profile.url)
    if key:
        return asked(address, key, work, source=_source(key_file))
    if profile is None or not _same(address, profile.url):
        elsewhere = "" if profile is None else f"; you are logged in at {profile.url}"
        raise CommandFailed(
            f"there is no key for {address}: run `fairlane login {address}`, set FAIRLANE_API_KEY, or give "
            f"--key-file{elsewhere}"
        )
    return asked(address, profile.key, work, source="of `fairlane login`")


def asked(url: str, key: str, work: Callable[[AsyncClient], Awaitable[Result]], *, source: str) -> Result:
    """Run a function with a client of the API at this address. ``source`` says where the key comes from.

    Raises:
        CommandFailed: the API refused, or did not answer.
    """

    async def once() -> Result:
        async with AsyncClient(url, key, retries=RETRIES, on_retry=_Impatience()) as client:
            return await work(client)

    try:
        return asyncio.run(once())
    except SetupMissing as error:
        raise CommandFailed(f"{error} (--url or FAIRLANE_URL, --key-file or FAIRLANE_API_KEY)") from error
    except NoAnswer as error:
        cure = "start the server, or correct the address: " if not error.sent else "the address is "
        raise NotAnswered(f"{error}; {cure}--url or FAIRLANE_URL") from error
    except NotInTime as error:
        raise StillRunning(str(error)) from error
    except Unauthorized as error:
        raise CommandFailed(f"{error.code}: {error.message}{_about_the_key(key, source)}") from error
    except ApiError as error:
        elsewhere = "; this is not an answer of fairlane's API: check the address (--url or FAIRLANE_URL)"
        strange = elsewhere if error.code == f"HTTP_{error.status}" else ""
        raise CommandFailed(f"{error.code}: {error.message}{strange}", details=error.details) from error
    except ClientError as error:
        raise CommandFailed(str(error)) from error


class _Impatience:
    """Tells the person at the terminal, once for each reason, why an answer is late."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, error: Exception, seconds: float) -> None:
        if str(error) != self._told:
            self._told = str(error)
            note(f"{error}; trying again, up to {RETRIES} times")


def plain(record: Any) -> Any:
    """Return a record of the client as JSON with the API's own names."""
    return msgspec.to_builtins(record)


def _about_the_key(key: str, source: str) -> str:
    """What to do about a key that was refused, without showing it."""
    kind = KINDS_OF_KEYS.get(key[:3])
    if kind is not None:
        return f"; the key {source} is {kind}, and this command needs an organization's, which begins with sk_"
    return f"; the key is the one {source}; an organization's key begins with sk_"


def _source(key_file: Path | None) -> str:
    return "in FAIRLANE_API_KEY" if key_file is None else f"in {key_file}"


def _same(address: str, other: str) -> bool:
    """Return whether two addresses are the same API, with or without its version at the end."""
    return address.rstrip("/").removesuffix("/v1") == other.rstrip("/").removesuffix("/v1")


def _key(key_file: Path | None) -> str | None:
    if key_file is None:
        return os.environ.get("FAIRLANE_API_KEY")
    try:
        return key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read the key file {key_file}: {error}") from error
