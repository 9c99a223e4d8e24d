"""Tickets: the admin socket gives one to ``fairlane dashboard``, and a browser of this machine gets a session for it.

A server keeps its tickets and what was opened with them in memory, so both end with it. A ticket is in the fragment of
an address and in the body of a request, never in a path or a query: these reach logs, histories and other sites.
"""

import secrets
from collections.abc import Callable
from hashlib import sha256
from ipaddress import ip_address
from typing import ClassVar
from urllib.parse import urlsplit

from msgspec import Struct

from fairlane.api.admin.shapes import answer
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Route, Routes
from fairlane.bounded import Bounded
from fairlane.errors import KeyRefused

TICKET_SECONDS = 60
"""How long a ticket may be exchanged."""
TICKETS_MOST = 100
OPENED_MOST = 1_000
"""Most sessions of one server that tickets opened; the oldest ends first."""
FORWARDING = (b"x-forwarded-for", b"forwarded")
"""Headers that a proxy adds. A request with one of them does not come from this machine."""


class Ticket(Struct, frozen=True):
    """What a ticket opens, and until when."""

    actor: str
    expires_at: int


class TicketAddress(Struct, frozen=True, kw_only=True):
    """The address that opens the operators' pages once."""

    address: str
    expires_at: int


class Tickets:
    """The tickets of one server, each usable once, and the actors of the sessions that they opened."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._given: Bounded[str, Ticket] = Bounded(TICKETS_MOST)
        self._opened: Bounded[str, str] = Bounded(OPENED_MOST)

    def give(self, actor: str) -> tuple[str, Ticket]:
        """Return a new ticket for this actor, and its facts."""
        value = secrets.token_urlsafe(32)
        ticket = self._given[_digest(value)] = Ticket(actor, self._clock() + TICKET_SECONDS * 1_000)
        return value, ticket

    def take(self, value: str) -> str:
        """Use a ticket up, and return the name that stands in its session instead of a key's digest.

        Raises:
            KeyRefused: this server gave out no such ticket, it was used, or its time is over.
        """
        ticket = self._given.pop(_digest(value), None)
        if ticket is None or ticket.expires_at <= self._clock():
            raise KeyRefused
        name = secrets.token_hex(32)
        self._opened[name] = ticket.actor
        return name

    def actor(self, name: str) -> str | None:
        """Return the actor of a session that a ticket opened here, or None if none did or the session has ended."""
        return self._opened.get(name)

    def end(self, name: str) -> None:
        """Forget a session."""
        self._opened.pop(name, None)


class TicketEndpoints:
    """The operator's endpoint, for the admin socket alone: access to the socket is what a ticket passes on."""

    def __init__(self, tickets: Tickets, address: str) -> None:
        self._tickets = tickets
        self._address = address

    async def give(self, request: Request, actor: str) -> Answer:
        """Return the address that opens the operators' pages once."""
        value, ticket = self._tickets.give(actor)
        address = f"{self._address}/dashboard#/enter/{value}"
        return answer(TicketAddress(address=address, expires_at=ticket.expires_at))

    routes: ClassVar[Routes] = (Route("POST", "/admin/v1/dashboard/tickets", give),)


def is_near(request: Request, address: str) -> bool:
    """Return whether a request names this machine or the server's own address as its host, and no proxy forwarded it.

    A page of another site may have a name that leads to this machine, and it sends that name. The port is
    not compared, because a tunnel may have another one.
    """
    if any(request.header(name) is not None for name in FORWARDING):
        return False
    try:
        host = urlsplit(f"http://{(request.header(b'host') or b'').decode('latin-1')}").hostname
    except ValueError:
        return False
    return host is not None and (host == urlsplit(address).hostname or is_loopback(host))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine, by a name or an address that no other machine can have."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def local_address(address: str) -> str:
    """Return the address of a listener as a browser on the same machine opens it."""
    parts = urlsplit(address)
    for everywhere, here in (("0.0.0.0", "127.0.0.1"), ("::", "[::1]")):  # noqa: S104 # nosec B104 - compared, not bound
        if parts.hostname == everywhere:
            return f"http://{here}:{parts.port}"
    return address


def _digest(value: str) -> str:
    return sha256(value.encode(errors="replace")).hexdigest()
