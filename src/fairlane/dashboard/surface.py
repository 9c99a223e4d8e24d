"""``/dashboard``: the page and its files, sessions, events, and the API's own routes for people with a session.

The twins of the customers' and the operator's routes are the same endpoints behind another guard: what a page shows or
does has no logic of its own here.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any, ClassVar

from msgspec import Struct
from msgspec.json import Decoder, encode

from fairlane.api.admin import SecretRules
from fairlane.api.http import NO_STORE, Answer, Request, Stream
from fairlane.api.keys import key_digest, key_fits
from fairlane.api.messages import read_message
from fairlane.api.rates import RateGuard
from fairlane.api.routes import Part, Resource, Route, Routes, anybody, resources
from fairlane.dashboard.access import access_resources
from fairlane.dashboard.assets import SAFETY, AssetEndpoints
from fairlane.dashboard.live import Hub
from fairlane.dashboard.sessions import (
    PATH,
    CustomerGuard,
    DashboardSession,
    DashboardSessions,
    OperatorGuard,
    set_cookie,
)
from fairlane.dashboard.tries import Tries, caller_address
from fairlane.errors import KeyMalformed, KeyMissing, KeyRefused, StoreUnreachable, Unavailable
from fairlane.model.keys import KeyKind
from fairlane.store import Store

BODY_BYTES_MOST = 4_096


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """The key that opens a session."""

    key: str


class OpenedSession(Struct, frozen=True, kw_only=True):
    """An open session, and the token that must be sent with every change."""

    kind: str
    name: str
    token: str
    version: str
    accepts: tuple[str, ...]
    """The kinds of keys that open a session here, by the name of their holders."""


class ClosedSession(Struct, frozen=True, kw_only=True):
    """What a login page needs to know: the kinds of keys that open a session here."""

    kind: None = None
    accepts: tuple[str, ...]


PEOPLE = {KeyKind.ORGANIZATION: "organization", KeyKind.ADMIN: "operator"}
"""The name of the holder of each kind of key on the pages."""


_login = Decoder(Login)


def dashboard_part(
    store: Store,
    hub: Hub,
    *,
    version: str,
    proxies: Sequence[IPv4Network | IPv6Network],
    rate_limit: int,
    secret_rules: SecretRules,
    customers: Part[Any] | None,
    operators: Part[Any] | None,
) -> tuple[Part[Any], list[Resource[None]]]:
    """Return the dashboard of one listener: the part behind a session, and the resources that anyone may load.

    ``customers`` and ``operators`` are the parts that people may use here through twins of the routes. If one is None,
    its people cannot log in here.
    """
    sessions = DashboardSessions(store)
    kinds = [KeyKind.ORGANIZATION] * (customers is not None) + [KeyKind.ADMIN] * (operators is not None)
    pages = PageEndpoints(store, hub, sessions, Tries(), proxies=proxies, version=version, kinds=kinds)
    twins: list[Resource[Any]] = []
    if customers is not None:
        guard = CustomerGuard(store, sessions)
        twins += [one.twin(PATH, RateGuard(guard, limit=rate_limit)) for one in customers.resources]
        twins += access_resources(store, guard, secret_rules)
    if operators is not None:
        twins += [one.twin(PATH, OperatorGuard(store, sessions)) for one in operators.resources]
    events = Resource(f"{PATH}/events", sessions.check, {"GET": pages.events})
    return Part(PATH, sessions.check, [events, *twins]), resources([AssetEndpoints(), pages], lambda: anybody)


class PageEndpoints:
    """Login, logout and live events. ``kinds`` are the keys that open a session here."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        sessions: DashboardSessions,
        tries: Tries,
        *,
        proxies: Sequence[IPv4Network | IPv6Network],
        version: str,
        kinds: Sequence[KeyKind],
    ) -> None:
        self._store = store
        self._hub = hub
        self._sessions = sessions
        self._tries = tries
        self._proxies = proxies
        self._version = version
        self._kinds = kinds
        self._accepts = tuple(PEOPLE[kind] for kind in kinds)

    async def login(self, request: Request, who: None) -> Answer:
        """Open a session with a key. A form of another site cannot send JSON, so it cannot log a visitor in."""
        value = read_message(_login, await request.body(BODY_BYTES_MOST)).key.strip()
        address, digest = caller_address(request, self._proxies), key_digest(value)
        self._tries.begin(address, digest)
        kind = next((kind for kind in self._kinds if key_fits(value, kind)), None)
        if kind is None or request.header(b"content-type") != b"application/json":
            raise KeyMalformed
        session, cookie = await self._sessions.open(kind, digest)
        try:
            name = await self._name(session)
        except KeyRefused:
            self._tries.fail(address, digest)
            raise
        self._tries.open(address, digest)
        secure = (request.header(b"x-forwarded-proto") or b"") == b"https"
        return self._opened(session, name, set_cookie(cookie, secure=secure))

    async def session(self, request: Request, who: None) -> Answer:
        """Return the open session, or which keys would open one. Never a refusal: this is how the page finds out."""
        try:
            session = await self._sessions.read(request)
            return self._opened(session, await self._name(session))
        except (KeyMissing, KeyRefused):
            return Answer(encode(ClosedSession(accepts=self._accepts)), headers=(*SAFETY, NO_STORE))

    async def leave(self, request: Request, who: None) -> Answer:
        """End the session, here and at every other server; copies of its cookie become worthless."""
        await self._sessions.end(await self._sessions.check(request))
        return Answer(b"{}", headers=(*SAFETY, NO_STORE, set_cookie("", secure=False, seconds=0)))

    async def events(self, request: Request, session: DashboardSession) -> Stream:
        """Stream live data once a second, for as long as the key is valid and the session lasts."""
        organization_id = await self._organization_id(session)
        if not self._hub.has_room(organization_id):
            raise Unavailable

        async def allowed() -> bool:
            if session.expires_at <= self._store.now():
                return False
            try:
                return await self._organization_id(session) == organization_id
            except (KeyRefused, StoreUnreachable):  # The browser opens the stream again and then gets the reason.
                return False

        events = self._hub.watch(organization_id, session_id=session.id, allowed=allowed, gone=request.gone)
        return Stream(events, headers=(NO_STORE,))

    async def _organization_id(self, session: DashboardSession) -> int | None:
        """Return the organization of the session's key, or None for the operator. Raises KeyRefused."""
        if session.kind is KeyKind.ADMIN:
            if await self._store.keys.holder(session.digest) is None:
                raise KeyRefused
            return None
        caller = await self._store.keys.caller(session.digest)
        if caller is None:
            raise KeyRefused
        return caller.organization_id

    async def _name(self, session: DashboardSession) -> str:
        organization_id = await self._organization_id(session)
        if organization_id is not None:
            return await self._store.organizations.name(organization_id)
        holder = await self._store.keys.holder(session.digest)
        return "" if holder is None else holder.name

    def _opened(self, session: DashboardSession, name: str, *headers: tuple[bytes, bytes]) -> Answer:
        opened = OpenedSession(
            kind=PEOPLE[session.kind], name=name, token=session.token, version=self._version, accepts=self._accepts
        )
        return Answer(encode(opened), headers=(*SAFETY, NO_STORE, *headers))

    routes: ClassVar[Routes] = (
        Route("GET", f"{PATH}/session", session),
        Route("DELETE", f"{PATH}/session", leave),
        Route("POST", f"{PATH}/login", login),
    )
