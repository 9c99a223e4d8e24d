"""``fairlane run``: one handler in this process, without server or database."""

import sys
from typing import Annotated

import typer

from fairlane.cli import attempt as attempts
from fairlane.cli.commands import Commands
from fairlane.cli.options import AppReference, AsJson

commands = Commands()


@commands.command(epilog='Example: fairlane run examples.quickstart:app COUNT_WORDS --payload \'{"text": "to be"}\'')
def run(
    app: AppReference,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The task type, such as COUNT_WORDS.")],
    *,
    payload: Annotated[
        str, typer.Option(metavar="JSON|-", help="The payload, a JSON object; - reads it from standard input.")
    ],
    attempt: Annotated[int, typer.Option(min=1, metavar="N", help="The attempt number for the handler.")] = 1,
    organization: Annotated[str, typer.Option(metavar="NAME", help="The organization for the handler.")] = "local",
    as_json: AsJson = False,
) -> None:
    """Run one handler in this process.

    The payload is checked as strictly as by the API, start and stop hooks run, and the result is printed. Exit code 1
    if the attempt does not complete, 3 if the application cannot be used.
    """
    body = sys.stdin.buffer.read() if payload == "-" else payload.encode(errors="surrogateescape")
    attempts.run_attempt(app, name, body, attempt=attempt, organization=organization, as_json=as_json)
