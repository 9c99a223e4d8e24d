"""``/admin/v1/plans``: named limits."""

from typing import ClassVar

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer, check_limits, check_name
from fairlane.api.http import Answer, Request
from fairlane.api.messages import read_message
from fairlane.api.routes import Route, Routes
from fairlane.model.organizations import PlanChange
from fairlane.store import Store


class NewPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to create. With ``slots`` null the limit is not known yet, and its organizations start nothing."""

    name: str
    slots: int | None
    queue_limit: int = 100_000
    weight: int = 1
    priority_limit: int | None = None
    task_types: tuple[str, ...] | None = None
    monthly_credits: int | None = None
    rate_limit: int | None = None
    retention_seconds: int | None = None


_new_plan = Decoder(NewPlan)
_plan_change = Decoder(PlanChange)


class PlanEndpoints:
    """The operator's endpoints. ``actor`` is written to the audit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """Return all plans."""
        return answer({"plans": await self._store.plans.all()})

    async def create(self, request: Request, actor: str) -> Answer:
        """Create a plan."""
        new = read_message(_new_plan, await request.body(BODY_BYTES_MOST))
        check_name(new.name)
        check_limits(new)
        return answer(
            await self._store.plans.create(
                new.name,
                slots=new.slots,
                queue_limit=new.queue_limit,
                weight=new.weight,
                priority_limit=new.priority_limit,
                task_types=new.task_types,
                monthly_credits=new.monthly_credits,
                rate_limit=new.rate_limit,
                retention_seconds=new.retention_seconds,
                actor=actor,
            )
        )

    async def read(self, request: Request, actor: str) -> Answer:
        """Return one plan."""
        return answer(await self._store.plans.find(*request.parameters))

    async def delete(self, request: Request, actor: str) -> Answer:
        """Delete a plan that no organization uses."""
        return answer(await self._store.plans.delete(*request.parameters, actor=actor))

    async def change(self, request: Request, actor: str) -> Answer:
        """Change a plan. Its organizations use the new limits from the next claim on, unless they have their own."""
        changes = read_message(_plan_change, await request.body(BODY_BYTES_MOST))
        check_limits(changes)
        return answer(await self._store.plans.change(*request.parameters, changes=changes, actor=actor))

    routes: ClassVar[Routes] = (
        Route("GET", "/admin/v1/plans", list),
        Route("POST", "/admin/v1/plans", create),
        Route("GET", "/admin/v1/plans/{plan}", read),
        Route("PATCH", "/admin/v1/plans/{plan}", change),
        Route("DELETE", "/admin/v1/plans/{plan}", delete),
    )
