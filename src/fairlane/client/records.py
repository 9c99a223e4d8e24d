"""What the API tells, as frozen records, and what is told to it.

Fields have the wire's names in Python's spelling.
"""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

FINAL = ("COMPLETED", "FAILED")


class Concurrency(Struct, frozen=True):
    """Slots in use and the limit on them."""

    used: int
    max: int

    @property
    def free(self) -> int:
        """Slots that are free now; 0 while more are in use than allowed, as after a limit was lowered."""
        return max(0, self.max - self.used)

    @property
    def utilization(self) -> float:
        """Used slots as a share of all: 1.0 when every slot is taken."""
        return self.used / self.max


class PriorityCount(Struct, frozen=True):
    """How many tasks of one priority are queued."""

    priority: int
    count: int


class Difference(Struct, frozen=True):
    """A count that is not what its rows say."""

    name: str
    kept: int
    counted: int


class Verification(Struct, frozen=True, rename="camel"):
    """What a recount of the rows found, in the same snapshot."""

    checked_at: datetime
    drift: int
    """How many counts differ; 0 if all is well."""
    differences: tuple[Difference, ...] = ()


class Status(Struct, frozen=True, rename="camel"):
    """An organization's queue and slots, in one snapshot."""

    queued_tasks: int
    processing_tasks: int
    concurrency: Concurrency | None
    """None: the server cannot vouch for it right now; the two counts are right all the same."""
    priority_breakdown: tuple[PriorityCount, ...] = ()
    """Highest priority first, only those with at least one task queued."""
    verification: Verification | None = None
    """None: it was not asked for."""


class ErrorBody(Struct, frozen=True):
    """Why something was refused, or why a task failed."""

    code: str
    message: str
    details: Any = None


class WebhookState(Struct, frozen=True, rename="camel"):
    """Whether a task's webhook took its outcome."""

    url: str
    delivered: bool
    delivered_at: datetime | None = None


class Task(Struct, frozen=True, kw_only=True):
    """One task as the API shows it."""

    id: str
    task_type: str
    status: str
    """QUEUED, PROCESSING, COMPLETED or FAILED."""
    priority: int
    created_at: datetime
    latency_ms: int | None
    """First start to outcome; None until it has ended, and if it never started."""
    idempotency_key: str | None
    credits_to_charge: int
    credits_charged: int | None
    """None until it has ended."""
    webhook: WebhookState | None = None
    """None: it has none, or has not ended yet."""
    response: dict[str, Any] | None = None
    """The handler's result, or ``{"error": …}`` of a failed task; None until it has ended, and in lists."""
    run_at: datetime | None = None
    """It was submitted to start no sooner than this."""
    retry_of: str | None = None
    """The failed task that it runs again."""

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self.status in FINAL

    @property
    def error(self) -> ErrorBody | None:
        """Why it failed; None: it did not."""
        if self.status != "FAILED" or self.response is None:
            return None
        return msgspec.convert(self.response.get("error"), ErrorBody)


class WaitEstimate(Struct, frozen=True, rename="camel"):
    """Within how many seconds a task starts, half of the time and nine times of ten, by what was observed."""

    p50_seconds: float
    p90_seconds: float


class Progress(Struct, frozen=True):
    """How far a running handler says it is."""

    fraction: float | None
    """0 to 1; None: it does not say."""
    done: float | None
    total: float | None
    """None: it has none."""
    note: str | None
    at: datetime
    """When it said so."""


class Why(Struct, frozen=True, rename="camel"):
    """Why a task is where it is."""

    task_id: str
    task_type: str
    status: str
    reason: str
    """One of a closed set, such as ``ORGANIZATION_AT_LIMIT``; ``RUNNING`` and ``FINISHED`` if it waits no more."""
    explanation: str = ""
    """The same for people; empty: the server is older."""
    until: datetime | None = None
    """When a delay or a pause ends."""
    tasks_ahead: int | None = None
    tasks_ahead_bounded: bool = False
    """There are at least so many."""
    estimate: WaitEstimate | None = None
    """None: not enough was observed."""
    progress: Progress | None = None
    """Of a running task whose handler reports it."""


class Slot(Struct, frozen=True, rename="camel"):
    """One slot in use, and what holds it."""

    kind: str
    """``task`` or ``call``."""
    id: str
    task_id: str | None
    """None: a call holds it."""
    task_type: str
    priority: int
    attempt: int
    attempts: int
    """How many attempts it may have."""
    started_at: datetime
    deadline_at: datetime
    progress: Progress | None = None


class AlertWebhook(Struct, frozen=True):
    """Where an alert is told."""

    url: str


class Alert(Struct, frozen=True, rename="camel"):
    """A rule that the server watches."""

    id: str
    kind: str
    """``QUEUED_ABOVE``, ``UTILIZATION_ABOVE``, ``OLDEST_WAITING_ABOVE`` or ``FAILURES_ABOVE``."""
    threshold: float
    for_seconds: int
    """So long the value must stay above the threshold before it is told, and not above it before that is."""
    webhook: AlertWebhook
    firing: bool
    created_at: datetime
    changed_at: datetime | None = None
    """When it began or ceased to fire last."""


