"""The invariants of the store's rows: of one snapshot, and of each step from one snapshot to the next.

A :class:`History` is shown snapshots, as often as its user can afford. It reads rows alone and trusts no count. The
names I1 to I17 are those of the promises: I1 nothing is lost, I2 one outcome, I3 the limit of slots, I4 exact counts,
I7 the order within an organization, I8 the order between organizations, I9 keys, I10 credits, I11 deliveries owed, I12
the limit of the queue, I17 bounded attempts, each of which leaves one row unless it completed its task.
"""

from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

from fairlane.rules.fairness import VIRTUAL_UNITS_PER_MS

Rows = Callable[[str], list[tuple[Any, ...]]]
"""Runs one SELECT and returns its rows."""


class OrganizationRow(NamedTuple):
    """Limits and kept counts."""

    id: int
    slots: int | None
    queue_limit: int
    weight: int
    queued: int
    ready: int
    processing: int
    calls: int
    virtual_time: int
    credits_on: int
    granted: int
    charged: int
    held: int


class TaskRow(NamedTuple):
    """An accepted request."""

    id: str
    organization_id: int
    task_type: str
    key: str | None
    cost: int
    webhook: str | None
    created_at: int


class QueuedRow(NamedTuple):
    """A task that is ready, or waits until ``due_at``."""

    task_id: str
    organization_id: int
    task_type: str
    rank: int
    seq: int
    attempt: int
    due_at: int | None
    starts: int


class LeaseRow(NamedTuple):
    """A slot in use."""

    task_id: str
    organization_id: int
    id: str
    task_type: str
    rank: int
    seq: int
    cost: int
    attempt: int
    attempts: int
    estimate_ms: int
    started_at: int
    deadline_at: int
    session_id: str
    kind: int
    canceled_at: int | None
    starts: int
    slot_wait_ms: int
    worker_wait_ms: int


class OutcomeRow(NamedTuple):
    """How a task ended."""

    task_id: str
    organization_id: int
    status: str
    result: str | None
    failure: str | None
    charged: int
    attempt: int
    lease_id: str | None
    cause: str | None
    started_at: int | None
    failure_group: str | None
    finished_at: int
    slot_wait_ms: int | None
    worker_wait_ms: int | None


class AttemptRow(NamedTuple):
    """An attempt that did not complete its task."""

    task_id: str
    starts: int
    number: int
    lease_id: str
    ending: str
    started_at: int
    ended_at: int
    due_at: int | None


class DeliveryRow(NamedTuple):
    """A message owed."""

    id: str
    task_id: str
    tries: int
    due_at: int | None
    delivered_at: int | None


KEPT = 100
"""Most rows of attempts that one task has."""

SELECTS: dict[str, tuple[type[Any], str]] = {
    "organizations": (
        OrganizationRow,
        (
            "SELECT id, slots_max, queue_limit, weight, queued, ready, processing, calls, virtual_time, credits_on,"
            " credits_granted, credits_charged, credits_held FROM organization ORDER BY id"
        ),
    ),
    "tasks": (
        TaskRow,
        "SELECT id, organization_id, task_type, idempotency_key, cost, webhook_url, created_at FROM task",
    ),
    "ready": (
        QueuedRow,
        "SELECT task_id, organization_id, task_type, rank, seq, attempt, NULL, starts FROM queue_entry",
    ),
    "waiting": (
        QueuedRow,
        "SELECT task_id, organization_id, task_type, rank, seq, attempt, due_at, starts FROM waiting",
    ),
    "leases": (
        LeaseRow,
        (
            "SELECT task_id, organization_id, id, task_type, rank, seq, cost, attempt, attempts, estimate_ms,"
            " started_at, deadline_at, session_id, kind, canceled_at, starts, slot_wait_ms, worker_wait_ms FROM lease"
        ),
    ),
    "outcomes": (
        OutcomeRow,
        (
            "SELECT task_id, organization_id, status, result, failure, charged, attempt, lease_id, cause, started_at,"
            " failure_group, finished_at, slot_wait_ms, worker_wait_ms FROM outcome"
        ),
    ),
    "deliveries": (
        DeliveryRow,
        "SELECT id, task_id, tries, due_at, delivered_at FROM delivery WHERE task_id IS NOT NULL",
    ),
}
KEYS = "SELECT organization_id, key, task_id FROM idempotency"
ATTEMPTS = "SELECT task_id, starts, number, lease_id, ending, started_at, ended_at, due_at FROM attempt"
FAILURES = "SELECT organization_id, hour, group_id, failures FROM failure_hour"
TURNS = "SELECT organization_id, task_type FROM turn WHERE kind = 0"


