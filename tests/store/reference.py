"""What the store promises, in plain Python: dictionaries in the place of tables, and no transaction to get wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairlane.errors import CreditsShort, KeyRefused, QueueFull, Refusal, TaskExists
from fairlane.model import (
    Accepted,
    Catalogue,
    Credits,
    Ending,
    Exchange,
    Failed,
    Lease,
    LossReason,
    Lost,
    NewSession,
    NewTask,
    Released,
    Report,
    TaskStatus,
    TaskView,
    Verdict,
)
from fairlane.rules import Final, Paused, aftermath, rank_of

CHANCE = 0.5
GRACE_MS = 5_000
RETRY_PAUSE_MS = 1_000
COST_MOST = 3
"""The most that a task of the walks costs."""


@dataclass
class Organization:
    """Limits and flags of one organization."""

    id: int
    name: str
    slots: int | None
    queue_limit: int
    paused: bool = False
    disabled: bool = False
    credits_on: bool = False
    granted: int = 0
    charged: int = 0

    @property
    def balance(self) -> int:
        """What was granted and is not charged."""
        return self.granted - self.charged

    def can_pay(self, cost: int, held: int = 0) -> bool:
        """Whether the balance covers this cost beside what is held."""
        return not self.credits_on or cost == 0 or self.balance - held >= cost

    @property
    def stopped(self) -> bool:
        """Nothing may start."""
        return self.paused or self.disabled


@dataclass
class Task:
    """One accepted task. Exactly one of ready, due_at, lease and status is set."""

    new: NewTask
    organization: Organization
    seq: int
    attempt: int = 0
    ready: bool = True
    due_at: int | None = None
    lease: Lease | None = None
    session_id: str = ""
    exchange_id: str = ""
    status: TaskStatus | None = None
    ended_at: int = 0
    ended_by: str = ""
    seen: TaskView | None = None
    """The first reading after it ended: no later one may differ."""

    @property
    def order(self) -> tuple[int, int]:
        """Highest priority first, then the oldest."""
        return rank_of(self.new.priority), self.seq


@dataclass
class Session:
    """One worker process."""

    new: NewSession
    lease_until: int
    dead: bool = False


@dataclass
class Reference:
    """The whole store."""

    catalogue: Catalogue
    organizations: dict[int, Organization] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    keys: dict[tuple[int, str], str] = field(default_factory=dict)
    accepted: dict[int, int] = field(default_factory=dict)
    spent: int = 0
    """What the tasks accepted so far in the running request cost."""

    # Reading ---------------------------------------------------------------------------------------------------------

    def of(self, organization: Organization) -> list[Task]:
        """An organization's tasks."""
        return [task for task in self.tasks.values() if task.organization is organization]

    def queued(self, organization: Organization) -> list[Task]:
        """Those that are ready or wait."""
        return [task for task in self.of(organization) if task.ready or task.due_at is not None]

    def running(self, organization: Organization | None = None) -> list[Task]:
        """Those with a lease, of one organization or of all."""
        return [task for task in self.tasks.values() if task.lease and organization in (None, task.organization)]

    def credits(self, organization: Organization) -> Credits:
        """An organization's credits."""
        return Credits(
            on=organization.credits_on,
            granted=organization.granted,
            charged=organization.charged,
            held=self._held_credits(organization),
        )

    def _held_credits(self, organization: Organization) -> int:
        return sum(task.new.cost for task in self.running(organization))

    # Submitting ------------------------------------------------------------------------------------------------------

    def submit(self, organization: Organization, new: NewTask) -> type[Accepted | Refusal]:
        """What becomes of this task."""
        key = (organization.id, new.idempotency_key or "")
        if organization.disabled:
            return KeyRefused
        if new.idempotency_key is not None and key in self.keys:
            return TaskExists
        if len(self.queued(organization)) >= organization.queue_limit:
            return QueueFull
        if not organization.can_pay(new.cost, self.spent):
            return CreditsShort
        self.spent += new.cost
        seq = self.accepted[organization.id] = self.accepted.get(organization.id, 0) + 1
        self.tasks[new.id] = Task(new, organization, seq)
        if new.idempotency_key is not None:
            self.keys[key] = new.id
        return Accepted

    def submit_all(self, organization: Organization, new: Sequence[NewTask], room: int) -> Any:
        """What becomes of these tasks; one refusal for all of them if there is no room for so many."""
        if room and organization.disabled:
            return KeyRefused
        if room and len(self.queued(organization)) + room > organization.queue_limit:
            return QueueFull
        return [self.submit(organization, task) for task in new]

    def clear(self, organization: Organization) -> int:
        """Forget what is queued, and its keys; how many that were."""
        queued = self.queued(organization)
        for task in queued:
            self.forget(task)
        return len(queued)

    def forget(self, task: Task) -> None:
        """There never was such a task."""
        del self.tasks[task.new.id]
        self.keys.pop((task.organization.id, task.new.idempotency_key or ""), None)

    # Exchanging ------------------------------------------------------------------------------------------------------

    def settle(self, reports: Iterable[Report], session_id: str, now: int) -> list[Verdict]:
        """The verdicts on these reports, which end their leases."""
        reports = list(reports)
        ended = {task.ended_by for task in self.tasks.values()}
        held = {task.lease.id: task for task in self.running() if task.lease and task.session_id == session_id}
        for report in reports:
            task = held.pop(report.lease_id, None)
            if task is not None:
                self.end(task, report.ending, now)
                ended.add(report.lease_id)
        return [Verdict.ACCEPTED if report.lease_id in ended else Verdict.GONE for report in reports]

    def end(self, task: Task, ending: Ending, now: int) -> None:
        """An attempt is over."""
        assert task.lease is not None
        decided = aftermath(
            ending,
            attempt=task.attempt,
            attempts=task.lease.attempts,
            pause_base_ms=RETRY_PAUSE_MS,
            chance=CHANCE,
        )
        if isinstance(decided, Final):
            task.status, task.ended_at, task.ended_by = decided.status, now, task.lease.id
            if decided.status is TaskStatus.COMPLETED and task.organization.credits_on:
                task.organization.charged += task.new.cost
        elif isinstance(decided, Paused):
            task.attempt, task.due_at = decided.attempt, now + decided.pause_ms
        else:
            task.attempt, task.ready = decided.attempt, True
        task.lease = None

    def answered(self, one: Exchange) -> list[Lease]:
        """The leases that this exchange holds already."""
        return [
            task.lease
            for task in self.running()
            if task.lease and (task.session_id, task.exchange_id) == (one.session_id, one.id)
        ]

    def claimed(self, one: Exchange, leases: Sequence[Lease], unpaid: Sequence[Task], now: int) -> None:
        """Check a claim against every rule, and take it over. ``unpaid`` are the ready tasks that it ended."""
        types = set(self.sessions[one.session_id].new.types)
        assert len(leases) <= one.places
        for lease in leases:
            task = self.tasks[lease.task_id]
            assert task.ready, f"{task.new.id} was claimed, but is not ready"
            assert task.new.task_type in types
            assert not task.organization.stopped
            assert lease.attempt == task.attempt + 1
            task.ready, task.lease, task.attempt = False, lease, lease.attempt
            task.session_id, task.exchange_id = one.session_id, one.id
        for task in unpaid:
            assert task.new.task_type in types
            assert not task.organization.can_pay(task.new.cost), "a task failed that could have been paid"
            task.ready, task.status, task.ended_at = False, TaskStatus.FAILED, now
        taken = [self.tasks[lease.task_id] for lease in leases] + list(unpaid)
        for organization in {task.organization.id for task in taken}:
            self._check_slots(self.organizations[organization])
            self._check_order(self.organizations[organization], types, taken)
        for organization in {task.organization.id for task in taken if task.lease and task.new.cost}:
            one_organization = self.organizations[organization]
            assert one_organization.can_pay(self._held_credits(one_organization)), "more is held than there is"
        assert all(self._room(name) >= 0 for name in types), "more of a limited type than its limit"
        if len(leases) < one.places:
            waiting = [task for task in self.tasks.values() if task.new.task_type in types and self._startable(task)]
            assert not waiting, f"{len(waiting)} tasks could have started, places stayed free"

    def _check_slots(self, organization: Organization) -> None:
        used = len(self.running(organization))
        assert organization.slots is not None
        assert used <= organization.slots, f"{used} run with {organization.slots} slots"

    def _check_order(self, organization: Organization, types: set[str], taken: Sequence[Task]) -> None:
        mine = [task.order for task in taken if task.organization is organization]
        for task in self.of(organization):
            if task.ready and task.new.task_type in types and self._room(task.new.task_type) > 0:
                assert task.order > max(mine), "a later task was taken first"

    def _room(self, task_type: str) -> int:
        limit = self.catalogue[task_type].limit
        return 1_000 if limit is None else limit - sum(task.new.task_type == task_type for task in self.running())

    def _startable(self, task: Task) -> bool:
        organization = task.organization
        free = (organization.slots or 0) - len(self.running(organization))
        room = self._room(task.new.task_type)
        return task.ready and not organization.stopped and free > 0 and room > 0 and not self._may_wait(organization)

    def _may_wait(self, organization: Organization) -> bool:
        """Whether some task may wait for credits that others hold, and all behind it. Never while nothing is held."""
        held = self._held_credits(organization)
        return held > 0 and not organization.can_pay(COST_MOST, held)

    # Sessions --------------------------------------------------------------------------------------------------------

    def renew(self, session: Session, known: set[str], exchanges: set[str], now: int) -> None:
        """Return leases that nobody received for a whole session lease."""
        young = now - session.new.lease_ms
        session.lease_until = now + session.new.lease_ms
        for task in self.held(session):
            assert task.lease is not None
            unknown = task.lease.id not in known and task.exchange_id not in exchanges
            if unknown and task.lease.started_at < young:
                self.end(task, Released(), now)

    def held(self, session: Session) -> list[Task]:
        """The tasks whose leases this session holds."""
        return [task for task in self.running() if task.session_id == session.new.id]

    def end_session(self, session: Session, reason: LossReason, overdue: set[str], now: int) -> int:
        """A worker process is gone; how many leases went back."""
        session.dead = True
        held = self.held(session)
        otherwise: Ending = Lost() if reason is LossReason.LOST else Released()
        for task in held:
            late = task.lease is not None and task.lease.id in overdue
            self.end(task, Failed(cause="overdue") if late else otherwise, now)
        return len(held)

    def expire(self, now: int) -> list[str]:
        """The names of the sessions that die now."""
        expired = [one for one in self.sessions.values() if not one.dead and one.lease_until < now]
        for session in expired:
            session.dead = True
        return sorted(session.new.name for session in expired)

    def return_orphans(self, now: int) -> int:
        """How many leases go back because nobody alive works on them, or for too long."""
        running = self.running()
        for task in running:
            if self.sessions[task.session_id].dead:
                self.end(task, Lost(), now)
            elif self._deadline(task) < now - 2 * GRACE_MS:
                self.end(task, Failed(cause="overdue"), now)
        return len(running) - len(self.running())

    def _deadline(self, task: Task) -> int:
        assert task.lease is not None
        return task.lease.started_at + task.lease.timeout_ms

    # Upkeep ----------------------------------------------------------------------------------------------------------

    def promote(self, now: int) -> int:
        """Tasks whose pause is over are ready."""
        due = [task for task in self.tasks.values() if task.due_at is not None and task.due_at <= now]
        for task in due:
            task.due_at, task.ready = None, True
        return len(due)

    def purge(self, before: int) -> int:
        """Forget tasks that ended so long ago, and their keys."""
        old = [task for task in self.tasks.values() if task.status and task.ended_at <= before]
        for task in old:
            self.forget(task)
        return len(old)
