"""``/admin/v1/plans``: named limits."""

from msgspec import Struct
from msgspec.json import Decoder

from fairlane.api.admin.shapes import BODY_BYTES_MOST, answer, check_limits, check_name
from fairlane.api.http import Answer, Request
from fairlane.api.messages import read_message
from fairlane.model.organizations import PlanChange
from fairlane.store import Store


class NewPlan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to create; ``slots`` null: no limit is known yet, its organizations start nothing."""

    name: str
    slots: int | None
    queue_limit: int = 100_000
    weight: int = 1


_new_plan = Decoder(NewPlan)
_plan_change = Decoder(PlanChange)


class Plans:
    """What operators ask for. ``actor`` is written to the audit."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list(self, request: Request, actor: str) -> Answer:
        """All of them."""
        return answer({"plans": await self._store.plans()})

    async def create(self, request: Request, actor: str) -> Answer:
        """A new one."""
        new = read_message(_new_plan, await request.body(BODY_BYTES_MOST))
        check_name(new.name)
        check_limits(new.slots, new.queue_limit, new.weight)
        return answer(
            await self._store.create_plan(
                new.name, slots=new.slots, queue_limit=new.queue_limit, weight=new.weight, actor=actor
            )
        )

    async def read(self, request: Request, actor: str) -> Answer:
        """One of them."""
        return answer(await self._store.plan(*request.parameters))

    async def delete(self, request: Request, actor: str) -> Answer:
        """One that no organization is on."""
        return answer(await self._store.delete_plan(*request.parameters, actor=actor))

    async def change(self, request: Request, actor: str) -> Answer:
        """Its organizations follow, where they have no limits of their own; at the next claim."""
        changes = read_message(_plan_change, await request.body(BODY_BYTES_MOST))
        check_limits(changes.slots, changes.queue_limit, changes.weight)
        return answer(await self._store.change_plan(*request.parameters, changes=changes, actor=actor))
