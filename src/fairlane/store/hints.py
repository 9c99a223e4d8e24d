"""Hints: what a commit may mean for whoever waits. They may be lost, late, or come twice, and nothing depends on them.

The store thread collects them, the event loop hands them to this server's listeners, and on PostgreSQL they travel to
the other servers as payloads of NOTIFY.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

NOBODY: frozenset[str] = frozenset()

PAYLOAD_BYTES = 7_500
"""A payload of NOTIFY has to be shorter than 8,000 bytes."""
PAYLOADS_MOST = 20
"""So many at once; whoever waits for the rest finds it when it looks."""

STARTABLE, ENDED, CANCELED, CALLS_ENDED = "startable", "ended", "canceled", "calls"


class Hints(Struct, frozen=True):
    """What one transaction, or several, did."""

    startable: frozenset[str] = NOBODY
    """Task types of which something can start now."""
    paused_until: int | None = None
    """The moment at which something that was paused becomes ready."""
    owed: bool = False
    """A delivery became due."""
    calls_ended: bool = False
    """A call ended that somebody waits for."""
    ended: frozenset[str] = NOBODY
    """Tasks that ended, or were cleared."""
    canceled: frozenset[str] = NOBODY
    """Sessions that hold leases which are to end."""

    def for_others(self) -> bool:
        """Whether another server might have somebody who waits for it: what is due is its own server's to see to."""
        return bool(self.startable or self.calls_ended or self.ended or self.canceled)

    def joined(self, other: "Hints") -> "Hints":
        """What both say to other servers."""
        return Hints(
            startable=self.startable | other.startable,
            calls_ended=self.calls_ended or other.calls_ended,
            ended=self.ended | other.ended,
            canceled=self.canceled | other.canceled,
        )


def payloads(hints: Hints) -> list[str]:
    """What other servers are told: each text is short enough for one NOTIFY, and there are not many."""
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
    """What another server said; nothing, if it speaks another release's language."""
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
    """The most useful first: there may be too many."""
    if hints.calls_ended:
        yield CALLS_ENDED, ""
    for kind, names in ((STARTABLE, hints.startable), (CANCELED, hints.canceled), (ENDED, hints.ended)):
        for name in sorted(names):
            yield kind, name


def _text(words: Iterable[bytes]) -> str:
    return "[" + b",".join(words).decode() + "]"
