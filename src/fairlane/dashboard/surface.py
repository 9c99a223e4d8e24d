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
from fairlane.api.routes import Endpoints, Part, Resource, Route, Routes, anybody, resources
from fairlane.dashboard.access import access_resources
from fairlane.dashboard.assets import SAFETY, AssetEndpoints
from fairlane.dashboard.live import Hub
from fairlane.dashboard.reference import REFERENCE, ReferencePages
from fairlane.dashboard.sessions import (
    PATH,
    CustomerGuard,
    DashboardSession,
    DashboardSessions,
    OperatorGuard,
    set_cookie,
)
from fairlane.dashboard.tickets import Tickets
from fairlane.dashboard.tries import Tries, caller_address
from fairlane.dashboard.views import ViewGuard, Views
from fairlane.errors import CrossSiteRefused, KeyMalformed, KeyMissing, KeyRefused, StoreUnreachable, Unavailable
from fairlane.model.keys import KeyKind
from fairlane.store import Store

BODY_BYTES_MOST = 4_096


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """The key that opens a session."""

    key: str


class Entrance(Struct, frozen=True, forbid_unknown_fields=True):
    """The ticket that opens a session."""

    ticket: str


class OpenedSession(Struct, frozen=True, kw_only=True):
    """An open session, and the token that must be sent with every change."""

    kind: str
    name: str
    token: str
    version: str
    accepts: tuple[str, ...]
    """The kinds of keys that open a session here, by the name of their holders."""
    reference: str | None
    """The path of the API's reference, or None if this listener does not have it."""


class ClosedSession(Struct, frozen=True, kw_only=True):
    """What a login page needs to know: the kinds of keys that open a session here."""

    kind: None = None
    accepts: tuple[str, ...]


PEOPLE = {KeyKind.ORGANIZATION: "organization", KeyKind.ADMIN: "operator"}
"""The name of the holder of each kind of key on the pages."""


_login = Decoder(Login)
_entrance = Decoder(Entrance)


def dashboard_part(
    store: Store,
    hub: Hub,
    tickets: Tickets,
    *,
    address: str,
    version: str,
    proxies: Sequence[IPv4Network | IPv6Network],
    rate_limit: int,
    secret_rules: SecretRules,
    customers: Part[Any],
    operators: Part[Any] | None,
    customer_keys: bool = True,
    tickets_only: bool = False,
) -> tuple[Part[Any], list[Resource[None]]]:
    """Return the dashboard of one listener: the part behind a session, and the resources that anyone may load.

    ``customers`` and ``operators`` are the parts that people may use here through twins of the routes. Without
    ``customer_keys`` organizations cannot log in here, and operators see their pages in views alone. Without
    ``operators`` these cannot log in. With ``tickets_only`` they need a ticket, and their keys open no session.
    """
    by_key = operators is not None and not tickets_only
    sessions = DashboardSessions(store, tickets, address=address, operators=by_key)
    kinds = [KeyKind.ORGANIZATION] * customer_keys + [KeyKind.ADMIN] * by_key
    views = Views(store, sessions)
    pages = PageEndpoints(store, hub, sessions, views, Tries(), tickets, proxies=proxies, version=version, kinds=kinds)
    assets = AssetEndpoints()
    served: list[Endpoints] = [assets, pages]
    guard = CustomerGuard(store, sessions) if customer_keys else None
    if guard is not None:
        served.append(ReferencePages(assets))
    twins: list[Resource[Any]] = [
        one.twin(PATH, ViewGuard(views, guard and RateGuard(guard, limit=rate_limit))) for one in customers.resources
    ]
    twins += access_resources(store, ViewGuard(views, guard), secret_rules)
    if operators is not None:
        twins += [one.twin(PATH, OperatorGuard(sessions)) for one in operators.resources]
        twins += resources([views], lambda path: sessions.check)
    events = Resource(f"{PATH}/events", sessions.check, {"GET": pages.events})
    return Part(PATH, sessions.check, [events, *twins]), resources(served, lambda path: anybody)


