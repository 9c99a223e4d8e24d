"""``/admin/v1/organizations``: the organizations that may use the API, and their limits."""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import (
    BODY_BYTES_MOST,
    PAGE,
    PAGE_MOST,
    answer,
    check_limits,
    check_name,
    page,
)
from fairlane.api.http import Answer, Request
from fairlane.api.messages import read_message
from fairlane.api.pages import read_number
from fairlane.api.routes import Route, Routes
from fairlane.model.organizations import DEFAULT_PLAN, OrganizationChange, Overrides
from fairlane.store import Store


class NewOrganization(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An organization to create; limits that are missing or null are the plan's."""

    name: str
    plan: str = DEFAULT_PLAN
    slots: int | None = None
    queue_limit: int | None = None
    weight: int | None = None
    priority_limit: int | None = None
    task_types: tuple[str, ...] | None = None
    monthly_credits: int | None = None
    rate_limit: int | None = None
    retention_seconds: int | None = None
    credits: bool = False
    """Whether its credits are counted."""


_new_organization = Decoder(NewOrganization)
_organization_change = Decoder(OrganizationChange)


class OrganizationEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """Return a page of organizations by name, those with names that begin with ``search``; ``cursor`` is present if
        there are more.
        """
        asked = request.query("cursor", "limit", "search")
        most = read_number("limit", asked.get("limit"), usual=PAGE, most=PAGE_MOST)
        found = await self._store.organizations.all(
            after=asked.get("cursor", ""), beginning=asked.get("search", ""), most=most + 1
        )
        return answer(page("organizations", found, most, lambda one: one.name))

    async def create(self, request: Request, actor: str) -> Answer:
        """Create an organization."""
        new = read_message(_new_organization, await request.body(BODY_BYTES_MOST))
        check_name(new.name)
        check_limits(new)
        overrides = Overrides(
            slots=new.slots,
            queue_limit=new.queue_limit,
            weight=new.weight,
            priority_limit=new.priority_limit,
            task_types=new.task_types,
            monthly_credits=new.monthly_credits,
            rate_limit=new.rate_limit,
            retention_seconds=new.retention_seconds,
        )
        made = await self._store.organizations.create(
            new.name, plan=new.plan, overrides=overrides, credits=new.credits, actor=actor
        )
        return answer(made)

    async def read(self, request: Request, actor: str) -> Answer:
        """Return one organization."""
        return answer(await self._store.organizations.find(*request.parameters))

    async def change(self, request: Request, actor: str) -> Answer:
        """Change limits and flags; they take effect at the next claim."""
        changes = read_message(_organization_change, await request.body(BODY_BYTES_MOST))
        check_limits(changes)
        return answer(await self._store.organizations.change(*request.parameters, changes=changes, actor=actor))

    async def erase(self, request: Request, actor: str) -> Answer:
        """Begin to erase an organization, or continue; repeat until it is done."""
        return answer(await self._store.erasing.erase(*request.parameters, actor=actor))

    async def repair(self, request: Request, actor: str) -> Answer:
        """Set its counts to what its rows say."""
        return answer({"drift": await self._store.recount.repair(*request.parameters, actor=actor)})

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/organizations", list),
        Route("POST", "/admin/v1/organizations", create),
        Route("GET", "/admin/v1/organizations/{organization}", read),
        Route("PATCH", "/admin/v1/organizations/{organization}", change),
        Route("DELETE", "/admin/v1/organizations/{organization}", erase),
        Route("POST", "/admin/v1/organizations/{organization}/repair", repair),
    )
