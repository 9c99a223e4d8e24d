"""Secrets of known values, looked for in whatever comes out of programs: see ``tests/proof/canaries.py``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

SHORTEST = 12
"""This many characters of a secret, from its first random one on, give it away. A key's last four are shown."""
BEGINNINGS = re.compile(r"^(?:(?:sk|wk|ak)_[a-z]+_|whsec_)")


def canaries_in(text: bytes, canaries: Mapping[str, str]) -> Iterator[str]:
    """Yield the names of those secrets whose value, or enough of it, is in a text."""
    for name, value in canaries.items():
        start = BEGINNINGS.sub("", value)[:SHORTEST]
        if start.encode() in text:
            yield name


def files_with(folders: Iterable[Path], canaries: Mapping[str, str], pattern: str) -> Iterator[str]:
    """Yield the files with this pattern of name that have one of these secrets, and which."""
    for folder in folders:
        for path in sorted(folder.rglob(pattern)):
            if path.is_file():
                yield from (f"{path.name}: {name}" for name in canaries_in(_read(path), canaries))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # a file of another owner, or one that was removed meanwhile
        return b""
