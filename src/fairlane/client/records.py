"""The API's answers and requests as frozen records.

Fields have the wire's names in Python's spelling.
"""

from datetime import datetime
from typing import Any, TypedDict

import msgspec
from msgspec import Struct

FINAL = ("COMPLETED", "FAILED")


class Concurrency(Struct, frozen=True):
    """Slots in use and the limit on them."""

    used: int
    max: int

    @property
    def free(self) -> int:
        """Return the slots that are free now; 0 while more are in use than allowed, as after a limit was lowered."""
        return max(0, self.max - self.used)

    @property
    def utilization(self) -> float:
        """Return used slots as a share of all slots: 1.0 when every slot is taken."""
        return self.used / self.max


class PriorityCount(Struct, frozen=True):
    """Number of queued tasks of one priority."""

    priority: int
    count: int


class Difference(Struct, frozen=True):
    """A count that differs from its rows."""

    name: str
    kept: int
    counted: int


class Verification(Struct, frozen=True, rename="camel"):
    """The result of a recount of the rows, in the same snapshot."""

    checked_at: datetime
    drift: int
    """Number of counts that differ; 0 if all are right."""
    differences: tuple[Difference, ...] = ()


class Status(Struct, frozen=True, rename="camel"):
    """An organization's queue and slots, in one snapshot."""

    queued_tasks: int
    processing_tasks: int
    concurrency: Concurrency | None
    """None if the server cannot vouch for it right now; the two counts are still right."""
    priority_breakdown: tuple[PriorityCount, ...] = ()
    """Highest priority first; only those with at least one queued task."""
    verification: Verification | None = None
    """None if it was not requested."""


class ErrorBody(Struct, frozen=True):
    """Why a request was refused, or why a task failed."""

    code: str
    message: str
    details: Any = None


class WebhookState(Struct, frozen=True, rename="camel"):
    """Whether a task's webhook accepted its outcome."""

    url: str
    delivered: bool
    delivered_at: datetime | None = None
    """None until it was delivered."""


class TimeWaited(Struct, frozen=True, rename="camel"):
    """How long a task was ready in the queue while its organization waited."""

    for_slot_ms: int
    """Every slot of the organization was in use."""
    for_worker_ms: int
    """A slot was free, and no worker had a place."""


class Task(Struct, frozen=True, kw_only=True):
    """One task as the API shows it."""

    id: str
    task_type: str
    status: str
    """QUEUED, PROCESSING, COMPLETED or FAILED."""
    priority: int
    created_at: datetime
    latency_ms: int | None
    """From first start to outcome; None until it has ended, and if it never started."""
    idempotency_key: str | None
    """None if it was submitted without one."""
    credits_to_charge: int
    """Its cost when it was accepted."""
    credits_charged: int | None
    """None until it has ended."""
    webhook: WebhookState | None = None
    """None if it has no webhook or has not ended yet."""
    response: dict[str, Any] | None = None
    """The handler's result, or ``{"error": …}`` of a failed task; None until it has ended, and in lists."""
    code: str | None = None
    """The code of its failure, also in lists; None if it did not fail."""
    run_at: datetime | None = None
    """The moment before which it must not start, or None if none was given."""
    retry_of: str | None = None
    """The failed task that it repeats, or None if it repeats none."""
    waited: TimeWaited | None = None
    """Before its last start and earlier ones; None while it is queued, if it ended so, and in lists."""

    @property
    def done(self) -> bool:
        """Return whether it has ended, either way."""
        return self.status in FINAL

    @property
    def error(self) -> ErrorBody | None:
        """Return why it failed, or None if it did not."""
        if self.status != "FAILED" or self.response is None:
            return None
        return msgspec.convert(self.response.get("error"), ErrorBody)


class TaskConditions(TypedDict, total=False):
    """Which tasks: those that meet every condition. None is the same as a condition that is not given."""

    status: str | None
    """QUEUED, PROCESSING, COMPLETED or FAILED."""
    task_type: str | None
    code: str | None
    """The code of the failure."""
    group: str | None
    """The group of the failure, as ``FailureGroup`` names it."""
    priority: int | None
    accepted_from: datetime | None
    """Accepted at this moment or later."""
    accepted_before: datetime | None
    key_prefix: str | None
    """The beginning of the idempotency key."""


class Attempt(Struct, frozen=True, rename="camel"):
    """One attempt at a task."""

    number: int
    """An attempt that was handed back does not count: the next one has the same number."""
    started_at: datetime
    ended_at: datetime | None = None
    """None while it runs. The next one is also None then."""
    ending: str | None = None
    """``COMPLETED``, ``FAILED``, ``TIMED_OUT``, ``WORKER_LOST``, ``HANDED_BACK`` or ``CANCELED``."""
    failure: ErrorBody | None = None
    """None if the handler named no failure and another attempt followed."""
    waited: TimeWaited | None = None
    """How long the task waited for this attempt alone, or None if the attempt before is no longer kept."""
    next_attempt_at: datetime | None = None
    """When the next attempt may start, or None if no pause followed."""