class DeliveryTry(Struct, frozen=True):
    """One try to deliver."""

    number: int
    at: datetime
    outcome: str
    """``delivered``, ``failed``, ``timeout`` or ``refused_by_policy``."""
    status: str | None = None
    """The class of the answer's status, such as ``5xx``."""


class Delivery(Struct, frozen=True, rename="camel"):
    """A message owed to a webhook."""

    id: str
    task_id: str | None
    alert_id: str | None
    """Both None: a test event."""
    url: str
    created_at: datetime
    status: str
    """``due``, ``trying``, ``delivered`` or ``given_up``."""
    delivered: bool
    delivered_at: datetime | None = None
    next_try_at: datetime | None = None
    tries: tuple[DeliveryTry, ...] = ()


class Credits(Struct, frozen=True, rename="camel"):
    """An organization's balance."""

    remaining: int
    per_cycle: int | None = None
    """None: no subscription."""
    cycle_resets_at: datetime | None = None


class UsageStep(Struct, frozen=True, rename="camel"):
    """What happened in one step of time."""

    at: datetime
    """When it begins."""
    submitted: int
    started: int
    """Attempts."""
    completed: int
    failed: int
    wait_p50_seconds: float | None
    """From acceptance to the first start, the middle one; None: nothing started."""
    wait_p99_seconds: float | None
    run_seconds: float
    slot_seconds: float
    """Slots in use, summed over time: divided by the length of the step it is the mean number of slots in use."""
    plan_limited_seconds: float
    """Work was ready while every slot was taken."""
    worker_limited_seconds: float
    """Work was ready while a slot was free."""


class Usage(Struct, frozen=True, rename="camel"):
    """What happened in a span of time, step by step."""

    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="to")
    step_seconds: int
    total: UsageStep
    steps: tuple[UsageStep, ...] = msgspec.field(name="usage")

    @property
    def plan_limited_share(self) -> float:
        """The share of the span in which more slots would have started work at once."""
        return self.total.plan_limited_seconds / max(1.0, (self.ends_at - self.begins_at).total_seconds())

    @property
    def worker_limited_share(self) -> float:
        """The share of the span in which more workers would have."""
        return self.total.worker_limited_seconds / max(1.0, (self.ends_at - self.begins_at).total_seconds())


class Measured(Struct, frozen=True, rename="camel"):
    """How long tasks waited: half, nine in ten and 99 in a hundred of them at most so long."""

    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class Projection(Struct, frozen=True, rename="camel"):
    """How long tasks would have waited with so many slots, and workers enough for them."""

    max: int
    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class Replayed(Struct, frozen=True):
    """What the projections were made from."""

    tasks: int
    """So many of the newest finished ones."""
    estimate: bool = True
    """Always: what a replay says of other slots is one."""
    measured: Measured | None = None
    """What the same tasks really waited; None: there are none."""
    trusted: bool | None = None
    """Whether the replay with the slots of now is within a third of what was measured: if not, neither are the other
    projections to be trusted. None: there are none, or the server is older."""


class Capacity(Struct, frozen=True, rename="camel"):
    """What an organization's slots and the workers held up, and what more slots would have done."""

    advice: str
    """The same for people, in a sentence or two."""
    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="to")
    max: int | None
    """Slots now; None: not set yet."""
    plan_limited_share: float
    """The part of the span in which work was ready while every slot was taken; exact."""
    worker_limited_share: float
    """The part in which work was ready while a slot was free; exact."""
    plan_limited_seconds: float
    worker_limited_seconds: float
    slots_used_average: float
    replayed: Replayed
    projections: tuple[Projection, ...] = ()
    """Estimates: first with the slots of now, then with more."""


class CallResult(Struct, frozen=True, kw_only=True):
    """What a call that ran at once brought."""

    result: dict[str, Any]
    credits_charged: int | None
    """None: the server does not say."""
    credits_remaining: int | None


class NewTask(Struct, frozen=True, kw_only=True):
    """A task to be submitted."""

    task_type: str
    payload: object
    """A mapping, a msgspec Struct, dataclass, attrs object or pydantic model; ``msgspec.Raw`` is sent as it is."""
    priority: int | None = None
    """1 (lowest, the server's default) to 10."""
    idempotency_key: str | None = None
    """Names the task for ever: submitting it again makes no second one. None: a random one is made."""
    webhook_url: str | None = None
    delay_seconds: int | None = None
    """Start no sooner than so long after it was accepted."""
    run_at: datetime | None = None
    """Start no sooner than this moment, which must know its time zone."""


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one task of :meth:`~fairlane.client.Client.submit_many`."""

    index: int
    """Its place in what was given, from 0."""
    idempotency_key: str
    """Finds the task, whether it was accepted now or before."""
    task_id: str | None
    """None: refused, or accepted before."""
    existed: bool
    """Its key named a task already: an earlier run submitted it."""
    error: ErrorBody | None
    """Why it was refused; None: it was not."""

    @property
    def accepted(self) -> bool:
        """Whether the server has the task, by this call or by an earlier one."""
        return self.error is None
