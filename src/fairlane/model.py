"""The nouns of fairlane as frozen records. No I/O, no decisions.

Everybody may import this file; it imports nothing of ours. Moments end in ``_at`` and are integer milliseconds
since the Unix epoch, UTC. Other units stand last in the name (``timeout_ms``). ``None`` has one meaning, stated.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import UNSET, Struct, UnsetType

PRIORITY_LOWEST = 1
PRIORITY_HIGHEST = 10
DEFAULT_PLAN = "default"


class TaskStatus(StrEnum):
    """Where a task is; exactly one holds for every task."""

    QUEUED = "QUEUED"
    PROCESSING = "PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class Isolation(StrEnum):
    """Where a handler runs: on the loop or a thread of the worker, or in a killable process of its own."""

    WORKER = "worker"
    PROCESS = "process"


class TaskRule(Struct, frozen=True, kw_only=True):
    """What the application declared about one task type."""

    name: str
    cost: int = 1
    timeout_ms: int = 300_000
    attempts: int = 5
    isolation: Isolation = Isolation.WORKER
    limit: int | None = None
    """Most tasks of this type that run at once across all organizations; None: no such limit."""
    call_cost: int | None = None
    """What a call costs; None: as much as a task."""


Catalogue = Mapping[str, TaskRule]
"""Every task type the application registered, by name."""


# Organizations, plans, keys ------------------------------------------------------------------------------------------


class Plan(Struct, frozen=True, kw_only=True):
    """Named limits."""

    name: str
    slots: int | None
    """None: the plan has no slots yet; its organizations start nothing and their concurrency reads null."""
    queue_limit: int
    weight: int
    created_at: int


class Organization(Struct, frozen=True, kw_only=True):
    """One tenant: its effective limits, its flags and its live counts."""

    id: int
    name: str
    plan: str
    slots_max: int | None
    """None: the limit cannot be read (its plan has no slots)."""
    queue_limit: int
    weight: int
    paused: bool
    disabled: bool
    maintenance: bool
    drifted: bool
    queued: int
    processing: int
    submitted: int
    completed: int
    failed: int
    created_at: int
    credits: "Credits"
    erasing: bool
    """It is going away, with everything it owns; it cannot be changed any more."""


class Credits(Struct, frozen=True, kw_only=True):
    """What an organization may spend."""

    on: bool
    """False: nothing is charged or refused for want of credits."""
    granted: int
    charged: int
    held: int
    """What running work costs if it completes; not charged yet."""

    def balance(self) -> int:
        """What is left; below 0 only after a correction."""
        return self.granted - self.charged


class Grant(Struct, frozen=True, kw_only=True):
    """Credits an operator gave, or took back."""

    id: str
    """The operator's own; the same one again grants nothing again."""
    amount: int
    """Negative: a correction."""
    reason: str
    actor: str
    created_at: int


class Overrides(Struct, frozen=True, kw_only=True):
    """An organization's own limits; None: the plan's holds."""

    slots: int | None = None
    queue_limit: int | None = None
    weight: int | None = None


class Key(Struct, frozen=True, kw_only=True):
    """An organization's Bearer secret, without the secret."""

    id: str
    organization: str
    name: str | None
    last4: str
    created_at: int
    revoked_at: int | None
    """None: the key works."""


class KeyKind(StrEnum):
    """What a key opens: the customers' API for one organization, the worker protocol, or the operator's API."""

    ORGANIZATION = "organization"
    WORKER = "worker"
    ADMIN = "admin"


class InstallationKey(Struct, frozen=True, kw_only=True):
    """A worker's or an operator's Bearer secret, without the secret."""

    id: str
    kind: KeyKind
    """WORKER or ADMIN."""
    name: str
    last4: str
    created_at: int
    revoked_at: int | None
    """None: the key works."""


class Holder(Struct, frozen=True):
    """Whom a presented worker or admin key lets in."""

    key_id: str
    kind: KeyKind
    name: str


class Caller(Struct, frozen=True):
    """Whom a presented key speaks for."""

    key_id: str
    organization_id: int