class FailureHour(Struct, frozen=True):
    """One group's failures in one hour."""

    at: datetime
    """When the hour begins."""
    failures: int
    retried: int


class FailureGroup(Struct, frozen=True, rename="camel"):
    """Failures with the same cause."""

    group: str
    task_type: str | None
    """None for failures that were not told apart, as the next one."""
    code: str | None
    """The code of the failure."""
    message: str | None
    """That of the sample, or None if it is no longer kept or is still being tried again."""
    ending: str | None
    """``FAILED``, ``TIMED_OUT`` or ``WORKER_LOST``."""
    failures: int
    """Tasks that ended."""
    retried: int
    """Attempts that failed and were tried again."""
    first_at: datetime
    last_at: datetime
    sample_task_id: str | None = None
    """The newest task of the group, or None if it is no longer kept."""
    hours: tuple[FailureHour, ...] = ()


class Bulk(Struct, frozen=True, kw_only=True, rename="camel"):
    """One request to run again, or cancel, all tasks that a filter chooses, and how far it is."""

    id: str
    kind: str
    """``retry`` or ``cancel``."""
    state: str
    """RUNNING, DONE or STOPPED."""
    matched: int
    """Tasks that it came to so far."""
    done: int
    """Tasks that it ran again, or canceled."""
    skipped: int
    reasons: dict[str, int]
    """How many tasks it skipped, by reason."""
    held_by: str | None = None
    """QUEUE_LIMIT_EXCEEDED while the queue has no room for more, or else None."""
    began_at: datetime
    ended_at: datetime | None = None
    """None while it runs."""
    idempotency_key: str | None = None
    """None if it was begun without one."""
    filter: dict[str, Any] = {}
    """The tasks that it is about, as the API names the conditions."""

    @property
    def ended(self) -> bool:
        """Return whether it does nothing more."""
        return self.state != "RUNNING"


class TaskCount(Struct, frozen=True):
    """How many tasks meet conditions."""

    count: int
    retried: int
    """How many of them were run again already."""
    complete: bool
    """False if there may be more."""


class WaitEstimate(Struct, frozen=True, rename="camel"):
    """How long until a task starts, in seconds: the median and the 90th percentile of what was observed."""

    p50_seconds: float
    p90_seconds: float


class Progress(Struct, frozen=True):
    """The progress that a running handler reports."""

    fraction: float | None
    """0 to 1, or None if the handler does not say."""
    done: float | None
    """In the handler's own unit, or None if it reports a fraction."""
    total: float | None
    """None if the handler gave no total."""
    note: str | None
    """What the handler says about it, or None."""
    at: datetime
    """When the handler reported it."""


class Why(Struct, frozen=True, rename="camel"):
    """Why a task is where it is."""

    task_id: str
    task_type: str
    status: str
    reason: str
    """One of a closed set, such as ``ORGANIZATION_AT_LIMIT``; ``RUNNING`` or ``FINISHED`` if it no longer waits."""
    explanation: str = ""
    """The same for people; empty if the server is older."""
    until: datetime | None = None
    """When a delay or a pause ends."""
    tasks_ahead: int | None = None
    """Queued tasks of the organization that come first, or None if it is not queued."""
    tasks_ahead_bounded: bool = False
    """Whether there may be more tasks ahead than ``tasks_ahead``."""
    estimate: WaitEstimate | None = None
    """None if too little was observed."""
    progress: Progress | None = None
    """Set if the task is running and its handler reports progress."""


class Slot(Struct, frozen=True, rename="camel"):
    """One slot in use, and what holds it."""

    kind: str
    """``task`` or ``call``."""
    id: str
    task_id: str | None
    """None if a call holds it."""
    task_type: str
    priority: int
    attempt: int
    attempts: int
    """Most attempts that it may have."""
    started_at: datetime
    deadline_at: datetime
    progress: Progress | None = None
    """None if the handler reports none."""


class AlertWebhook(Struct, frozen=True):
    """Where an alert is reported."""

    url: str


class Alert(Struct, frozen=True, rename="camel"):
    """A rule that the server watches."""

    id: str
    kind: str
    """``QUEUED_ABOVE``, ``UTILIZATION_ABOVE``, ``OLDEST_WAITING_ABOVE`` or ``FAILURES_ABOVE``."""
    threshold: float
    for_seconds: int
    """How long the value must stay above the threshold before the alert fires, and at or below it before it
    recovers."""
    webhook: AlertWebhook
    firing: bool
    created_at: datetime
    changed_at: datetime | None = None
    """When it last began or stopped firing."""


