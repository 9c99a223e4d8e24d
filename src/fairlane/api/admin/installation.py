"""``/admin/v1``: routes about the whole installation: its counts, its audit, its maintenance, this server."""

from collections.abc import Callable
from typing import ClassVar

from msgspec import Struct, to_builtins
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, PAGE, PAGE_MOST, answer, page
from fairlane.api.http import Answer, Request
from fairlane.api.messages import read_message
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.store import AuditFilter, Store

AUDIT_MOST = 10_000


class Maintenance(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the whole installation is under maintenance."""

    on: bool


class ServerFacts(Struct, frozen=True, kw_only=True):
    """What the server reports about itself."""

    version: str
    address: str | None
    """None if no server runs; then the answer comes from the process that opened the database."""
    database: str
    pid: int
    admin_address: str | None = None
    """None if the operator's routes have no separate TCP listener."""
    draining: bool = False
    task_types: tuple[str, ...] = ()
    worker_trouble: str | None = None
    """Why no worker of this server's own can start, or None if one runs or is starting, or none is configured."""
    swept_at: int | None = None
    """When its upkeep made its last pass, or None before the first one."""
    disk_full: bool = False
    """Whether the database's disk is nearly full, so that new tasks are refused."""


_maintenance = Decoder(Maintenance)


class InstallationEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store, facts: Callable[[], ServerFacts]) -> None:
        self._store = store
        self._facts = facts

    async def drift(self, request: Request, actor: str) -> Answer:
        """Return every kept number that differs from its rows."""
        name = request.query("organization").get("organization")
        drift = await self._store.recount.find(name)
        counted = 1 if name is not None else len(await self._store.organizations.all())
        return answer({"drift": drift, "organizations": counted})

    async def upkeep(self, request: Request, actor: str) -> Answer:
        """Return what upkeep has done: recounts, the last backup, the size of the database, this server's last pass."""
        counts = self._store.recount
        facts = await self._store.upkeep.facts(recounted=counts.audited, differences=counts.differences)
        return answer({**to_builtins(facts), "swept_at": self._facts().swept_at})

    async def audit(self, request: Request, actor: str) -> Answer:
        """Return what operators changed, newest first; ``cursor`` is present if there are more rows."""
        asked = request.query("cursor", "limit", "subject", "action", "actor")
        most = read_number("limit", asked.get("limit"), usual=100, most=AUDIT_MOST)
        chosen = AuditFilter(subject=asked.get("subject"), action=asked.get("action"), actor=asked.get("actor"))
        found = await self._store.trail.page(most + 1, before=asked.get("cursor"), chosen=chosen)
        return answer(page("audit", found, most, lambda row: row.id))

    async def sessions(self, request: Request, actor: str) -> Answer:
        """Return the live worker sessions; ``cursor`` is present if there are more."""
        asked = request.query("cursor", "limit")
        most = read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST)
        found = await self._store.sessions.all(after=asked.get("cursor", ""), most=most + 1)
        return answer(page("sessions", found, most, lambda one: one.id))

    async def failed_starts(self, request: Request, actor: str) -> Answer:
        """Return the applications of which no worker can start on a machine, the longest lasting first."""
        request.query()
        return answer({"failed_starts": await self._store.failed_starts.all()})

    async def drain(self, request: Request, actor: str) -> Answer:
        """Have a worker take no more tasks, and end after those that it runs."""
        await self._store.sessions.drain(*request.parameters, actor=actor)
        return answer({"draining": True})

    async def maintenance(self, request: Request, actor: str) -> Answer:
        """Return whether maintenance is on, so that fairlane cannot vouch for the slots."""
        return answer(Maintenance(on=await self._store.maintenance.on()))

    async def set_maintenance(self, request: Request, actor: str) -> Answer:
        """Begin or end maintenance."""
        wanted = read_message(_maintenance, await request.body(BODY_BYTES_MOST))
        await self._store.maintenance.set(wanted.on, actor=actor)
        return answer(wanted)

    async def server(self, request: Request, actor: str) -> Answer:
        """Return the facts of this server."""
        return answer(self._facts())

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/sessions", sessions),
        Route("POST", "/admin/v1/sessions/{session}/drain", drain),
        Route("GET", "/admin/v1/failed-starts", failed_starts),
        Route("GET", "/admin/v1/drift", drift),
        Route("GET", "/admin/v1/upkeep", upkeep),
        Route("GET", "/admin/v1/audit", audit),
        Route("GET", "/admin/v1/maintenance", maintenance),
        Route("PUT", "/admin/v1/maintenance", set_maintenance),
        Route("GET", "/admin/v1/server", server),
    )
