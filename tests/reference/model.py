"""What the store promises, in plain Python: dictionaries in the place of tables, and no transaction to get wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from fairlane.errors import (
    ConcurrencyFull,
    CreditsShort,
    KeyRefused,
    QueueFull,
    Refusal,
    TaskEnded,
    TaskExists,
    Unavailable,
    ValidationRefused,
)
from fairlane.model.attempts import AttemptEnding
from fairlane.model.calls import Abandoned, Admitted, NewCall
from fairlane.model.leases import (
    Ending,
    Exchange,
    Failed,
    Lease,
    LossReason,
    Lost,
    NewSession,
    Released,
    Report,
    ReportVerdict,
)
from fairlane.model.organizations import CreditTotals
from fairlane.model.tasks import Accepted, Catalogue, NewTask, TaskStatus, TaskView
from fairlane.rules.attempts import CALL_MS, Final, Paused, aftermath, call_aftermath, ending_of
from fairlane.rules.fairness import rank_of

CHANCE = 0.5
OVERDUE = Failed(cause="overdue", how=AttemptEnding.TIMED_OUT)
GRACE_MS = 5_000
RETRY_PAUSE_MS = 1_000
RENEW_MS = 10_000
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
    priority_limit: int | None = None
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
    deadline_at: int = 0
    canceled: bool = False
    status: TaskStatus | None = None
    ended_at: int = 0
    reported: str = ""
    """The lease that ended it by a report. One that was returned is not accepted later, even if it ended the task."""
    tried: list[tuple[int, str, int | None]] = field(default_factory=list)
    """Number, ending and pause of each attempt that has ended."""
    compared: int = 0
    """How many of them were compared with the store."""
    seen: TaskView | None = None
    """The first reading after it ended: no later one may differ."""

    @property
    def order(self) -> tuple[int, int]:
        """Highest priority first, then the oldest."""
        return rank_of(self.new.priority), self.seq


@dataclass
class Call:
    """One admitted call. It holds a slot until it has ended or is removed."""

    new: NewCall
    organization: Organization
    seq: int
    server: "Session"
    begun_at: int
    attempt: int = 0
    due_at: int | None = None
    lease: Lease | None = None
    session_id: str = ""
    exchange_id: str = ""
    canceled: bool = False
    ended: bool = False

    @property
    def ready(self) -> bool:
        """It waits for a free place."""
        return not (self.ended or self.lease or self.due_at is not None)


@dataclass
class Session:
    """One process: a worker, or a server."""

    new: NewSession
    lease_until: int
    dead: bool = False


@dataclass
class Reference:
    """The whole store."""

    catalogue: Catalogue
    organizations: dict[int, Organization] = field(default_factory=dict)
    tasks: dict[str, Task] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
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

    def credits(self, organization: Organization) -> CreditTotals:
        """An organization's credits."""
        return CreditTotals(
            on=organization.credits_on,
            granted=organization.granted,
            charged=organization.charged,
            held=self._held_credits(organization),
        )

    def _held_credits(self, organization: Organization) -> int:
        holding: list[Task | Call] = [*self.running(organization), *self.calling(organization)]
        return sum(one.new.cost for one in holding)

    def calling(self, organization: Organization | None = None) -> list[Call]:
        """Calls that hold a slot, of one organization or of all."""
        return [call for call in self.calls.values() if not call.ended and organization in (None, call.organization)]

    def used(self, organization: Organization) -> int:
        """Slots in use."""
        return len(self.running(organization)) + len(self.calling(organization))

    # Calling ---------------------------------------------------------------------------------------------------------

    def begin(self, new: NewCall, now: int) -> type[Admitted | Refusal]:
        """What becomes of this call."""
        organization = self.organizations[new.organization_id]
        if organization.disabled:
            return KeyRefused
        if organization.paused or organization.slots is None:
            return Unavailable
        if self.used(organization) >= organization.slots or self._room(new.task_type) <= 0:
            return ConcurrencyFull
        if not organization.can_pay(new.cost, self._held_credits(organization)):
            return CreditsShort
        seq = self.accepted[organization.id] = self.accepted.get(organization.id, 0) + 1
        self.calls[new.id] = Call(new, organization, seq, self.sessions[new.server_id], now)
        return Admitted

    def abandon(self, call_id: str, *, running: bool) -> Abandoned:
        """Nobody waits for it any more."""
        call = self.calls.get(call_id)
        if call is None:
            return Abandoned.GONE
        if call.ended:
            return Abandoned.ENDED
        if call.lease is None:
            del self.calls[call_id]
            return Abandoned.REMOVED
        call.canceled |= running
        return Abandoned.RUNNING

    def end_call(self, call: Call, ending: Ending, now: int) -> None:
        """An attempt of it is over, or its time."""
        lease, call.lease = call.lease, None
        if call.canceled or call.server.dead:
            del self.calls[call.new.id]
            return
        if lease is None:
            call.ended, call.due_at = True, None
            return
        decided = call_aftermath(
            ending,
            attempt=call.attempt,
            attempts=lease.attempts,
            left_ms=call.begun_at + CALL_MS - now,
            pause_base_ms=RETRY_PAUSE_MS,
            chance=CHANCE,
        )
        if isinstance(decided, Final):
            call.ended = True
            if decided.status is TaskStatus.COMPLETED and call.organization.credits_on:
                call.organization.charged += call.new.cost
            return
        call.attempt = decided.attempt
        if isinstance(decided, Paused):
            call.due_at = now + decided.pause_ms

    # Submitting ------------------------------------------------------------------------------------------------------

    def submit(self, organization: Organization, new: NewTask, now: int) -> type[Accepted | Refusal]:
        """What becomes of this task."""
        key = (organization.id, new.idempotency_key or "")
        if organization.disabled:
            return KeyRefused
        if new.idempotency_key is not None and key in self.keys:
            return TaskExists
        if organization.priority_limit is not None and new.priority > organization.priority_limit:
            return ValidationRefused
        if len(self.queued(organization)) >= organization.queue_limit:
            return QueueFull
        if not organization.can_pay(new.cost, self.spent):
            return CreditsShort
        self.spent += new.cost
        seq = self.accepted[organization.id] = self.accepted.get(organization.id, 0) + 1
        due_at = now + new.delay_ms if new.delay_ms else None
        self.tasks[new.id] = Task(new, organization, seq, ready=due_at is None, due_at=due_at)
        if new.idempotency_key is not None:
            self.keys[key] = new.id
        return Accepted

    def submit_all(self, organization: Organization, new: Sequence[NewTask], room: int, now: int) -> Any:
        """What becomes of these tasks; one refusal for all of them if there is no room for so many."""
        if room and organization.disabled:
            return KeyRefused
        if room and len(self.queued(organization)) + room > organization.queue_limit:
            return QueueFull
        return [self.submit(organization, task, now) for task in new]

    def clear(self, organization: Organization) -> int:
        """Forget what is queued, and its keys; how many that were."""
        queued = self.queued(organization)
        for task in queued:
            self.forget(task)
        return len(queued)

    def cancel(self, task: Task, now: int) -> TaskStatus | type[Refusal]:
        """How the task stands then."""
        if task.status:
            return task.status if task.canceled else TaskEnded
        if task.lease and not task.canceled:
            task.deadline_at = min(task.deadline_at, now + RENEW_MS)
        task.canceled = True
        if task.lease:
            return TaskStatus.PROCESSING
        task.ready, task.due_at, task.status, task.ended_at = False, None, TaskStatus.FAILED, now
        return TaskStatus.FAILED

    def forget(self, task: Task) -> None:
        """There never was such a task."""
        del self.tasks[task.new.id]
        self.keys.pop((task.organization.id, task.new.idempotency_key or ""), None)

    # Exchanging ------------------------------------------------------------------------------------------------------

    def settle(self, reports: Iterable[Report], session_id: str, now: int) -> list[ReportVerdict]:
        """The verdicts on these reports, which end their leases."""
        reports = list(reports)
        ended = {task.reported for task in self.tasks.values()}
        held = {one.lease.id: one for one in self.leased() if one.lease and one.session_id == session_id}
        for report in reports:
            one = held.pop(report.lease_id, None)
            if one is not None:
                self.end(one, report.ending, now)
                ended.add(report.lease_id)
                if isinstance(one, Task) and one.status:
                    one.reported = report.lease_id
        return [ReportVerdict.ACCEPTED if report.lease_id in ended else ReportVerdict.GONE for report in reports]

    def leased(self) -> list["Task | Call"]:
        """Whatever a worker has."""
        return [*self.running(), *(call for call in self.calling() if call.lease)]

    def end(self, task: "Task | Call", ending: Ending, now: int) -> None:
        """An attempt is over."""
        if isinstance(task, Call):
            self.end_call(task, ending, now)
            return
        assert task.lease is not None
        decided = aftermath(
            ending,
            attempt=task.attempt,
            attempts=task.lease.attempts,
            pause_base_ms=RETRY_PAUSE_MS,
            chance=CHANCE,
            canceled=task.canceled,
        )
        due_at = now + decided.pause_ms if isinstance(decided, Paused) else None
        task.tried.append((task.attempt, str(ending_of(ending, canceled=task.canceled)), due_at))
        if isinstance(decided, Final):
            task.status, task.ended_at = decided.status, now
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
            for task in self.leased()
            if task.lease and (task.session_id, task.exchange_id) == (one.session_id, one.id)
        ]

    def claimed(self, one: Exchange, every: Sequence[Lease], unpaid: Sequence[Task], now: int, ended: set[str]) -> None:
        """Check a claim against every rule, and take it over.

        ``unpaid`` are the ready tasks that it ended; it may end calls, too, whose time is over: ``ended``.
        """
        types = set(self.sessions[one.session_id].new.types)
        assert len(every) <= one.places
        given_up: list[str] = []
        for call in self.calling():
            late = call.ready and call.new.task_type in types and call.begun_at + CALL_MS <= now
            if late and (call.new.id in ended or len(every) < one.places):
                call.ended = True
                given_up.append(call.new.task_type)
        for lease in every:
            if lease.call:
                self._call_claimed(one, lease, types, now)
        leases = [lease for lease in every if not lease.call]
        for lease in leases:
            task = self.tasks.get(lease.task_id)
            assert task is not None, f"{lease.task_id} was claimed, but is not there"
            assert task.ready, f"{task.new.id} was claimed, but is not ready"
            assert task.new.task_type in types
            assert not task.organization.stopped
            assert lease.attempt == task.attempt + 1
            task.ready, task.lease, task.attempt = False, lease, lease.attempt
            task.session_id, task.exchange_id = one.session_id, one.id
            task.deadline_at = lease.started_at + lease.timeout_ms
        for task in unpaid:
            assert task.new.task_type in types
            assert not task.organization.can_pay(task.new.cost), "a task failed that could have been paid"
            task.ready, task.status, task.ended_at = False, TaskStatus.FAILED, now
        taken = [self.tasks[lease.task_id] for lease in leases] + list(unpaid)
        for organization in {task.organization.id for task in taken}:
            waiting_calls = [
                call for call in self.calling(self.organizations[organization])
                if call.ready and call.new.task_type in types
            ]  # fmt: skip
            assert not waiting_calls, "a task was taken before its organization's call"
            self._check_slots(self.organizations[organization])
            self._check_order(self.organizations[organization], types, taken, given_up)
        for organization in {task.organization.id for task in taken if task.lease and task.new.cost}:
            one_organization = self.organizations[organization]
            assert one_organization.can_pay(self._held_credits(one_organization)), "more is held than there is"
        assert all(self._room(name) >= 0 for name in types), "more of a limited type than its limit"
        if len(every) < one.places:
            assert not [call for call in self.calling() if call.ready and call.new.task_type in types]
            waiting = [task for task in self.tasks.values() if task.new.task_type in types and self._startable(task)]
            assert not waiting, f"{len(waiting)} tasks could have started, places stayed free"

    def _call_claimed(self, one: Exchange, lease: Lease, types: set[str], now: int) -> None:
        call = self.calls.get(lease.task_id)
        assert call is not None, f"{lease.task_id} was handed out, but is over"
        assert call.ready, f"{call.new.id} was handed out, but is not ready"
        assert call.new.task_type in types
        assert lease.attempt == call.attempt + 1
        left_ms = call.begun_at + CALL_MS - now
        assert lease.timeout_ms == min(self.catalogue[call.new.task_type].timeout_ms, left_ms)
        older = [
            other for other in self.calling(call.organization)
            if other.ready and other.new.task_type in types and other.seq < call.seq
        ]  # fmt: skip
        assert not older, "a later call was taken first"
        call.lease, call.attempt = lease, lease.attempt
        call.session_id, call.exchange_id = one.session_id, one.id

    def _check_slots(self, organization: Organization) -> None:
        used = self.used(organization)
        assert organization.slots is not None
        assert used <= organization.slots, f"{used} run with {organization.slots} slots"

    def _check_order(
        self, organization: Organization, types: set[str], taken: Sequence[Task], given_up: Sequence[str]
    ) -> None:
        """``given_up``: types of which calls ended on the way; what was taken before had no room of these yet."""
        mine = [task.order for task in taken if task.organization is organization]
        for task in self.of(organization):
            room = self._room(task.new.task_type) - given_up.count(task.new.task_type)
            if task.ready and task.new.task_type in types and room > 0:
                assert task.order > max(mine), "a later task was taken first"

    def _room(self, task_type: str) -> int:
        limit = self.catalogue[task_type].limit
        holding: list[Task | Call] = [*self.running(), *self.calling()]
        return 1_000 if limit is None else limit - sum(one.new.task_type == task_type for one in holding)

    def _startable(self, task: Task) -> bool:
        organization = task.organization
        free = (organization.slots or 0) - self.used(organization)
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

    def held(self, session: Session) -> list[Task | Call]:
        """The tasks and calls whose leases this session holds as a worker."""
        return [one for one in self.leased() if one.session_id == session.new.id]

    def served(self, session: Session) -> list[Call]:
        """The calls whose leases this session holds as a server."""
        return [call for call in self.calling() if call.lease is None and call.server is session]

    def end_session(self, session: Session, reason: LossReason, overdue: set[str], now: int) -> int:
        """A worker process is gone; how many leases went back."""
        session.dead = True
        held = self.held(session)
        otherwise: Ending = Lost() if reason is LossReason.LOST else Released()
        for task in held:
            late = task.lease is not None and task.lease.id in overdue
            self.end(task, OVERDUE if late else otherwise, now)
        served = self.served(session)
        for call in served:
            self.end_call(call, Lost(), now)
        return len(held) + len(served)

    def expire(self, now: int) -> list[str]:
        """The names of the sessions that die now."""
        expired = [one for one in self.sessions.values() if not one.dead and one.lease_until < now]
        for session in expired:
            session.dead = True
        return sorted(session.new.name for session in expired)

    def return_orphans(self, now: int, *, overdue: bool = True) -> int:
        """How many leases go back because nobody alive works on them, or for too long."""
        before = now - 2 * GRACE_MS if overdue else 0
        returned = 0
        waiting = [call for call in self.calling() if call.lease is None]
        for task in self.leased():
            dead = self.sessions[task.session_id].dead
            if dead or self._deadline(task) < before:
                self.end(task, Lost() if dead else OVERDUE, now)
                returned += 1
        for call in waiting:
            if call.server.dead or call.begun_at + CALL_MS < before:
                self.end_call(call, Lost(), now)
                returned += 1
        for call in [call for call in self.calls.values() if call.ended and call.server.dead]:
            del self.calls[call.new.id]
        return returned

    def _deadline(self, task: "Task | Call") -> int:
        assert task.lease is not None
        return task.deadline_at if isinstance(task, Task) else task.lease.started_at + task.lease.timeout_ms

    # Upkeep ----------------------------------------------------------------------------------------------------------

    def promote(self, now: int) -> int:
        """Tasks whose pause is over are ready."""
        due = [task for task in self.tasks.values() if task.due_at is not None and task.due_at <= now]
        for task in due:
            task.due_at, task.ready = None, True
        paused = [call for call in self.calls.values() if call.due_at is not None and call.due_at <= now]
        for call in paused:
            call.due_at = None
        return len(due) + len(paused)

    def purge(self, before: int) -> int:
        """Forget tasks that ended so long ago, and their keys."""
        old = [task for task in self.tasks.values() if task.status and task.ended_at <= before]
        for task in old:
            self.forget(task)
        return len(old)
