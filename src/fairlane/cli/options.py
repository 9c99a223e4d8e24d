"""Options and arguments that several commands share."""

import re
from pathlib import Path
from typing import Annotated

import typer
from msgspec import UNSET, UnsetType

from fairlane.cli.names import organization_names
from fairlane.settings import CONFIG_VARIABLE, usual_database

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]

DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        "--server",
        help="A database, sqlite:///PATH, or a remote server, https://HOST:PORT. The server asks "
        "for the admin key in FAIRLANE_ADMIN_KEY or in the file FAIRLANE_ADMIN_KEY_FILE. Default: a file in your data "
        "directory.",
        envvar=["FAIRLANE_SERVER", "FAIRLANE_DATABASE"],
        metavar="ADDRESS",
        show_default=False,
    ),
]

OwnDatabase = Annotated[
    str | None,
    typer.Option(
        "--database",
        help="The database, sqlite:///PATH or postgresql://USER@HOST/NAME. Default: a file in your data directory.",
        envvar="FAIRLANE_DATABASE",
        metavar="ADDRESS",
        show_default=False,
    ),
]

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="A TOML file with settings, such as port = 8000. Options and variables override it.",
        envvar=CONFIG_VARIABLE,
        metavar="FILE",
        show_default=False,
    ),
]

AppReference = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:APP", help="The module and name of the Fairlane object, such as examples.quickstart:app."
    ),
]

Places = Annotated[
    int | None,
    typer.Option(
        "--places", metavar="N", help="Attempts that one worker runs at once. Default: 10.", show_default=False
    ),
]

DrainSeconds = Annotated[
    float | None,
    typer.Option(
        "--drain-seconds",
        metavar="SECONDS",
        help="How long running attempts may take to finish after the signal to end. Default: 30.",
        show_default=False,
    ),
]

LogFormat = Annotated[
    str | None,
    typer.Option("--log-format", metavar="text|json", help="Format of the log. Default: text.", show_default=False),
]

LogLevel = Annotated[
    str | None,
    typer.Option(
        "--log-level", metavar="LEVEL", help="Least level of logged events. Default: INFO.", show_default=False
    ),
]

_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d|)", re.ASCII)
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}

OrganizationName = Annotated[
    str,
    typer.Argument(metavar="ORGANIZATION", help="The organization's name.", autocompletion=organization_names),
]


def number_or(word: str, text: str | None, *, option: str) -> int | UnsetType | None:
    """Return the meaning of an option that takes a whole number or one word.

    Returns:
        UNSET if the option was not given, None for the word, or else the number.
    """
    if text is None:
        return UNSET
    if text == word:
        return None
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(
            f"{text!r} is neither a whole number nor the word {word!r}", param_hint=option
        ) from None


def names_or(word: str, text: str | None) -> list[str] | UnsetType | None:
    """Return the meaning of an option that takes names, separated by commas, or one word.

    Returns:
        UNSET if the option was not given, None for the word, or else the names.
    """
    if text is None:
        return UNSET
    return None if text == word else [name.strip() for name in text.split(",")]


def database_in_force(database: str | None) -> str:
    """Return the database of a command: its flag or variable, or that of the settings file, or else the default."""
    return usual_database() if database is None else database


def seconds_or(word: str, text: str | None, *, option: str) -> int | UnsetType | None:
    """Return the meaning of an option that takes a length of time or one word, as :func:`number_or` does."""
    if text is None:
        return UNSET
    return None if text == word else round(seconds_of(text, option))


def time_text(seconds: int) -> str:
    """Return a length of time as :func:`seconds_of` reads it, in the largest unit that fits."""
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % _SECONDS[unit] == 0)
    return f"{seconds // _SECONDS[unit]}{unit}" if seconds else "0s"


def seconds_of(text: str, option: str) -> float:
    """Return a length of time such as 90s, 5m, 1h or 2d, in seconds; a number alone is of seconds."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not a time: give 90s, 5m or 1h", param_hint=option)
    return float(match[1]) * _SECONDS[match[2]]