class PageEndpoints:
    """Login, logout and live events. ``kinds`` are the keys that open a session here, in addition to tickets."""

    def __init__(
        self,
        store: Store,
        hub: Hub,
        sessions: DashboardSessions,
        views: Views,
        tries: Tries,
        tickets: Tickets,
        *,
        proxies: Sequence[IPv4Network | IPv6Network],
        version: str,
        kinds: Sequence[KeyKind],
    ) -> None:
        self._store = store
        self._hub = hub
        self._sessions = sessions
        self._views = views
        self._tries = tries
        self._tickets = tickets
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
            name = await self._name(session, request)
        except KeyRefused:
            self._tries.fail(address, digest)
            raise
        self._tries.open(address, digest)
        secure = (request.header(b"x-forwarded-proto") or b"") == b"https"
        return self._opened(session, name, set_cookie(cookie, secure=secure))

    async def enter(self, request: Request, who: None) -> Answer:
        """Open an operator's session with a ticket, from a browser of this machine."""
        value = read_message(_entrance, await request.body(BODY_BYTES_MOST)).ticket
        # Before the ticket is looked at: a request from elsewhere does not use it up.
        if not self._sessions.is_near(request) or request.header(b"content-type") != b"application/json":
            raise CrossSiteRefused
        session, cookie = await self._sessions.open(KeyKind.ADMIN, self._tickets.take(value))
        return self._opened(session, await self._name(session, request), set_cookie(cookie, secure=False))

    async def session(self, request: Request, who: None) -> Answer:
        """Return the open session, or which keys would open one. Never a refusal: this is how the page finds out."""
        try:
            session = await self._sessions.read(request)
            return self._opened(session, await self._name(session, request))
        except (KeyMissing, KeyRefused):
            return Answer(encode(ClosedSession(accepts=self._accepts)), headers=(*SAFETY, NO_STORE))

    async def leave(self, request: Request, who: None) -> Answer:
        """End the session, here and at every other server; copies of its cookie become worthless."""
        await self._sessions.end(await self._sessions.check(request))
        return Answer(b"{}", headers=(*SAFETY, NO_STORE, set_cookie("", secure=False, seconds=0)))

    async def events(self, request: Request, session: DashboardSession) -> Stream:
        """Stream live data once a second, for as long as the key is valid and the session lasts."""
        organization_id = await self._watched(session, request)
        if not self._hub.has_room(organization_id):
            raise Unavailable

        async def allowed() -> bool:
            if session.expires_at <= self._store.now():
                return False
            try:
                return await self._watched(session, request) == organization_id
            except (KeyRefused, StoreUnreachable):  # The browser opens the stream again and then gets the reason.
                return False

        events = self._hub.watch(organization_id, session_id=session.id, allowed=allowed, gone=request.gone)
        return Stream(events, headers=(NO_STORE,))

    async def _organization_id(self, session: DashboardSession, request: Request) -> int | None:
        """Return the organization of the session's key, or None for the operator. Raises KeyRefused."""
        if session.kind is KeyKind.ADMIN:
            await self._sessions.operator(session, request)
            return None
        caller = await self._store.keys.caller(session.digest)
        if caller is None:
            raise KeyRefused
        return caller.organization_id

    async def _watched(self, session: DashboardSession, request: Request) -> int | None:
        """Return the organization that a stream is about, or None for all. A stream of a view names the view."""
        view = request.query("view").get("view")
        if view is None:
            return await self._organization_id(session, request)
        return await self._views.organization_id(session, request, view)

    async def _name(self, session: DashboardSession, request: Request) -> str:
        organization_id = await self._organization_id(session, request)
        if organization_id is not None:
            return await self._store.organizations.name(organization_id)
        return (await self._sessions.operator(session, request)).name

    def _opened(self, session: DashboardSession, name: str, *headers: tuple[bytes, bytes]) -> Answer:
        opened = OpenedSession(
            kind=PEOPLE[session.kind],
            name=name,
            token=session.token,
            version=self._version,
            accepts=self._accepts,
            reference=REFERENCE if KeyKind.ORGANIZATION in self._kinds else None,
        )
        return Answer(encode(opened), headers=(*SAFETY, NO_STORE, *headers))

    routes: ClassVar[Routes] = (
        Route("GET", f"{PATH}/session", session),
        Route("DELETE", f"{PATH}/session", leave),
        Route("POST", f"{PATH}/login", login),
        Route("POST", f"{PATH}/enter", enter),
    )
