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
from fairlane.client import ApiError, AsyncClient, ClientError, NoAnswer, NotInTime, SetupMissing, Unauthorized
from fairlane.errors import CommandFailed

Result = TypeVar("Result")

RETRIES = 10
"""Retries of a request. With their pauses about forty seconds, as long as a restart of a server takes."""

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="The API's address, such as https://api.example.", envvar="FAIRLANE_URL",
        show_default=False,
    ),
]  # fmt: skip

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file", metavar="PATH", show_default=False,
        help="A file with the organization's key. Default: the variable FAIRLANE_API_KEY. There is no option for the "
        "key itself: others could read it in the list of processes.",
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

    Raises:
        CommandFailed: the API refused, or did not answer.
    """
    key = _key(key_file)
    if not url:
        raise CommandFailed("the address of the API is missing: set FAIRLANE_URL, or give --url")
    if not key:
        raise CommandFailed("the organization's key is missing: set FAIRLANE_API_KEY, or give --key-file")

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
        raise CommandFailed(f"{error.code}: {error.message}{_about_the_key(key, key_file)}") from error
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


def _about_the_key(key: str | None, key_file: Path | None) -> str:
    """What to do about a key that was refused, without showing it."""
    source = "FAIRLANE_API_KEY" if key_file is None else str(key_file)
    kinds = {"wk_": "a worker's", "ak_": "an operator's"}
    kind = kinds.get((key or "")[:3])
    if kind is not None:
        return f"; the key in {source} is {kind}, and this command needs an organization's, which begins with sk_"
    return f"; the key is the one in {source}; an organization's key begins with sk_"


def _key(key_file: Path | None) -> str | None:
    if key_file is None:
        return os.environ.get("FAIRLANE_API_KEY")
    try:
        return key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read the key file {key_file}: {error}") from error
