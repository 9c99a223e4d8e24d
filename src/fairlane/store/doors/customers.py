"""Requests for one organization, by key or at the dashboard: tasks, credits, slots, numbers, messages, alerts.

Called by ``api/`` and ``dashboard/``, which have found the organization; never checks access.
"""

import secrets
from collections.abc import Awaitable, Sequence
from functools import partial

from msgspec.structs import replace

from fairlane.errors import KeyRefused, Refusal
from fairlane.model.alerts import Alert, AlertRule
from fairlane.model.insight import Slots, Wait
from fairlane.model.live import Live
from fairlane.model.organizations import Credits
from fairlane.model.simulation import Record
from fairlane.model.status import QueueStatus, Verified
from fairlane.model.tasks import Accepted, NewTask, TaskList, TaskStatus, TaskView
from fairlane.model.usage import Usage
from fairlane.model.webhooks import Delivery, Webhook
from fairlane.settings import Settings
from fairlane.store import (
    alerts,
    audit,
    credits,
    dashboard,
    deliveries,
    logouts,
    organizations,
    slots,
    tasks,
    usage,
    waits,
)
from fairlane.store.database import Database
from fairlane.store.doors.door import Door, weight
from fairlane.store.memory import Memory
from fairlane.store.tasks import Submission


class CustomerDoor(Door):
    """What an organization does, and reads about itself."""

    def __init__(self, settings: Settings, database: Database, memory: Memory) -> None:
        super().__init__(settings, database, memory)
        self._submit = partial(tasks.submit, memory=memory)

    def submit(
        self, organization_id: int, new: Sequence[NewTask], *, room: int = 0
    ) -> Awaitable[list[Accepted | Refusal]]:
        """Accept tasks; return a verdict for each, in order. Accepted means durable. A refusal created nothing.

        With ``room`` the queue must have this many free places, or else QueueFull is raised.
        """
        return self._database.write(
            self._submit, Submission(organization_id, new, room), weight=weight(task.payload for task in new)
        )

    async def failed_task(self, organization_id: int, reference: str) -> tuple[TaskView, str]:
        """Return a failed task by id or key, and its payload. Raises NotFound, or TaskNotFailed."""
        found: tuple[TaskView, str] = await self._database.snapshot(
            tasks.find_failed(organization_id, reference), share=organization_id
        )
        return found

    async def list_tasks(
        self, organization_id: int, *, status: TaskStatus | None, cursor: str | None, most: int
    ) -> TaskList:
        """Return one page of an organization's tasks, newest first, at a constant cost regardless of their number."""
        page: TaskList = await self._database.snapshot(
            tasks.list_tasks(organization_id, status, cursor, most), share=organization_id
        )
        return page

    async def ended_tasks(self, asked: Sequence[tuple[int, str]]) -> set[str]:
        """Return which of these (organization, task) have ended, or do not exist any more."""
        ended: set[str] = await self._database.read(tasks.ended_tasks(asked))
        return ended

    async def cancel(self, organization_id: int, reference: str) -> TaskView:
        """End a task by id or key: a queued one at once, a running one by a cancel request. Return its new state.

        Raises:
            NotFound: it does not exist.
            TaskEnded: it ended before, and not by a cancel.
        """
        canceled: TaskView = await self._write(tasks.cancel, organization_id, reference, self._memory)
        return canceled

    async def clear(self, organization_id: int) -> int:
        """Delete every task that is queued now, in chunks that let other requests in between; return their number."""
        chunk: tasks.Cleared = await self._write(tasks.clear, organization_id, None, self._memory)
        total = chunk.count
        while chunk.more:
            chunk = await self._write(tasks.clear, organization_id, chunk.before, self._memory)
            total += chunk.count
        return total

    async def status(self, organization_id: int) -> QueueStatus:
        """Return one organization's queue and slots, exact, in constant time. Raises KeyRefused if it does not exist.

        While the counters are in doubt, both counts are taken from the rows.
        """
        status: QueueStatus | None = await self._database.read(tasks.status(organization_id))
        if status is None:
            raise KeyRefused
        if status.concurrency is None:
            status = await self._database.walk(tasks.counted_status(organization_id), share=organization_id)
            assert status is not None
        return status

    async def task(self, organization_id: int, reference: str) -> TaskView | None:
        """Return the organization's task with this id, or else this idempotency key, or None."""
        found: TaskView | None = await self._database.read(tasks.find_task(organization_id, reference))
        return found

    async def payload(self, organization_id: int, reference: str) -> str | None:
        """Return the payload of the task with this id, or else this idempotency key, or None."""
        found: str | None = await self._database.read(tasks.find_payload(organization_id, reference))
        return found

    async def credits(self, organization_id: int) -> Credits:
        """Return an organization's credits, exact. Raises KeyRefused if it does not exist."""
        found: Credits = await self._database.read(credits.find_credits(organization_id))
        return found

    async def wait(self, organization_id: int, reference: str) -> Wait | None:
        """Return why the task with this id, or else this idempotency key, is in its state, or None if there is none."""
        found: Wait | None = await self._database.snapshot(
            waits.find_wait(organization_id, reference, self._memory), share=organization_id
        )
        return found

    async def slots(self, organization_id: int, *, after: str, most: int) -> Slots:
        """Return up to ``most`` holders of the organization's slots beyond the task ``after``. Raises KeyRefused."""
        found: Slots = await self._database.snapshot(
            slots.find_slots(organization_id, after, most), share=organization_id
        )
        return found

    async def verified_status(self, organization_id: int) -> Verified:
        """Return the status, and its differences from the counted rows, in one snapshot. Raises KeyRefused.

        Costs a walk over the organization's queue.
        """
        verified: Verified = await self._database.walk(audit.verified_status(organization_id), share=organization_id)
        return verified

    async def usage(self, organization_id: int, *, start: int, end: int | None, step_ms: int) -> Usage:
        """Return the usage from ``start`` to ``end`` (None for now) in steps. Raises KeyRefused."""
        found: Usage = await self._database.snapshot(
            usage.find_usage(organization_id, start, end, step_ms), share=organization_id
        )
        return found

    async def record(self, organization_id: int, *, start: int, most: int) -> Record:
        """Return the effect of an organization's limits since then, and its newest finished tasks. Raises
        KeyRefused."""
        found: Record = await self._database.snapshot(
            usage.find_record(organization_id, start, most), share=organization_id
        )
        return found

    async def organization_name(self, organization_id: int) -> str:
        """Return an organization's name. Raises NotFound."""
        name: str = await self._database.read(organizations.find_organization_name(organization_id))
        return name

    async def live(self, organization_ids: Sequence[int], *, everything: bool, session_ids: Sequence[str]) -> Live:
        """Return status and totals of these organizations, and which of these sessions were ended, in one snapshot.

        With ``everything`` also the busiest of all organizations. While an organization's counters are in doubt, its
        two counts are taken from the rows, a moment later.
        """
        found: Live = await self._database.snapshot(dashboard.live(organization_ids, everything, session_ids))
        watched = dict(found.organizations)
        for organization_id, one in found.organizations.items():
            if one.status.concurrency is None:
                counted = await self._database.walk(tasks.counted_status(organization_id), share=organization_id)
                watched[organization_id] = replace(one, status=counted)
        return replace(found, organizations=watched)

    async def log_out(self, session_id: str, *, expires_at: int) -> None:
        """End a session of the dashboard, at every server from the return on. Safe to repeat."""
        await self._write(logouts.log_out, session_id, expires_at)

    async def logged_out(self, session_id: str) -> bool:
        """Return whether a session of the dashboard was ended, according to the database now."""
        return bool(await self._database.read(logouts.find_logouts([session_id])))

    async def dashboard_secret(self) -> str:
        """Return the secret that signs the dashboard's sessions, the same at every server on this database."""
        secret: str | None = await self._database.read(dashboard.find_secret())
        if secret is None:
            secret = await self._write(dashboard.make_secret, secrets.token_hex(32))
        assert secret is not None
        return secret

    async def deliveries(self, organization_id: int, *, before: str | None, most: int) -> list[Delivery]:
        """Return an organization's deliveries, newest first, below the id ``before`` if given."""
        operation = deliveries.find_deliveries(organization_id, before, most)
        return await self._database.snapshot(operation, share=organization_id)

    async def redeliver(self, organization_id: int, delivery_id: str) -> Delivery:
        """Make a delivery due again at once, regardless of its result. Raises NotFound."""
        made: Delivery = await self._write(deliveries.redeliver, organization_id, delivery_id, self._memory)
        return made

    async def owe_test(self, organization_id: int, webhook: Webhook, *, delivery_id: str, body: str) -> Delivery:
        """Create a test event, to be tried once. Raises ValidationRefused while too many wait."""
        made: Delivery = await self._write(
            deliveries.owe_test, organization_id, webhook, delivery_id, body, self._memory
        )
        return made

    async def create_alert(self, organization_id: int, rule: AlertRule) -> Alert:
        """Create an alert. Raises ValidationRefused if there are too many."""
        made: Alert = await self._write(alerts.create_alert, organization_id, rule, self._memory)
        return made

    async def change_alert(self, organization_id: int, alert_id: str, rule: AlertRule) -> Alert:
        """Replace an alert's rule. Raises NotFound."""
        changed: Alert = await self._write(alerts.change_alert, organization_id, alert_id, rule)
        return changed

    async def delete_alert(self, organization_id: int, alert_id: str) -> Alert:
        """Delete an alert; return it as it was. Raises NotFound."""
        gone: Alert = await self._write(alerts.delete_alert, organization_id, alert_id)
        return gone

    async def alert(self, organization_id: int, alert_id: str) -> Alert:
        """Return one alert. Raises NotFound."""
        found: Alert = await self._database.read(alerts.find_alert(organization_id, alert_id))
        return found

    async def alerts(self, organization_id: int) -> list[Alert]:
        """Return an organization's alerts, oldest first."""
        found: list[Alert] = await self._database.read(alerts.find_alerts(organization_id))
        return found
