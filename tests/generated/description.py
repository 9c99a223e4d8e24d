"""From which description clients were generated last: what the generators read of it, as a digest in ``proved.txt``."""

import hashlib
import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
DESCRIPTION = ROOT / "docs" / "api" / "openapi.json"
PROVED = Path(__file__).parent / "proved.txt"
PROGRAMS = (
    "requirements/clients.txt",
    "tests/generated/node/package-lock.json",
    "tests/generated/node/program.ts",
    "tests/generated/program.py",
)
"""The generators, and the programs that use what they made."""


def digest(description: bytes) -> str:
    """Return the digest of what decides how generated clients work: all but the texts for readers."""
    found = hashlib.sha256(json.dumps(_without_texts(json.loads(description)), sort_keys=True).encode())
    for name in PROGRAMS:
        found.update((ROOT / name).read_bytes())
    return found.hexdigest()


def _without_texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_texts(one) for one in value]
    if not isinstance(value, dict):
        return value
    texts = ("description", "summary")
    return {name: _without_texts(one) for name, one in value.items() if not (name in texts and isinstance(one, str))}