@dataclass(frozen=True)
class Snapshot:
    """The rows of one moment, by the id of their task."""

    organizations: dict[int, OrganizationRow]
    tasks: dict[str, TaskRow]
    ready: dict[str, QueuedRow]
    waiting: dict[str, QueuedRow]
    leases: dict[str, LeaseRow]
    outcomes: dict[str, OutcomeRow]
    deliveries: dict[str, DeliveryRow]
    keys: dict[tuple[int, str], str]
    attempts: dict[str, list[AttemptRow]]
    """By task, in the order of their starts."""
    failures: dict[tuple[int, int, str], int]
    """Counted tasks that failed, by organization, hour and group."""
    turns: frozenset[tuple[int, str]]
    """(organization, type) of each organization that can start a task of the type."""
    doubled: tuple[str, ...]
    """Tasks with two rows in one table."""

    def states(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the four states of a task, and the rows of each."""
        yield "queued", self.ready
        yield "waiting", self.waiting
        yield "leased", self.leases
        yield "ended", self.outcomes


def read_snapshot(rows: Rows) -> Snapshot:
    """Read the rows. Nothing may be written between the statements."""
    found: dict[str, dict[Any, Any]] = {}
    doubled: list[str] = []
    for name, (kind, select) in SELECTS.items():
        made = [kind(*row) for row in rows(select)]
        found[name] = {getattr(one, "task_id", one[0]): one for one in made}
        if len(found[name]) < len(made):
            doubled.append(name)
    keys = {(organization, key): task for organization, key, task in rows(KEYS)}
    attempts: dict[str, list[AttemptRow]] = {}
    for one in (AttemptRow(*row) for row in rows(f"{ATTEMPTS} ORDER BY task_id, starts")):
        attempts.setdefault(one.task_id, []).append(one)
    failures = {(organization, hour, group): count for organization, hour, group, count in rows(FAILURES)}
    turns = frozenset((organization, task_type) for organization, task_type in rows(TURNS))
    return Snapshot(**found, keys=keys, attempts=attempts, failures=failures, turns=turns, doubled=tuple(doubled))


@dataclass
class History:
    """Everything seen so far. ``show`` raises AssertionError at the first promise that is broken."""

    claimers: int = 1
    """How many servers claim at the same time (the C of I8)."""
    charges: bool = False
    """Whether credits are counted for the same organizations all the time, so that what was charged must add up."""
    forgets: bool = False
    """Whether tasks may be cleared or purged."""
    types: dict[str, frozenset[str]] = field(default_factory=dict)
    """By session, the types that it serves; a session that is missing serves all."""
    even: bool = False
    """Whether the database's clock is never set, so that waits are no longer than the time that passed."""
    limited: frozenset[str] = frozenset()
    """Types with a limit of their own: I7 and I8 leave them out."""
    acknowledged: set[str] = field(default_factory=set)
    """Tasks that a caller was told to be accepted."""
    used_keys: set[tuple[int, str]] = field(default_factory=set)
    """(organization, key) of which a caller was told that they name a task."""
    last: Snapshot | None = None
    shown: int = 0
    compared: int = 0
    """Comparisons of two organizations at a start (I8)."""
    intervals: int = 0
    """Comparisons of the service of two organizations over an interval (I8)."""
    lag_ms: float = 0.0
    """The largest lag of a backlogged organization, in milliseconds of service at weight 1."""
    lag_share: float = 0.0
    """The largest share of its bound that a lag reached."""
    charged: dict[int, int] = field(default_factory=dict)
    """Credits that outcomes charged, by organization."""
    failed: dict[tuple[int, int, str], int] = field(default_factory=dict)
    """Outcomes seen so far, by organization, hour and group of failures."""
    called: set[int] = field(default_factory=set)
    """Organizations that made a call: what it was charged is not in an outcome."""
    quantum_ms: float = 1_000.0
    """The largest duration that can have been expected: no estimate exceeds the longest attempt of its type."""
    _service: dict[int, int] = field(default_factory=dict)
    """By organization, in milliseconds: the estimates of what runs, and the true durations of what ended."""
    _errors: dict[int, float] = field(default_factory=dict)
    """By organization, in milliseconds: how far the estimates of what ended were wrong, all together."""
    _errors_before: dict[int, dict[int, float]] = field(default_factory=dict)
    """By organization, these sums at its last start."""
    _since: dict[tuple[int, int], tuple[int, int, float]] = field(default_factory=dict)
    """By pair of organizations that can start work all the time: the service of both when that began, and how far their
    virtual times were apart."""

    def show(self, now: Snapshot, at: int, *, changed: Set[str] | None = None) -> None:
        """Compare a snapshot with the promises, and with the snapshot before. ``at`` is the database's clock.

        ``changed`` names the tasks that can have changed since the snapshot before; None: all of them.
        """
        before, self.last = self.last, now
        self.shown += 1
        changed = _every_task(before, now) if changed is None or before is None else changed
        self._whole(now, changed)
        self._grouped({} if before is None else before.outcomes, now, changed)
        if before is not None:
            self._kept(before, now, changed)
            self._started(before, now, changed)
            self._fair(before, now, at)

    # One snapshot ----------------------------------------------------------------------------------------------------

    def _whole(self, now: Snapshot, changed: Set[str]) -> None:
        assert not now.doubled, f"I4: a task has two rows in {now.doubled}"
        for task in changed:
            found = ((state, rows.get(task)) for state, rows in now.states())
            states = [state for state, row in found if row is not None and not (state == "leased" and row.kind)]
            assert not states or task in now.tasks, f"I1: {task} is {states[0]}, and is no task"
            assert len(states) < 2, f"I1, I4: task {task} is {' and '.join(states)}"
            assert states or task not in now.tasks, f"I1, I4: no state: {task}"
        counts = {one: [0, 0, 0, 0, 0] for one in now.organizations}
        for place, rows in enumerate((now.ready, now.waiting)):
            for row in rows.values():
                counts[row.organization_id][place] += 1
        for lease in now.leases.values():
            counts[lease.organization_id][3 if lease.kind else 2] += 1
            counts[lease.organization_id][4] += lease.cost
        for one in now.organizations.values():
            ready, waiting, processing, calls, held = counts[one.id]
            counted, kept = (
                (ready + waiting, ready, processing, calls),
                (one.queued, one.ready, one.processing, one.calls),
            )
            assert kept == counted, f"I3, I4: organization {one.id} keeps {kept}, its rows are {counted}"
            assert one.held == held, f"I10: organization {one.id} holds {one.held} credits, its leases {held}"
        lost = self.acknowledged - now.tasks.keys()
        assert not lost, f"I1: acknowledged tasks are lost: {sorted(lost)}"
        for lease in now.leases.values():
            assert lease.attempt <= lease.attempts, f"I17: {lease.task_id} is in attempt {lease.attempt}"
        unnamed = set(now.keys.values()) - now.tasks.keys()
        assert not unnamed, f"I9: keys name tasks that are not there: {sorted(unnamed)}"
        for task in changed & now.outcomes.keys():
            owed = now.tasks[task].webhook is not None
            assert not owed or task in now.deliveries, f"I11: {task} ended, and its webhook is owed nothing"
            assert (now.outcomes[task].failure_group is None) == (
                now.outcomes[task].status == "COMPLETED" or now.outcomes[task].cause == "canceled"
            ), f"{task} ended {now.outcomes[task].status}, its group of failures is {now.outcomes[task].failure_group}"
        self._attempted(now, changed)
        if self.even:
            self._waited(now, changed)

    def _attempted(self, now: Snapshot, changed: Set[str]) -> None:
        """Check that each attempt that did not complete its task has one row, and no other has one."""
        for task in now.attempts.keys() - now.tasks.keys():
            raise AssertionError(f"I17: {task} has attempts, and is no task")
        for task in changed & now.tasks.keys():
            rows = now.attempts.get(task, [])
            state = now.ready.get(task) or now.waiting.get(task) or now.leases.get(task)
            ended = len(rows) if state is None else state.starts - (task in now.leases)
            kept = range(max(1, ended - KEPT + 1), ended + 1)
            starts = [one.starts for one in rows]
            outcome = now.outcomes.get(task)
            if outcome is not None and rows:  # the newest are kept, however many there were
                kept = range(starts[-1] - len(rows) + 1, starts[-1] + 1)
            assert starts == [*kept], f"I17: {task} was started {ended} times, its attempts are {starts}"
            for one in rows:
                assert one.started_at <= one.ended_at, f"I17: an attempt of {task} ended before it began"
                completed = outcome is not None and outcome.status == "COMPLETED" and outcome.lease_id == one.lease_id
                assert not completed, f"I17: {task} was completed by an attempt that has a row"
            counted = [one.number for one in rows if one.ending != "HANDED_BACK"]
            assert len(set(counted)) == len(counted), f"I17: an attempt of {task} counted twice: {counted}"

    def _waited(self, now: Snapshot, changed: Set[str]) -> None:
        """Check that no task waited for longer than it was there before its last start."""
        started: list[LeaseRow | OutcomeRow] = [one for one in now.leases.values() if not one.kind]
        ended = (now.outcomes[task] for task in changed & now.outcomes.keys())
        started += [one for one in ended if one.started_at is not None]
        for one in started:
            assert one.slot_wait_ms is not None
            assert one.worker_wait_ms is not None
            assert one.started_at is not None
            there = one.started_at - now.tasks[one.task_id].created_at
            assert min(one.slot_wait_ms, one.worker_wait_ms) >= 0, f"{one.task_id} waited for less than nothing"
            assert one.slot_wait_ms + one.worker_wait_ms <= there, f"{one.task_id} waited longer than {there} ms"

    def _grouped(self, before: dict[str, OutcomeRow], now: Snapshot, changed: Set[str]) -> None:
        """Check that each failure was counted once in its group, also after its task is gone."""
        for outcome in (now.outcomes[task] for task in changed & now.outcomes.keys() - before.keys()):
            if outcome.failure_group is not None:
                key = (outcome.organization_id, outcome.finished_at // 3_600_000, outcome.failure_group)
                self.failed[key] = self.failed.get(key, 0) + 1
        for key, count in self.failed.items():
            counted = now.failures.get(key, 0)
            assert counted == count, f"organization, hour and group {key}: {counted} failures counted, {count} ended"

    # What must not change --------------------------------------------------------------------------------------------

    def _kept(self, before: Snapshot, now: Snapshot, changed: Set[str]) -> None:
        if not self.forgets:
            lost = before.tasks.keys() - now.tasks.keys()
            assert not lost, f"I1: tasks are lost: {sorted(lost)}"
            unowed = before.deliveries.keys() - now.deliveries.keys()
            assert not unowed, f"I11: deliveries are lost: {sorted(unowed)}"
        for task in changed & before.outcomes.keys():
            outcome = before.outcomes[task]
            assert now.outcomes.get(task, None if self.forgets else "gone") in (outcome, None), (
                f"I2: the outcome of {task} changed from {outcome} to {now.outcomes.get(task)}"
            )
        for task in changed & before.attempts.keys():
            rows = before.attempts[task]
            still = {one.starts: one for one in now.attempts.get(task, [])}
            gone = [one for one in rows if still.get(one.starts, one) != one]
            assert not gone, f"I17: attempts of {task} changed: {gone}"
        for task, lease in before.leases.items():
            if lease.kind or task not in now.tasks or (task in now.leases and now.leases[task].id == lease.id):
                continue
            end = now.outcomes.get(task)
            named = any(one.lease_id == lease.id for one in now.attempts.get(task, []))
            completed = end is not None and end.status == "COMPLETED"
            assert named or completed or len(now.attempts.get(task, [])) == KEPT, (
                f"I17: the attempt {lease.id} ended, and left no row"
            )
        for key, task in before.keys.items() - now.keys.items():
            assert task not in now.tasks, f"I9: the key {key} named {task}, and now {now.keys.get(key)}"
        for delivery in (before.deliveries[task] for task in changed & before.deliveries.keys()):
            later = now.deliveries.get(delivery.task_id)
            assert later is None or later.tries >= delivery.tries, f"I11: {delivery.id} has fewer tries than before"
            assert later is None or later.delivered_at == delivery.delivered_at or delivery.delivered_at is None

    # What a step may do ----------------------------------------------------------------------------------------------

    def _started(self, before: Snapshot, now: Snapshot, changed: Set[str]) -> None:
        seen = {lease.id for lease in before.leases.values()}
        # A call takes its slot when it is admitted, and keeps it while its lease goes from worker to worker.
        held = {lease.task_id for lease in before.leases.values() if lease.kind}
        fresh = [one for one in now.leases.values() if one.id not in seen and one.task_id not in held]
        for lease in fresh:
            one = now.organizations[lease.organization_id]
            used = one.processing + one.calls
            assert one.slots is not None, f"I3: organization {one.id} started {lease.task_id} without a limit"
            assert used <= one.slots, f"I3: organization {one.id} uses {used} of {one.slots} slots"
            queued = before.ready.get(lease.task_id) or before.waiting.get(lease.task_id)
            if queued is not None and not lease.kind:
                assert lease.attempt == queued.attempt + 1, (
                    f"I17: {lease.task_id} had {queued.attempt} attempts and starts number {lease.attempt}"
                )
        for lease in fresh:
            self._in_order(before, now, lease)
        added = changed & now.tasks.keys() - before.tasks.keys()
        for organization in {now.tasks[task].organization_id for task in added}:
            one, was = now.organizations[organization], before.organizations.get(organization)
            returned = any(
                lease.organization_id == organization and task not in now.leases
                for task, lease in before.leases.items()
            )
            if was is not None and not returned:
                assert one.queued <= one.queue_limit, f"I12: {one.queued} are queued, the limit is {one.queue_limit}"
        for task in changed & now.outcomes.keys() - before.outcomes.keys():
            outcome = now.outcomes[task]
            organization = outcome.organization_id
            self.charged[organization] = self.charged.get(organization, 0) + outcome.charged
            cost = now.tasks[task].cost
            fits = outcome.charged in ((0, cost) if outcome.status == "COMPLETED" else (0,))
            assert fits, f"I10: {task} with a cost of {cost} ended {outcome.status}, charged {outcome.charged}"

        self.called.update(lease.organization_id for lease in now.leases.values() if lease.kind)
        for one in now.organizations.values():
            paid = self.charged.get(one.id, 0)
            if self.charges and one.credits_on and one.id not in self.called:
                assert one.charged == paid, f"I10: organization {one.id} was charged {one.charged} for {paid}"

    def _in_order(self, before: Snapshot, now: Snapshot, lease: LeaseRow) -> None:
        """Check that no task of the same organization was passed over by this start."""
        if lease.kind or lease.task_type in self.limited or lease.task_id not in before.ready:
            return
        served = self.types.get(lease.session_id)
        for task, queued in now.ready.items():
            if (
                queued.organization_id == lease.organization_id
                and task in before.ready
                and queued.task_type not in self.limited
                and (served is None or queued.task_type in served)
            ):
                assert (queued.rank, queued.seq) > (lease.rank, lease.seq), (
                    f"I7: {lease.task_id} started before {task} of the same organization"
                )

    # Between organizations -------------------------------------------------------------------------------------------

    def _fair(self, before: Snapshot, now: Snapshot, at: int) -> None:
        """Check the bound of I8: at each start by virtual times, and over each interval by service.

        A start goes to the smallest virtual time among the organizations that could start. So after it the starter is
        ahead of another one by no more than its own quantum, plus one quantum for each other claimer.
        """
        seen = {lease.id for lease in before.leases.values()}
        fresh = [lease for lease in now.leases.values() if lease.id not in seen and not lease.kind]
        able = before.turns & now.turns
        self._served(before, now, fresh, at)
        for lease in fresh:
            self._at_start(now, lease, able)
        # Calls are service, too, and their rows say less.
        calling = {one.id for at_once in (before, now) for one in at_once.organizations.values() if one.calls}
        ids = sorted({one for one, task_type in able if task_type not in self.limited} - calling)
        if not self.types:
            for one, other in combinations(ids, 2):
                self._over_interval(now, one, other)
        self._since = {pair: start for pair, start in self._since.items() if pair[0] in ids and pair[1] in ids}

    def _at_start(self, now: Snapshot, lease: LeaseRow, able: frozenset[tuple[int, str]]) -> None:
        served = self.types.get(lease.session_id)
        first = now.organizations[lease.organization_id]
        for other in sorted({
            one for one, name in able if name not in self.limited and (served is None or name in served)
        } - {first.id}):  # fmt: skip
            second = now.organizations[other]
            lag_ms = (first.virtual_time - second.virtual_time) / VIRTUAL_UNITS_PER_MS
            bound_ms = self._bound_ms(first, second)
            self.compared += 1
            assert lag_ms <= bound_ms, (
                f"I8: organization {first.id} started while {other} was {lag_ms:.0f} ms of service behind,"
                f" the bound is {bound_ms:.0f} ms"
            )

    def _bound_ms(self, one: OrganizationRow, other: OrganizationRow) -> float:
        return (1 + self.claimers) * self.quantum_ms / min(one.weight, other.weight)

    def _served(self, before: Snapshot, now: Snapshot, fresh: list[LeaseRow], at: int) -> None:
        """Count the service of each organization: the estimate of what runs, the true duration of what ended.

        An attempt that ended with its worker keeps its estimate, and time after a deadline does not count.
        """
        for task, lease in before.leases.items():
            later = now.leases.get(task)
            if lease.kind or (later is not None and later.id == lease.id):
                continue
            one = lease.organization_id
            if lease.canceled_at is not None:
                # The rows do not tell whether its worker was lost.
                self._since = {pair: start for pair, start in self._since.items() if one not in pair}
            elif not _lost(lease, now):
                took_ms = max(0, min(at, lease.deadline_at) - lease.started_at)
                self.quantum_ms, error = max(self.quantum_ms, took_ms), took_ms - lease.estimate_ms
                self._service[one] = self._service.get(one, 0) + error
                self._errors[one] = self._errors.get(one, 0.0) + abs(error)
        for lease in fresh:
            self.quantum_ms = max(self.quantum_ms, lease.estimate_ms)
            self._service[lease.organization_id] = self._service.get(lease.organization_id, 0) + lease.estimate_ms
            self._errors_before[lease.organization_id] = dict(self._errors)

    def _errors_since(self, starter: int, *organizations: OrganizationRow) -> float:
        """Return how far estimates of these organizations were wrong since the last start of one of them."""
        before = self._errors_before.get(starter, {})
        return sum((self._errors.get(one.id, 0.0) - before.get(one.id, 0.0)) / one.weight for one in organizations)

    def _over_interval(self, now: Snapshot, one: int, other: int) -> None:
        """Compare what two organizations got since both could start work without a break."""
        first, second = now.organizations[one], now.organizations[other]
        got = (self._service.get(one, 0), self._service.get(other, 0))
        start = self._since.get((one, other))
        if start is None:
            apart = abs(first.virtual_time - second.virtual_time) / VIRTUAL_UNITS_PER_MS
            self._since[one, other] = (*got, apart)
            return
        lag_ms = abs((got[0] - start[0]) / first.weight - (got[1] - start[1]) / second.weight)
        errors = max(self._errors_since(starter, first, second) for starter in (one, other))
        bound_ms = self._bound_ms(first, second) + start[2] + errors
        self.intervals += 1
        self.lag_ms = max(self.lag_ms, lag_ms)
        self.lag_share = max(self.lag_share, lag_ms / bound_ms)
        assert lag_ms <= bound_ms, (
            f"I8: organizations {one} and {other} got {lag_ms:.0f} ms of service more or less than their shares,"
            f" the bound is {bound_ms:.0f} ms"
        )


def _every_task(*snapshots: Snapshot | None) -> set[str]:
    """Return the ids of all tasks and calls that have a row in one of these snapshots."""
    return {
        task
        for one in snapshots
        if one is not None
        for rows in (one.tasks, one.ready, one.waiting, one.leases, one.outcomes, one.deliveries, one.attempts)
        for task in rows
    }


def _lost(lease: LeaseRow, now: Snapshot) -> bool:
    """Return whether the worker of a lease that ended was lost: nothing is known of what it took."""
    outcome, later = now.outcomes.get(lease.task_id), now.leases.get(lease.task_id)
    if outcome is not None:
        return outcome.cause == "worker lost"
    if later is not None:
        return later.attempt == lease.attempt + 1
    ready = now.ready.get(lease.task_id)
    return ready is not None and ready.attempt == lease.attempt
