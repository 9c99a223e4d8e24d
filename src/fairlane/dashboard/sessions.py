"""Sessions of people: a signed cookie instead of a key, and the guards that read it.

The cookie holds the digest of the key that opened the session, never the key. Each request asks the store about that
key, so that a revoked key ends its sessions, and whether the session was logged out, so that a copy of its cookie is
worthless afterwards. A request that changes something must send the session's token in a header, which a page of
another site can neither read nor send.

A session that a ticket opened has the ticket's name instead of a digest, and only its own server knows it.
"""

import hmac
import secrets
from hashlib import sha256

from msgspec import Struct

from fairlane.api.bodies import OPERATORS, BodyHolder
from fairlane.api.http import Header, Request
from fairlane.dashboard.tickets import Tickets, is_near
from fairlane.errors import CrossSiteRefused, KeyMissing, KeyRefused
from fairlane.model.keys import Caller, KeyKind
from fairlane.store import Store

COOKIE = "fairlane_session"
PATH = "/dashboard"
LIFE_SECONDS = 12 * 3_600
TOKEN_HEADER = b"x-fairlane-token"
SAFE_METHODS = ("GET", "HEAD")


class DashboardSession(Struct, frozen=True):
    """A person's session: the key that opened it, and the token that proves that a request comes from our own pages."""

    id: str
    kind: KeyKind
    digest: str
    """Of the key, or the name that a ticket has instead."""
    token: str
    expires_at: int


class SessionOperator(Struct, frozen=True):
    """The operator of a session: by an admin key, or by a ticket of this machine."""

    name: str
    actor: str
    holder: BodyHolder


class DashboardSessions:
    """Opens, reads and checks the sessions of one listener. ``address`` is the listener's own.

    ``operators`` is whether admin keys open sessions here; those of tickets do in any case.
    """

    def __init__(self, store: Store, tickets: Tickets, *, address: str, operators: bool) -> None:
        self._store = store
        self._tickets = tickets
        self._address = address
        self._operators = operators
        self._secret: bytes | None = None

    async def open(self, kind: KeyKind, digest: str) -> tuple[DashboardSession, str]:
        """Open a session for the holder of this key, and return it with the value of its cookie."""
        expires_at = self._store.now() + LIFE_SECONDS * 1_000
        # Two logins in one millisecond are two sessions: ending one must not end the other.
        identity = secrets.token_hex(16)
        text = f"{identity}.{kind}.{digest}.{expires_at}"
        value = f"{text}.{await self.sign('session', text)}"
        return await self._session(identity, kind, digest, value, expires_at), value

    async def read(self, request: Request) -> DashboardSession:
        """Return the session of the request's cookie.

        Raises:
            KeyMissing: there is no cookie, it is forged or expired, or the session was logged out.
        """
        value = _cookie(request)
        text, _, signature = value.rpartition(".")
        parts = text.split(".")
        if len(parts) != 4 or not hmac.compare_digest(signature.encode(), (await self.sign("session", text)).encode()):
            raise KeyMissing
        identity, kind, digest, expires_at = parts
        # The store is asked last: only a cookie of ours costs a read.
        if int(expires_at) <= self._store.now() or await self._store.logouts.contains(identity):
            raise KeyMissing
        return await self._session(identity, KeyKind(kind), digest, value, int(expires_at))

    async def end(self, session: DashboardSession) -> None:
        """End a session at every server, and its event streams at their next check."""
        self._tickets.end(session.digest)
        await self._store.logouts.add(session.id, expires_at=session.expires_at)

    def is_near(self, request: Request) -> bool:
        """Return whether a request may use a ticket, or a session that a ticket opened."""
        return is_near(request, self._address)

    async def operator(self, session: DashboardSession, request: Request) -> SessionOperator:
        """Return the operator of a session.

        Raises:
            KeyRefused: it is an organization's session, its key is revoked or opens no session here, or its ticket was
                given by another server or is used from another machine.
        """
        actor = self._tickets.actor(session.digest)
        if session.kind is not KeyKind.ADMIN or (actor is None and not self._operators):
            raise KeyRefused
        if actor is not None:
            if not self.is_near(request):
                raise KeyRefused
            return SessionOperator("this machine", f"dashboard of {actor}", OPERATORS)
        holder = await self._store.keys.holder(session.digest)
        if holder is None or holder.kind is not KeyKind.ADMIN:
            raise KeyRefused
        actor = f"admin key {holder.name} ({holder.key_id})"
        return SessionOperator(holder.name, actor, BodyHolder("operators", holder.key_id))

    async def check(self, request: Request) -> DashboardSession:
        """Do the same as :meth:`read`, for a request that may change something.

        Raises:
            CrossSiteRefused: it does not come from our own pages.
        """
        session = await self.read(request)
        shown = request.header(TOKEN_HEADER) or b""
        if request.method not in SAFE_METHODS and not hmac.compare_digest(shown, session.token.encode()):
            raise CrossSiteRefused
        return session

    async def _session(
        self, identity: str, kind: KeyKind, digest: str, value: str, expires_at: int
    ) -> DashboardSession:
        return DashboardSession(identity, kind, digest, await self.sign("token", value), expires_at)

    async def sign(self, purpose: str, text: str) -> str:
        """Return the signature of a text, the same at every server of this database."""
        if self._secret is None:
            self._secret = (await self._store.dashboard.secret()).encode()
        return hmac.new(self._secret, f"{purpose}:{text}".encode(), sha256).hexdigest()


class CustomerGuard:
    """The guard of the customers' routes for people; :class:`fairlane.api.keys.KeyGuard` is the one for programs."""

    def __init__(self, store: Store, sessions: DashboardSessions) -> None:
        self._store = store
        self._sessions = sessions

    async def __call__(self, request: Request) -> Caller:
        """Return the organization of the key that opened the session."""
        session = await self._sessions.check(request)
        caller = await self._store.keys.caller(session.digest) if session.kind is KeyKind.ORGANIZATION else None
        if caller is None:
            raise KeyRefused
        request.holder = BodyHolder("organizations", str(caller.organization_id))
        return caller


class OperatorGuard:
    """The guard of the operator's routes for people."""

    def __init__(self, sessions: DashboardSessions) -> None:
        self._sessions = sessions

    async def __call__(self, request: Request) -> str:
        """Return the actor."""
        operator = await self._sessions.operator(await self._sessions.check(request), request)
        request.holder = operator.holder
        return operator.actor


def set_cookie(value: str, *, secure: bool, seconds: int = LIFE_SECONDS) -> Header:
    """Return the header that makes a browser keep the session, or with 0 seconds forget it."""
    attributes = f"Path={PATH}; Max-Age={seconds}; HttpOnly; SameSite=Strict{'; Secure' if secure else ''}"
    return b"set-cookie", f"{COOKIE}={value}; {attributes}".encode()


def _cookie(request: Request) -> str:
    """Return the session's cookie.

    Raises:
        KeyMissing: there is none.
    """
    # By hand: the library's reader takes a quarter of a second for 30 KB, and stops at a cookie that it cannot read.
    for cookie in (request.header(b"cookie") or b"").split(b";"):
        name, _, value = cookie.partition(b"=")
        if name.strip() == COOKIE.encode():
            return value.strip(b' \t"').decode("latin-1")
    raise KeyMissing
