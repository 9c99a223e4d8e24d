"""What a transaction means for requests that wait, at this server and, on PostgreSQL, at the others.

An adapter makes :class:`Effects` for each transaction, the operations add to it, and after the commit it is told to
listeners. It is a hint: it may be lost, late, or come twice, and nothing depends on it. To other servers it travels as
payloads of NOTIFY.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

PAYLOAD_BYTES = 7_500
"""A payload of NOTIFY has to be shorter than 8,000 bytes."""
PAYLOADS_MOST = 20
"""Most payloads at once; requests that wait for the rest find it at their next poll."""

STARTABLE, ENDED, CANCELED, CALLS_ENDED = "startable", "ended", "canceled", "calls"


class Effects(Struct):
    """What one or several transactions changed. After the commit it is only read."""

    startable: set[str] = set()
    """Task types of which a task or call can start now."""
    paused_until: int | None = None
    """When the first task or call that was paused becomes ready."""
    owed: bool = False
    """A delivery became due."""
    calls_ended: bool = False
    """A call with a waiting caller ended."""
    ended: set[str] = set()
    """Tasks that ended or were cleared."""
    canceled: set[str] = set()
    """Sessions that hold a lease with a new cancel request."""

    def pause_until(self, due_at: int) -> None:
        """Note when a paused task or call becomes ready."""
        self.paused_until = due_at if self.paused_until is None else min(due_at, self.paused_until)

    def for_others(self) -> bool:
        """Return whether requests at other servers may wait for these. Each server handles its own due times."""
        return bool(self.startable or self.calls_ended or self.ended or self.canceled)

    def add(self, other: "Effects") -> None:
        """Add what another transaction means for other servers."""
        self.startable |= other.startable
        self.calls_ended = self.calls_ended or other.calls_ended
        self.ended |= other.ended
        self.canceled |= other.canceled


def payloads(effects: Effects) -> list[str]:
    """Return the payloads for other servers: each text is short enough for one NOTIFY, and their number is limited."""
    made: list[str] = []
    words: list[bytes] = []
    size = 0
    for kind, name in _words(effects):
        word = msgspec.json.encode((kind, name))
        if words and size + len(word) + 1 > PAYLOAD_BYTES:
            made.append(_text(words))
            words, size = [], 0
            if len(made) == PAYLOADS_MOST:
                return made
        words.append(word)
        size += len(word) + 1
    return [*made, _text(words)] if words else made


def read_payload(text: str) -> Effects:
    """Read another server's payload; return no effects if another release wrote it."""
    try:
        said: list[tuple[str, str]] = msgspec.json.decode(text, type=list[tuple[str, str]])
    except msgspec.DecodeError:
        return Effects()
    return Effects(
        startable={name for kind, name in said if kind == STARTABLE},
        calls_ended=any(kind == CALLS_ENDED for kind, _ in said),
        ended={name for kind, name in said if kind == ENDED},
        canceled={name for kind, name in said if kind == CANCELED},
    )


def _words(effects: Effects) -> Iterator[tuple[str, str]]:
    """Yield the most useful hints first: there may be too many."""
    if effects.calls_ended:
        yield CALLS_ENDED, ""
    for kind, names in ((STARTABLE, effects.startable), (CANCELED, effects.canceled), (ENDED, effects.ended)):
        for name in sorted(names):
            yield kind, name


def _text(words: Iterable[bytes]) -> str:
    return "[" + b",".join(words).decode() + "]"
