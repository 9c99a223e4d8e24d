"""Where ``fairlane login`` keeps addresses and keys: one private file in the platform's configuration folder.

Used by the commands of customers. The file is written as a whole under another name and then renamed, so that no
reader and no crash finds half of it.
"""

import os
import tempfile
from pathlib import Path

import msgspec
from msgspec import Struct

from fairlane.errors import CommandFailed
from fairlane.settings import config_folder

USUAL = "default"
"""The profile without FAIRLANE_PROFILE."""
OTHERS_BITS = 0o077


class Profile(Struct, frozen=True, forbid_unknown_fields=True):
    """One login."""

    url: str
    key: str


def profiles_path() -> Path:
    """Return the file of all profiles."""
    return config_folder() / "profiles.json"


def profile_in_force() -> Profile | None:
    """Return the profile that FAIRLANE_PROFILE names, or the usual one; None without a login.

    Raises:
        CommandFailed: there is none by the name of the variable, or the file cannot be used.
    """
    name = os.environ.get("FAIRLANE_PROFILE")
    found = read_profiles().get(name or USUAL)
    if name and found is None:
        raise CommandFailed(f"there is no profile {name!r} (FAIRLANE_PROFILE): make it with `fairlane login URL`")
    return found


def read_profiles() -> dict[str, Profile]:
    """Return all profiles by name.

    Raises:
        CommandFailed: other users may read the file, or it is damaged.
    """
    path = profiles_path()
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & OTHERS_BITS:
                raise CommandFailed(f"other users can read the keys in {path}: run `chmod 600 {path}`")
            return msgspec.json.decode(file.read(), type=dict[str, Profile])
    except FileNotFoundError:
        return {}
    except (OSError, msgspec.DecodeError) as error:
        raise CommandFailed(f"{path} cannot be read: delete it and log in again; {error}") from error


def write_profiles(profiles: dict[str, Profile]) -> None:
    """Replace the file, or delete it if no profile is left."""
    path = profiles_path()
    try:
        if not profiles:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(prefix=".profiles-", dir=path.parent)  # with mode 0600
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(profiles), indent=2) + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from error