class AuditRow(Struct, frozen=True, kw_only=True):
    """One change made by an operator. Ids rise with time."""

    id: str
    at: int
    actor: str
    action: str
    subject: str
    details: Any


# Tasks ---------------------------------------------------------------------------------------------------------------


class Webhook(Struct, frozen=True):
    """Where the outcome of a task is to be told; a URL that passed the guard."""

    url: str
    host: str
    """The host in it, as the guard names it: tries are counted by it."""


class NewTask(Struct, frozen=True, kw_only=True):
    """A checked request that wants to become a task. ``payload`` is the JSON object's text exactly as received."""

    id: str
    task_type: str
    payload: str
    priority: int = PRIORITY_LOWEST
    idempotency_key: str | None = None
    cost: int = 1
    webhook: Webhook | None = None
    run_at: int | None = None
    """The moment before which it must not start; None: see ``delay_ms``."""
    delay_ms: int = 0
    """How long after its acceptance it may start."""
    retry_of: str | None = None
    """The failed task that it repeats; None: it is nobody's repetition."""
    traceparent: str | None = None
    """The span that submits it; None: nobody traces it."""


class Accepted(Struct, frozen=True):
    """The durable answer to one :class:`NewTask`."""

    created_at: int
    run_at: int | None = None
    """None: it may start at once."""


class Failure(Struct, frozen=True, kw_only=True):
    """Why a task failed, as the organization may see it."""

    code: str
    message: str
    details: Any = None


class Told(Struct, frozen=True):
    """Whether a webhook took the outcome of its task."""

    url: str
    delivered_at: int | None
    """None: not yet, or never."""


class TaskView(Struct, frozen=True, kw_only=True):
    """One task as its organization sees it."""

    id: str
    task_type: str
    status: TaskStatus
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    charged: int | None
    """None until the task is final."""
    latency_ms: int | None
    """First start to outcome; None until final, and for a task that failed before it ever started."""
    result: str | None
    """JSON text of an object, for COMPLETED only."""
    failure: Failure | None
    """For FAILED only."""
    webhook: Told | None = None
    """None: the task has no webhook."""
    run_at: int | None = None
    """The moment before which it must not start; None: none was given."""
    retry_of: str | None = None
    """The failed task that it repeats; None: it repeats none."""

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in (TaskStatus.COMPLETED, TaskStatus.FAILED)


class TaskList(Struct, frozen=True):
    """Part of an organization's tasks, newest first, without their results."""

    tasks: tuple[TaskView, ...]
    next_cursor: str | None
    """None: there are no more."""


class TaskFacts(Struct, frozen=True, kw_only=True):
    """One task as operators see it: whose it is, who runs it, and the true cause of a failure."""

    id: str
    organization: str
    task_type: str
    status: TaskStatus
    priority: int
    created_at: int
    idempotency_key: str | None
    cost: int
    charged: int | None
    """None until the task is final."""
    attempt: int | None
    """The attempt that runs, or was the last; None: not started yet."""
    started_at: int | None
    """Its first start; None: it waits."""
    finished_at: int | None
    due_at: int | None
    """When its pause ends; None: it is in none."""
    deadline_at: int | None
    """Of the attempt that runs; None: none does."""
    session: str | None
    """Who runs it; None: nobody."""
    failure: Failure | None
    """What its organization sees of a failure."""
    cause: str | None
    """What its organization does not see."""


class TaskPage(Struct, frozen=True):
    """Some tasks, and where the next page starts; None: this was the last."""

    tasks: tuple[TaskFacts, ...]
    start: tuple[int, str] | None


