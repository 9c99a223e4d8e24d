"""Hints about commits for waiting requests. A hint may be lost, late, or come twice, and nothing depends on it.

The store thread collects them, the event loop passes them to this server's subscribers, and on PostgreSQL they travel
to the other servers as payloads of NOTIFY.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

NOBODY: frozenset[str] = frozenset()

PAYLOAD_BYTES = 7_500
"""A payload of NOTIFY has to be shorter than 8,000 bytes."""
PAYLOADS_MOST = 20
"""Most payloads at once; requests that wait for the rest find it at their next poll."""

STARTABLE, ENDED, CANCELED, CALLS_ENDED = "startable", "ended", "canceled", "calls"


class Hints(Struct, frozen=True):
    """What one or several transactions changed."""

    startable: frozenset[str] = NOBODY
    """Task types of which a task or call can start now."""
    paused_until: int | None = None
    """When a paused task or call becomes ready."""
    owed: bool = False
    """A delivery became due."""
    calls_ended: bool = False
    """A call with a waiting caller ended."""
    ended: frozenset[str] = NOBODY
    """Tasks that ended or were cleared."""
    canceled: frozenset[str] = NOBODY
    """Sessions that hold canceled leases."""

    def for_others(self) -> bool:
        """Return whether requests at other servers may wait for these. Each server handles its own due times."""
        return bool(self.startable or self.calls_ended or self.ended or self.canceled)

    def joined(self, other: "Hints") -> "Hints":
        """Combine what both hints mean for other servers."""
        return Hints(
            startable=self.startable | other.startable,
            calls_ended=self.calls_ended or other.calls_ended,
            ended=self.ended | other.ended,
            canceled=self.canceled | other.canceled,
        )


def payloads(hints: Hints) -> list[str]:
    """Return the payloads for other servers: each text is short enough for one NOTIFY, and their number is limited."""
    made: list[str] = []
    words: list[bytes] = []
    size = 0
    for kind, name in _words(hints):
        word = msgspec.json.encode((kind, name))
        if words and size + len(word) + 1 > PAYLOAD_BYTES:
            made.append(_text(words))
            words, size = [], 0
            if len(made) == PAYLOADS_MOST:
                return made
        words.append(word)
        size += len(word) + 1
    return [*made, _text(words)] if words else made


def read_payload(text: str) -> Hints:
    """Read another server's payload; return empty hints if another release wrote it."""
    try:
        said: list[tuple[str, str]] = msgspec.json.decode(text, type=list[tuple[str, str]])
    except msgspec.DecodeError:
        return Hints()
    return Hints(
        startable=frozenset(name for kind, name in said if kind == STARTABLE),
        calls_ended=any(kind == CALLS_ENDED for kind, _ in said),
        ended=frozenset(name for kind, name in said if kind == ENDED),
        canceled=frozenset(name for kind, name in said if kind == CANCELED),
    )


def _words(hints: Hints) -> Iterator[tuple[str, str]]:
    """Yield the most useful hints first: there may be too many."""
    if hints.calls_ended:
        yield CALLS_ENDED, ""
    for kind, names in ((STARTABLE, hints.startable), (CANCELED, hints.canceled), (ENDED, hints.ended)):
        for name in sorted(names):
            yield kind, name


def _text(words: Iterable[bytes]) -> str:
    return "[" + b",".join(words).decode() + "]"