class DeliveryTry(Struct, frozen=True, rename="camel"):
    """One try to deliver."""

    number: int
    at: datetime
    outcome: str
    """``delivered``, ``failed``, ``timeout`` or ``refused_by_policy``."""
    status: int | None = None
    """The status of the receiver's answer, or None if none came."""
    took_ms: int | None = None
    """How long the answer took, or None if none came."""
    answer: str | None = None
    """How the body of the answer begins, if it is text."""


class Delivery(Struct, frozen=True, rename="camel"):
    """A message owed to a webhook."""

    id: str
    task_id: str | None
    """None for a message of an alert."""
    alert_id: str | None
    """``task_id`` and ``alert_id`` are both None for a test event."""
    url: str
    created_at: datetime
    status: str
    """``due``, ``trying``, ``delivered`` or ``given_up``."""
    delivered: bool
    delivered_at: datetime | None = None
    """None until it was delivered."""
    next_try_at: datetime | None = None
    """None if no further try is due."""
    held_by: str | None = None
    """Why it is not tried now: ``pause``, ``receiver``, ``server_busy``, ``slow``, ``organization_busy``,
    ``host_busy`` or ``stuck``; None if nothing holds it."""
    tries: tuple[DeliveryTry, ...] = ()


class DeliveryConditions(TypedDict, total=False):
    """Which deliveries: those that meet every condition. None is the same as a condition that is not given."""

    status: str | None
    """``due``, ``trying``, ``delivered`` or ``given_up``."""
    url_prefix: str | None
    """The beginning of the URL, as it was written."""
    host_prefix: str | None
    """The beginning of host and port, such as ``app.example:443``."""
    task_id: str | None
    """The whole id of the task that they tell of; None is any."""
    created_from: datetime | None
    """Created at this moment or later; None is any time."""
    created_before: datetime | None
    """Created before this moment; None is any time."""


class DeliveryHostTry(Struct, frozen=True, rename="camel"):
    """The last try at a host."""

    at: datetime
    outcome: str
    """``delivered``, ``failed``, ``timeout`` or ``refused_by_policy``."""
    status: int | None = None
    """The status of the receiver's answer, or None if none came."""
    took_ms: int | None = None
    """How long the answer took, or None if none came."""


class DeliveryHost(Struct, frozen=True, rename="camel"):
    """A host of the organization's webhooks, and how the tries at it ended."""

    host: str
    """With its port."""
    tries: int
    """Since the beginning of yesterday (UTC)."""
    failed: int
    """How many of these tries failed."""
    failed_in_row: int
    """How many of the last tries failed, one after the other."""
    open: int
    """Messages that are not delivered yet."""
    open_bounded: bool
    """Whether there are more of them than were counted."""
    trying: int
    """Tries that are under way."""
    failing_since: datetime | None = None
    """The first failure after the last success, or None if the last try delivered."""
    last_try: DeliveryHostTry | None = None
    """None if none was made."""
    next_try_at: datetime | None = None
    """When the first of the messages is due, or None if none is."""
    held_by: str | None = None
    """Why that message is not tried now, as in ``Delivery``."""


class Credits(Struct, frozen=True, rename="camel"):
    """An organization's balance."""

    remaining: int
    per_cycle: int | None = None
    """Credits granted when a month (UTC) begins, or None if there are none."""
    cycle_resets_at: datetime | None = None
    """When the next month begins, or None without monthly credits."""


class UsageStep(Struct, frozen=True, rename="camel"):
    """What happened in one step of time."""

    at: datetime
    """When it begins."""
    submitted: int
    started: int
    """Number of attempts."""
    completed: int
    failed: int
    wait_p50_seconds: float | None
    """Median wait from acceptance to the first start, or None if no task started."""
    wait_p99_seconds: float | None
    """The wait that 99 of 100 tasks stayed below, or None if no task started."""
    run_seconds: float
    """Total run time of the attempts that ended."""
    slot_seconds: float
    """Slots in use, summed over time. Divided by the length of the step, it is the mean number of slots in use."""
    plan_limited_seconds: float
    """Time in which work was ready while every slot was taken."""
    worker_limited_seconds: float
    """Time in which work was ready while a slot was free."""


