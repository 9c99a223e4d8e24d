"""``fairlane login`` and ``fairlane logout``: keep an address and a key for the commands of customers."""

import sys
from typing import Annotated
from urllib.parse import urlsplit

import typer

from fairlane.cli.commands import Commands
from fairlane.cli.customer import DEFAULT_URL, KINDS_OF_KEYS, asked
from fairlane.cli.options import AsJson
from fairlane.cli.output import note, print_json
from fairlane.cli.profiles import USUAL, Profile, profiles_path, read_profiles, write_profiles
from fairlane.client import AsyncClient, Status
from fairlane.errors import CommandFailed

commands = Commands()

ProfileOption = Annotated[
    str,
    typer.Option(
        "--profile", metavar="NAME", envvar="FAIRLANE_PROFILE",
        help="Where to keep it, if you use several servers; commands use the one in FAIRLANE_PROFILE.",
    ),
]  # fmt: skip


@commands.command(
    epilog="Examples: fairlane login http://127.0.0.1:8000; fairlane login https://api.example < key.txt; "
    "fairlane login https://staging.example --profile staging"
)
def login(
    url: Annotated[str, typer.Argument(metavar="URL", help="The API's address.")] = DEFAULT_URL,
    *,
    profile: ProfileOption = USUAL,
    as_json: AsJson = False,
) -> None:
    """Keep the address and the key of an organization.

    The key is asked for, or read from standard input: an argument could be read by other users. It is tried once, and
    kept in a file that only you can read. FAIRLANE_URL, FAIRLANE_API_KEY and options override it.
    """
    key = read_key()
    profiles = read_profiles()  # refused before the key is sent, if it could not be kept
    status = asked(url, key, _status, source="you gave")
    write_profiles(profiles | {profile: Profile(url, key)})
    if as_json:
        print_json({"url": url, "profile": profile, "path": str(profiles_path())})
        return
    slots = status.concurrency
    held = "" if slots is None else f", {slots.used} of {slots.max} slots used"
    print(f"Logged in at {url}: {status.queued_tasks} queued{held}. The key is in {profiles_path()}.")
    if urlsplit(url).scheme == "http" and urlsplit(url).hostname not in ("127.0.0.1", "localhost", "::1"):
        note("this address is http: each request sends the key unencrypted")


@commands.command(epilog="Example: fairlane logout")
def logout(*, profile: ProfileOption = USUAL, as_json: AsJson = False) -> None:
    """Delete the address and the key that login kept. The key itself stays valid until an operator revokes it."""
    profiles = read_profiles()
    gone = profiles.pop(profile, None)
    if gone is not None:
        write_profiles(profiles)
    if as_json:
        print_json({"url": None if gone is None else gone.url, "profile": profile})
    else:
        print("You were not logged in." if gone is None else f"Logged out of {gone.url}.")


async def _status(client: AsyncClient) -> Status:
    return await client.status()


def read_key() -> str:
    """Ask for the key without showing it, or read the first line of standard input.

    Raises:
        CommandFailed: there is none, or it is of another kind.
    """
    typed = typer.prompt("The organization's key", hide_input=True, err=True) if sys.stdin.isatty() else None
    key = (sys.stdin.readline() if typed is None else str(typed)).strip()
    if not key:
        raise CommandFailed("there is no key on standard input: pipe it in, or log in on a terminal")
    if (kind := KINDS_OF_KEYS.get(key[:3])) is not None:
        raise CommandFailed(f"this key is {kind}: login takes an organization's, which begins with sk_")
    return key
