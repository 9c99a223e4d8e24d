"""The way from the command line to the customers' API: address and key, and what its errors are here.

For commands that an organization uses on its own. They need no database and no access to the server's machine.
"""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

import typer

from fairlane.cli.failures import CommandFailed

if TYPE_CHECKING:
    from fairlane.client import AsyncClient

Result = TypeVar("Result")

RETRIES = 10
"""With its pauses about forty seconds: as long as a server takes to be started again."""

Url = Annotated[
    str | None,
    typer.Option(
        "--url", metavar="URL", help="Where the API is, such as https://api.example.", envvar="FAIRLANE_URL",
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
    """The API gave no usable answer; nobody knows whether the last request was carried out."""

    exit_code: ClassVar[int] = 6


class StillRunning(CommandFailed):
    """What was waited for had not ended in time."""

    exit_code: ClassVar[int] = 7


def ask(url: str | None, key_file: Path | None, work: "Callable[[AsyncClient], Awaitable[Result]]") -> Result:
    """Run something with a client of the API.

    Raises:
        CommandFailed: the API said no, or nothing.
    """
    import asyncio

    from fairlane.client import ApiError, AsyncClient, ClientError, NoAnswer, NotInTime, SetupMissing

    async def once() -> Result:
        async with AsyncClient(url, _key(key_file), retries=RETRIES) as client:
            return await work(client)

    try:
        return asyncio.run(once())
    except SetupMissing as error:
        raise CommandFailed(f"{error} (or give --url and --key-file)") from error
    except NoAnswer as error:
        raise NotAnswered(str(error)) from error
    except NotInTime as error:
        raise StillRunning(str(error)) from error
    except ApiError as error:
        raise CommandFailed(f"{error.code}: {error.message}", details=error.details) from error
    except ClientError as error:
        raise CommandFailed(str(error)) from error


def plain(record: Any) -> Any:
    """A record of the client as JSON with the API's own names."""
    import msgspec

    return msgspec.to_builtins(record)


def _key(key_file: Path | None) -> str | None:
    if key_file is None:
        return os.environ.get("FAIRLANE_API_KEY")
    try:
        return key_file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read the key file {key_file}: {error}") from error
