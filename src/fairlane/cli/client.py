"""``fairlane client``: what helps to write programs that call the API."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.customer import DEFAULT_URL, Url
from fairlane.cli.output import note
from fairlane.cli.profiles import profile_in_force
from fairlane.client import ClientError
from fairlane.client.generating import fetch_description, module_text
from fairlane.errors import CommandFailed

commands = Commands(name="client", help="Help for programs that call the API.", no_args_is_help=True)


class Kind(StrEnum):
    """What payloads are written as."""

    STRUCT = "struct"
    PYDANTIC = "pydantic"


@commands.callback()
def client() -> None:
    """Help for programs that call the API."""


@commands.command(
    epilog="Examples: fairlane client generate --output shop_tasks.py; "
    "fairlane client generate --file openapi.json --style pydantic"
)
def generate(
    *,
    style: Annotated[Kind, typer.Option(metavar="struct|pydantic", help="What payloads are written as.")] = Kind.STRUCT,
    file: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A saved /openapi.json instead of a server's.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="The module to write. Default: standard output.", show_default=False),
    ] = None,
    url: Url = None,
) -> None:
    """Write a typed Python module from the server's /openapi.json.

    It has a class for each payload, and a task type for client.run. For programs that cannot import the handlers. No
    key is needed.
    """
    try:
        text = module_text(_description(url, file), style.value)
    except ClientError as error:
        raise CommandFailed(str(error)) from error
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, "utf-8")
    except OSError as error:
        raise CommandFailed(f"{output} cannot be written: {error.strerror}") from error
    note(f"{output} is written")


def _description(url: str | None, file: Path | None) -> object:
    if file is None:
        profile = profile_in_force()
        return fetch_description(url or (DEFAULT_URL if profile is None else profile.url))
    try:
        return json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{file} cannot be read as JSON: {error}") from error
