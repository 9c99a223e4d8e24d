"""Views: an operator sees an organization's own dashboard, without a key of it, and changes nothing there.

Opening a view adds a row to the audit. What it returns is signed for one session and one organization, and goes with
each request of the view, so nothing is read without such a row.
"""

import hmac
from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer
from fairlane.api.http import NO_STORE, Answer, Request
from fairlane.api.messages import read_message
from fairlane.api.routes import Guard, Route, Routes
from fairlane.dashboard.sessions import PATH, SAFE_METHODS, DashboardSession, DashboardSessions, SessionOperator
from fairlane.errors import KeyRefused, ViewRefused
from fairlane.model.keys import Caller
from fairlane.store import Store

VIEW_HEADER = b"x-fairlane-view"
VIEWER = "an operator's view"
"""Stands in place of the id of a key, which a view does not have."""


class ViewOf(Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator asks to see: the dashboard of this organization."""

    organization: str


class OpenedView(Struct, frozen=True, kw_only=True):
    """What a view sends with each request."""

    organization: str
    view: str


_view_of = Decoder(ViewOf)


class Views:
    """The views of one listener's operators."""

    def __init__(self, store: Store, sessions: DashboardSessions) -> None:
        self._store = store
        self._sessions = sessions

    async def open(self, request: Request, session: DashboardSession) -> Answer:
        """Open a view for an operator's session, and write it to the audit."""
        operator = await self._sessions.operator(session, request)
        name = read_message(_view_of, await request.body(BODY_BYTES_MOST)).organization
        organization_id = (await self._store.organizations.find(name)).id
        await self._store.trail.write(operator.actor, "organization.viewed", name, {})
        view = f"{organization_id}.{await self._signed(session, organization_id)}"
        opened = answer(OpenedView(organization=name, view=view))
        return Answer(opened.body, headers=(NO_STORE,))

    async def organization_id(self, session: DashboardSession, request: Request, view: str) -> int:
        """Return the organization that this session may see with this view.

        Raises:
            KeyRefused: it is not an operator's session, or the view was opened by another one.
        """
        return (await self._opened(session, request, view))[1]

    async def caller(self, request: Request, view: bytes) -> Caller:
        """Return the organization of a view, for a request that only reads.

        Raises:
            ViewRefused: the request would change something.
        """
        session = await self._sessions.check(request)
        operator, organization_id = await self._opened(session, request, view.decode("latin-1"))
        if request.method not in SAFE_METHODS:
            raise ViewRefused
        request.holder = operator.holder
        return Caller(VIEWER, organization_id, None)

    async def check(self, request: Request) -> None:
        """Refuse a request without a session, or from elsewhere, as every guard of sessions does."""
        await self._sessions.check(request)

    async def _opened(self, session: DashboardSession, request: Request, view: str) -> tuple[SessionOperator, int]:
        operator = await self._sessions.operator(session, request)
        number, _, signature = view.partition(".")
        if not (number.isascii() and number.isdecimal() and len(number) < 19):
            raise KeyRefused
        if not hmac.compare_digest(signature.encode(), (await self._signed(session, int(number))).encode()):
            raise KeyRefused
        return operator, int(number)

    async def _signed(self, session: DashboardSession, organization_id: int) -> str:
        return await self._sessions.sign("view", f"{session.id}.{organization_id}")

    routes: ClassVar[Routes] = (Route("POST", f"{PATH}/view", open),)


class ViewGuard:
    """The guard of customers' routes for people: a session of the organization behind ``guard``, or a view of it.

    With ``guard`` None organizations have no sessions here.
    """

    def __init__(self, views: Views, guard: Guard[Caller] | None) -> None:
        self._views = views
        self._guard = guard

    async def __call__(self, request: Request) -> Caller:
        """Return the organization. A view has no part in the organization's limit of requests."""
        view = request.header(VIEW_HEADER)
        if view is not None:
            return await self._views.caller(request, view)
        if self._guard is None:
            await self._views.check(request)
            raise KeyRefused
        return await self._guard(request)