class Traced(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task that ended, as far as its organization's waits depend on it: no payload, no result, no id."""

    organization: str
    accepted_at: int
    started_at: int
    """The first time."""
    finished_at: int
    run_at: int | None = None
    """The moment before which it was not to start; None: it might at once."""
    priority: int = PRIORITY_LOWEST
    task_type: str = ""

    @property
    def ready_at(self) -> int:
        """Since when it waited for a slot and a place."""
        return max(self.accepted_at, self.run_at or 0)


class TracePage(Struct, frozen=True):
    """Some tasks in the order in which they ended, and after which (moment, id) the next page begins; None: the end."""

    tasks: tuple[Traced, ...]
    after: tuple[int, str] | None


class Erased(Struct, frozen=True, kw_only=True):
    """How far the erasing of an organization has come by one request."""

    organization: str
    rows: int
    """What this request deleted: a task counts once, with all that belongs to it."""
    done: bool


class UsedInMonth(Struct, frozen=True, kw_only=True):
    """What one organization used in one month, UTC."""

    organization: str
    month: str
    from_at: int
    """When the turn of the month was noticed, or the organization created; what came before is not in it."""
    until_at: int
    """When the next turn was noticed; if that is still to come, now."""
    closed: bool
    """The month is over: these numbers change no more."""
    submitted: int
    completed: int
    failed: int
    credits_charged: int
    slot_seconds: float


class Concurrency(Struct, frozen=True):
    """Slots in use and the limit on them."""

    used: int
    max: int


class QueueStatus(Struct, frozen=True, kw_only=True):
    """One organization's queue and slots in one snapshot."""

    queued: int
    processing: int
    concurrency: Concurrency | None
    """None exactly while fairlane cannot vouch for it (design, section 9); the counts are then recounted."""
    priorities: tuple[tuple[int, int], ...]
    """(priority, queued), highest priority first, only levels with at least one."""


class LiveOrganization(Struct, frozen=True):
    """One organization as its viewers watch it."""

    status: QueueStatus
    submitted: int
    completed: int
    failed: int


class Busy(Struct, frozen=True):
    """One organization as operators watch it."""

    name: str
    plan: str
    queued: int
    ready: int
    used: int
    """Slots in use, by tasks and by calls."""
    slots_max: int | None
    paused: bool
    disabled: bool
    maintenance: bool
    drifted: bool
    submitted: int
    completed: int
    failed: int
    oldest_ready_at: int | None
    """Since when the oldest task that can start could; None: none can."""


class Total(Struct, frozen=True):
    """All organizations together."""

    organizations: int
    queued: int
    used: int
    submitted: int
    completed: int
    failed: int
    drifted: int


class Live(Struct, frozen=True):
    """What is live for all viewers, in one snapshot."""

    organizations: Mapping[int, LiveOrganization]
    busiest: tuple[Busy, ...] = ()
    total: Total | None = None
    """None: nobody asked for it."""


class Drift(Struct, frozen=True, kw_only=True):
    """One count that differs from its rows. There must be none."""

    organization: str
    name: str
    kept: int
    counted: int


# Why, who, and how long ----------------------------------------------------------------------------------------------


class WaitReason(StrEnum):
    """Why a task is where it is; exactly one holds. ``docs/api/insight.md`` says what to do about each."""

    ORGANIZATION_AT_LIMIT = "ORGANIZATION_AT_LIMIT"
    """Every slot of the organization is taken."""
    TYPE_AT_LIMIT = "TYPE_AT_LIMIT"
    """As many tasks of this type run, over all organizations, as its own limit allows."""
    WORKERS_BUSY = "WORKERS_BUSY"
    """A slot is free, but every place of every worker of this type is taken; this organization is next."""
    FAIR_TURN = "FAIR_TURN"
    """A slot is free, every place is taken, and the next free place is another organization's."""
    STARTING = "STARTING"
    """A slot and a place are free: it starts in a moment."""
    DELAYED = "DELAYED"
    """It was submitted to start later."""
    RETRY_PAUSE = "RETRY_PAUSE"
    """It pauses between two attempts."""
    CREDITS_HELD = "CREDITS_HELD"
    """The next task's cost is covered by the balance, but running tasks hold it."""
    TYPE_UNSERVED = "TYPE_UNSERVED"
    """No live worker serves this type."""
    ORGANIZATION_PAUSED = "ORGANIZATION_PAUSED"
    """The operator lets nothing of this organization start."""
    LIMIT_UNKNOWN = "LIMIT_UNKNOWN"
    """The organization's plan has no slots yet."""
    RUNNING = "RUNNING"
    FINISHED = "FINISHED"


class Estimate(Struct, frozen=True):
    """How long until a task starts: even odds, and nine to one."""

    p50_ms: int
    p90_ms: int


class Wait(Struct, frozen=True, kw_only=True):
    """Why one task waits, how many are ahead of it, and for how long."""

    task_id: str
    task_type: str
    status: TaskStatus
    reason: WaitReason
    until: int | None = None
    """When it becomes ready, for DELAYED and RETRY_PAUSE; None: for no other reason."""
    ahead: int | None = None
    """Ready tasks of its organization that come first; None: it is not in the queue's order now."""
    ahead_bounded: bool = False
    """There may be more ahead than were counted."""
    estimate: Estimate | None = None
    """None: nobody can tell."""
    progress: "Progress | None" = None
    """For RUNNING; None: its handler said nothing."""


class Slot(Struct, frozen=True, kw_only=True):
    """Who holds one slot."""

    id: str
    """The task's or the call's."""
    call: bool = False
    """Somebody waits for it on a connection; it holds its slot also before a worker has it."""
    task_type: str
    priority: int
    attempt: int
    attempts: int
    started_at: int
    deadline_at: int
    progress: "Progress | None" = None
    """None: its handler said nothing."""


class Slots(Struct, frozen=True, kw_only=True):
    """One organization's slots and some of who holds them, in one snapshot."""

    concurrency: Concurrency | None
    """As in the status."""
    slots: tuple[Slot, ...]


class Verified(Struct, frozen=True, kw_only=True):
    """A status, and every count in it that differs from its rows, in the same snapshot."""

    status: QueueStatus
    drift: tuple[Drift, ...]


# History -------------------------------------------------------------------------------------------------------------


class Totals(Struct, frozen=True, kw_only=True):
    """One organization's running totals at one moment; what happened between two of them is their difference."""

    at: int
    submitted: int = 0
    started: int = 0
    """Attempts."""
    completed: int = 0
    failed: int = 0
    run_ms: int = 0
    """Of attempts that ended."""
    slot_ms: int = 0
    plan_limited_ms: int = 0
    worker_limited_ms: int = 0
    waits: dict[int, int] = {}
    """How many tasks waited so long for their first start, by bucket."""


class UsagePoint(Struct, frozen=True, kw_only=True):
    """What happened in one span."""

    start: int
    end: int
    submitted: int
    started: int
    completed: int
    failed: int
    wait_p50_ms: int | None
    """None: nothing started for the first time."""
    wait_p99_ms: int | None
    run_ms: int
    slot_ms: int
    plan_limited_ms: int
    worker_limited_ms: int


class Usage(Struct, frozen=True, kw_only=True):
    """What happened in a span, and in each of its steps."""

    total: UsagePoint
    points: tuple[UsagePoint, ...]


class Ran(Struct, frozen=True, kw_only=True):
    """A finished task as the projection needs it."""

    ready_at: int
    """Since when it might have started: it was accepted, and its ``run_at`` was reached."""
    started_at: int
    finished_at: int
    priority: int


class Record(Struct, frozen=True, kw_only=True):
    """What an organization's limits did in a span, and the finished tasks of it that are still kept."""

    total: UsagePoint
    slots_max: int | None
    ran: tuple[Ran, ...]
    """The newest, oldest of them first."""


class Projection(Struct, frozen=True, kw_only=True):
    """What waits would have been with so many slots."""

    slots: int
    wait_p50_ms: int
    wait_p90_ms: int
    wait_p99_ms: int


class Capacity(Struct, frozen=True, kw_only=True):
    """Advice on an organization's slots."""

    total: UsagePoint
    slots_max: int | None
    tasks: int
    """How many were replayed."""
    measured: Projection | None
    """What they really waited; None: there are none."""
    projections: tuple[Projection, ...]


class Waits(Struct, frozen=True, kw_only=True):
    """How long half, nine in ten and 99 in a hundred tasks waited at most. All None: there were none."""

    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None


class Party(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One organization's limits, as a replay knows them."""

    slots: int
    weight: int = 1


class WhatIf(Struct, frozen=True, kw_only=True):
    """One organization's waits: as they were, and replayed under the limits of now and under others."""

    organization: str
    tasks: int
    now: Party
    then: Party
    waits_measured: Waits
    waits_now: Waits
    waits_then: Waits


# Alerts --------------------------------------------------------------------------------------------------------------


class AlertKind(StrEnum):
    """What is compared with an alert's threshold."""

    QUEUED_ABOVE = "QUEUED_ABOVE"
    """Queued tasks."""
    UTILIZATION_ABOVE = "UTILIZATION_ABOVE"
    """Slots in use over slots, 0 to 1."""
    OLDEST_WAITING_ABOVE = "OLDEST_WAITING_ABOVE"
    """Seconds since the oldest ready task could start first."""
    FAILURES_ABOVE = "FAILURES_ABOVE"
    """Tasks that failed in the last five minutes."""


class AlertRule(Struct, frozen=True, kw_only=True):
    """When to tell whom."""

    kind: AlertKind
    threshold: float
    for_ms: int
    """So long the value must stay above it, or not above it again, before anybody is told."""
    webhook: "Webhook"


class Alert(Struct, frozen=True, kw_only=True):
    """A rule, and what its receiver was told last."""

    id: str
    rule: AlertRule
    firing: bool
    since: int | None
    """Since when the value says otherwise; None: it does not."""
    changed_at: int | None
    """When it last began or ceased to fire; None: never."""
    created_at: int


class AlertChange(Struct, frozen=True, kw_only=True):
    """What an alert is to become."""

    alert: Alert
    organization_id: int
    organization: str
    value: float | None
    firing: bool
    since: int | None
    at: int


# The whole installation ----------------------------------------------------------------------------------------------


class TypeLoad(Struct, frozen=True, kw_only=True):
    """What there is of one task type now."""

    ready: int
    waiting: int
    processing: int
    calls: int
    oldest_ready_ms: int | None
    """For how long the oldest ready task could have started; None: none is ready."""
    served: bool
    """Whether a live worker serves it."""


class Durations(Struct, frozen=True, kw_only=True):
    """Durations as a cumulative histogram."""

    up_to: tuple[tuple[float, int], ...]
    """(seconds, how many took no longer)."""
    count: int
    sum_seconds: float


class TypeTally(Struct, frozen=True, kw_only=True):
    """What one server saw of one task type since it started."""

    completed: int
    failed: int
    waits: Durations
    runs: Durations


class Fleet(Struct, frozen=True, kw_only=True):
    """Everything at one moment."""

    at: int
    organizations: int
    organizations_drifted: int
    slots_used: int
    slots_max: int
    runnable: int
    """Ready tasks that have a free slot, summed over organizations."""
    calls_ready: int
    workers: int
    places: int
    places_used: int
    deliveries_open: int
    loads: dict[str, TypeLoad]
    tallies: dict[str, TypeTally]
    tries: dict[str, int]
    """Webhook tries by this server, by outcome."""


class Scaling(Struct, frozen=True, kw_only=True):
    """What an autoscaler needs to know."""

    runnable: int
    calls_ready: int
    processing: int
    """Attempts and calls that hold a slot."""
    workers: int
    places_per_worker: float
    recommended_workers: int
    """So many have places for all that runs or could run."""


# Webhooks ------------------------------------------------------------------------------------------------------------


class DueDelivery(Struct, frozen=True, kw_only=True):
    """A delivery that was claimed for one try now."""

    id: str
    organization_id: int
    task_id: str | None
    """None: a test event, which has its ``body`` with it."""
    url: str
    host: str
    body: str | None
    number: int
    """The number of this try, from 1."""


class Tried(Struct, frozen=True, kw_only=True):
    """What became of one try."""

    delivery_id: str
    number: int
    at: int
    http_status: int | None
    error: str | None
    """A class of errors; None: delivered."""
    took_ms: int
    cause: str | None = None
    """For the operator only."""


INTERRUPTED = "interrupted"
"""The error of a try that nobody saw end: its server died. It may have arrived."""


class DeliveryTry(Struct, frozen=True, kw_only=True):
    """One try as it is remembered."""

    number: int
    at: int
    http_status: int | None
    error: str | None


class Delivery(Struct, frozen=True, kw_only=True):
    """A message owed to a webhook, and what became of it."""

    id: str
    task_id: str | None
    alert_id: str | None
    """What it tells of. Neither: it is a test event."""
    url: str
    created_at: int
    delivered_at: int | None
    due_at: int | None
    """When it is tried next; None: it is over, or a try is under way."""
    trying: bool
    tries: tuple[DeliveryTry, ...]


class WebhookSecret(Struct, frozen=True, kw_only=True):
    """What signs an organization's webhooks, without the secret."""

    id: str
    organization: str
    last4: str
    created_at: int
    expires_at: int | None
    """None: it is the newest; the contract's signature is made with it alone."""


# Calls ---------------------------------------------------------------------------------------------------------------


class NewCall(Struct, frozen=True, kw_only=True):
    """A checked request that wants to run now. ``payload`` is the JSON object's text exactly as received."""

    id: str
    organization_id: int
    task_type: str
    payload: str
    server_id: str
    """The session of the server whose caller waits."""
    cost: int = 1


class Admitted(Struct, frozen=True, kw_only=True):
    """A call took a slot."""

    slots_used: int
    """Including its own."""
    slots_max: int
    give_up_at: int
    """No attempt starts after that, and nobody waits longer."""


class EndedCall(Struct, frozen=True, kw_only=True):
    """How a call ended. Exactly one of result and failure is set."""

    organization_id: int
    id: str
    result: str | None
    failure: Failure | None
    charged: int


class Abandoned(StrEnum):
    """What giving a call up met."""

    REMOVED = "removed"
    """No worker had it: it is gone, its slot is free."""
    RUNNING = "running"
    """A worker has it: its slot is held to the end of the attempt."""
    ENDED = "ended"
    """It had ended before."""
    GONE = "gone"
    """There is no such call."""


# Leases and sessions -------------------------------------------------------------------------------------------------


class NewSession(Struct, frozen=True, kw_only=True):
    """A worker process that wants to work."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    """Started by this server, holding its inherited lock: gone for certain once another server owns the file."""
    lease_ms: int
    key_id: str | None = None
    """The worker key it was opened with; None: it came through the server's own socket."""


class SessionFacts(Struct, frozen=True, kw_only=True):
    """A live session as operators see it."""

    id: str
    name: str
    types: tuple[str, ...]
    places: int
    local: bool
    key: str | None
    """The id of the worker key it came with; None: it came through its server's own socket."""
    started_at: int
    lease_until: int
    leases: int
    """What it runs now."""


class Lease(Struct, frozen=True, kw_only=True):
    """The right to run one attempt now, as handed to a worker."""

    id: str
    task_id: str
    organization_id: int
    organization: str
    task_type: str
    payload: str
    attempt: int
    attempts: int
    timeout_ms: int
    started_at: int
    call: bool = False
    """Whether it is for a call, whose id ``task_id`` then is."""
    traceparent: str | None = None
    """The span that submitted the task; None: nobody traces it."""


class Completed(Struct, frozen=True):
    """An attempt that ended well. ``result`` is the JSON text of an object."""

    result: str


class Failed(Struct, frozen=True, kw_only=True):
    """An attempt that did not end well."""

    cause: str
    """For the operator only, never shown to an organization."""
    failure: Failure | None = None
    """What the organization sees if this was the last attempt; None: the generic failure."""
    retry: bool = True
    """False: this ends the task whatever attempts are left."""
    pause_ms: int | None = None
    """Pause before the next attempt; None: the backoff rule decides."""


class Released(Struct, frozen=True):
    """An attempt handed back unharmed; it does not count."""


class Lost(Struct, frozen=True):
    """An attempt whose worker died; it counts. Nobody saw when it ended."""


Ending = Completed | Failed | Released | Lost


class Report(Struct, frozen=True):
    """What became of one lease."""

    lease_id: str
    ending: Ending


class Verdict(StrEnum):
    """The answer to a report; both are final for the worker."""

    ACCEPTED = "accepted"
    GONE = "gone"


class Progress(Struct, frozen=True, kw_only=True):
    """How far a running attempt is, as its handler said."""

    done: float
    total: float | None
    """None: ``done`` is a part of 1."""
    note: str | None
    at: int


class Exchange(Struct, frozen=True, kw_only=True):
    """One worker's turn at the counter: what it finished, and how many places it has free."""

    session_id: str
    id: str
    """Made by the worker, sent again unchanged until answered; the leases it yields carry it."""
    places: int
    reports: tuple[Report, ...] = ()
    progress: tuple[tuple[str, Progress], ...] = ()
    """(lease id, how far it is)."""


class ExchangeReply(Struct, frozen=True, kw_only=True):
    """The store's answer to an :class:`Exchange`. ``verdicts`` are in the order of the reports."""

    verdicts: tuple[Verdict, ...]
    leases: tuple[Lease, ...]


class LossReason(StrEnum):
    """Why a session ended."""

    DRAINED = "drained"
    """The worker handed everything back: running attempts do not count."""
    LOST = "lost"
    """The worker died: running attempts count."""
    OVERDUE = "overdue"
    """The worker was killed for attempts past their deadline: only those count."""


# Changes an operator asks for ----------------------------------------------------------------------------------------


class PlanChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a plan; UNSET leaves a field as it is."""

    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType = UNSET
    weight: int | UnsetType = UNSET


class OrganizationChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an organization; UNSET leaves a field as it is, None takes the plan's value again."""

    plan: str | UnsetType = UNSET
    slots: int | UnsetType | None = UNSET
    queue_limit: int | UnsetType | None = UNSET
    weight: int | UnsetType | None = UNSET
    paused: bool | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    maintenance: bool | UnsetType = UNSET
    credits: bool | UnsetType = UNSET


# What the doctor looks at --------------------------------------------------------------------------------------------


class DeadRows(Struct, frozen=True, kw_only=True):
    """What PostgreSQL says of one table."""

    table: str
    live: int
    dead: int
    vacuumed: bool
    """Whether autovacuum may work on it."""


class Engine(Struct, frozen=True, kw_only=True):
    """The database itself, as it presents itself to one connection."""

    name: str
    version: str
    schema_version: int
    """0: it has no tables yet."""
    schema_known: int
    schema_pending: tuple[str, ...]
    schema_unknown: tuple[int, ...]
    skew_ms: int | None = None
    """How far its clock is before this machine's; None: it has none of its own."""
    unsafe: tuple[str, ...] = ()
    """Settings with which it may lose what it acknowledged."""
    read_only: bool = False
    autovacuum: bool | None = None
    """Whether it cleans up by itself; None: it need not."""
    dead_rows: tuple[DeadRows, ...] = ()
    oldest_transaction: tuple[int, str] | None = None
    """How many seconds the oldest open transaction is old, and whose it is; None: there is none."""
    pooled: bool = False
    """Whether something stands between us and it."""
    file_system: str | None = None
    """What kind its file is on; None: it is not on this machine, or nobody knows."""
    file_system_unsafe: bool = False
    free_bytes: int | None = None
    """Of the disk that its file is on; None: it is not on this machine."""


class Content(Struct, frozen=True, kw_only=True):
    """What is in a database that may keep work from being done, or done right."""

    plans_without_slots: tuple[str, ...]
    organizations: int
    organizations_without_slots: tuple[str, ...]
    drifted: tuple[str, ...]
    """Found before by the self-audit, and not repaired yet."""
    paused: tuple[str, ...]
    disabled: tuple[str, ...]
    maintenance: bool
    recounted: int
    """Organizations whose counts were compared with their rows just now."""
    drift: tuple[Drift, ...]
    served: Mapping[str, int]
    """Live workers by the task type they serve."""
    queued: Mapping[str, int]
    """Tasks that are ready to start, by type."""
    servers: tuple[str, ...]
    """Names of live servers."""
    secrets: int
    secrets_closed: int
    """Webhook secrets that the key here does not open."""