class TypeStep(Struct, frozen=True, rename="camel"):
    """What happened to tasks of one type in one step of time."""

    at: datetime
    """When it begins."""
    started: int
    """Number of attempts."""
    completed: int
    failed: int
    wait_p50_seconds: float | None = None
    """The median wait, or None if no task started."""
    wait_p90_seconds: float | None = None
    """The 90th percentile of the waits, or None if no task started."""
    wait_p99_seconds: float | None = None
    """The 99th percentile of the waits, or None if no task started."""
    run_p50_seconds: float | None = None
    """The median run time, or None if no attempt ended."""
    run_p90_seconds: float | None = None
    """The 90th percentile of the run times, or None if no attempt ended."""
    run_p99_seconds: float | None = None
    """The 99th percentile of the run times, or None if no attempt ended."""


class TypeHistory(Struct, frozen=True, rename="camel"):
    """What happened to tasks of one type, step by step."""

    task_type: str
    total: TypeStep
    steps: tuple[TypeStep, ...] = msgspec.field(name="usage")


class UsageOfTypes(Struct, frozen=True, rename="camel"):
    """What happened in a span of time, by task type."""

    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="to")
    step_seconds: int
    types: tuple[TypeHistory, ...]


class Usage(Struct, frozen=True, rename="camel"):
    """What happened in a span of time, step by step."""

    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="to")
    step_seconds: int
    total: UsageStep
    steps: tuple[UsageStep, ...] = msgspec.field(name="usage")

    @property
    def plan_limited_share(self) -> float:
        """Return the share of the span in which more slots would have started work at once."""
        return self.total.plan_limited_seconds / max(1.0, (self.ends_at - self.begins_at).total_seconds())

    @property
    def worker_limited_share(self) -> float:
        """Return the share of the span in which more workers would have started work at once."""
        return self.total.worker_limited_seconds / max(1.0, (self.ends_at - self.begins_at).total_seconds())


class Measured(Struct, frozen=True, rename="camel"):
    """How long tasks waited: the median, the 90th and the 99th percentile."""

    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class Projection(Struct, frozen=True, rename="camel"):
    """How long tasks would have waited with this number of slots and enough workers."""

    max: int
    wait_p50_seconds: float
    wait_p90_seconds: float
    wait_p99_seconds: float


class Replayed(Struct, frozen=True):
    """The tasks from which the projections were made."""

    tasks: int
    """Number of replayed tasks, the newest finished ones."""
    estimate: bool = True
    """Always True: a replay of other limits is an estimate."""
    measured: Measured | None = None
    """The actual waits of the same tasks, or None if there are none."""
    trusted: bool | None = None
    """Whether the replay with the current slots is within a third of the measured waits. If not, do not trust the other
    projections either. None if there are none, or if the server is older."""


class Capacity(Struct, frozen=True, rename="camel"):
    """How slots and workers delayed an organization's work, and what more slots would have done."""

    advice: str
    """The same for people, in a sentence or two."""
    begins_at: datetime = msgspec.field(name="from")
    ends_at: datetime = msgspec.field(name="to")
    max: int | None
    """Slots now, or None if not set yet."""
    plan_limited_share: float
    """Share of the span in which work was ready while every slot was taken; exact."""
    worker_limited_share: float
    """Share of the span in which work was ready while a slot was free; exact."""
    plan_limited_seconds: float
    worker_limited_seconds: float
    slots_used_average: float
    replayed: Replayed
    projections: tuple[Projection, ...] = ()
    """Estimates: first with the current slots, then with more."""


class CallResult(Struct, frozen=True, kw_only=True):
    """The result of a call."""

    result: dict[str, Any]
    credits_charged: int | None
    """None if the server does not say."""
    credits_remaining: int | None
    """The balance afterwards, or None if the server does not say."""


class NewTask(Struct, frozen=True, kw_only=True):
    """A task to submit."""

    task_type: str
    payload: object
    """A mapping, a msgspec Struct, dataclass, attrs object or pydantic model; ``msgspec.Raw`` is sent as it is."""
    priority: int | None = None
    """1 (lowest, the server's default) to 10."""
    idempotency_key: str | None = None
    """Names the task permanently: submitting it again creates no second one. If None, a random key is made."""
    webhook_url: str | None = None
    """The address that receives its outcome, or None for no webhook."""
    delay_seconds: int | None = None
    """Start no sooner than this long after it was accepted."""
    run_at: datetime | None = None
    """Start no sooner than this moment, which must have a time zone."""


class Verdict(Struct, frozen=True, kw_only=True):
    """The outcome of one task of ``fairlane.client.Client.submit_many``."""

    index: int
    """Its position in the input, from 0."""
    idempotency_key: str
    """Finds the task, whether it was accepted now or before."""
    task_id: str | None
    """None if it was refused, or accepted before."""
    existed: bool
    """Whether its key already named a task, submitted by an earlier run."""
    error: ErrorBody | None
    """Why it was refused, or None if it was not."""

    @property
    def accepted(self) -> bool:
        """Return whether the server has the task, from this run or an earlier one."""
        return self.error is None
