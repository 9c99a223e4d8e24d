"""Every body that customers see, word for word. Changing a golden file is changing the product."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlane import errors, wire
from fairlane.model.alerts import Alert, AlertChange, AlertKind, AlertRule
from fairlane.model.attempts import AttemptEnding, AttemptFacts, AttemptList
from fairlane.model.bulks import BulkKind, BulkList, BulkState, BulkView, ChosenCount
from fairlane.model.failures import FailureCount, FailureFacts, FailureList, FailureSample
from fairlane.model.insight import Estimate, Slot, Slots, Wait, WaitReason
from fairlane.model.leases import Progress
from fairlane.model.organizations import CreditTotals
from fairlane.model.simulation import Capacity, Projection, Waits
from fairlane.model.status import Drift, QueueStatus, SlotUse, Verified
from fairlane.model.tasks import Accepted, Failure, NewTask, TaskFilter, TaskList, TaskStatus, TaskView, Told, Waited
from fairlane.model.usage import TypePoint, TypeUsage, Usage, UsageByType, UsagePoint
from fairlane.model.webhooks import Delivery, DeliveryList, DeliveryTry, HostFacts, HostHold, HostPage, Webhook
from fairlane.rules.attempts import CANCELED, EXHAUSTED, TIMED_OUT
from tests.tables import each

AT = 1_762_786_800_000
DELIVERY = "019aa000-0000-7000-8000-00000000000d"
URL = "https://app.example/hook?token=1"
ID = "b27a21e1-7c39-4aa2-a347-23e828c426f9"
ACCEPTED = Accepted(AT)


def a_task(
    status: TaskStatus,
    *,
    charged: int | None = None,
    latency_ms: int | None = None,
    result: str | None = None,
    failure: Failure | None = None,
    idempotency_key: str | None = "job-123",
    webhook: Told | None = None,
    run_at: int | None = None,
    retry_of: str | None = None,
    waited: Waited | None = None,
) -> TaskView:
    """One task as the store shows it."""
    return TaskView(
        id=ID,
        task_type="CHATGPT",
        status=status,
        priority=5,
        created_at=AT,
        idempotency_key=idempotency_key,
        cost=5,
        charged=charged,
        latency_ms=latency_ms,
        result=result,
        failure=failure,
        webhook=webhook,
        run_at=run_at,
        retry_of=retry_of,
        waited=waited,
    )


def a_delivery(**state: Any) -> Delivery:
    """One delivery as the store shows it: tried twice, due again."""
    tries = (
        DeliveryTry(number=1, at=AT, http_status=None, error="timeout", took_ms=10_000, answer=None, asked_ms=None),
        DeliveryTry(
            number=2, at=AT + 120_000, http_status=503, error="status", took_ms=84, answer="Down", asked_ms=None
        ),
    )
    usual: dict[str, Any] = {
        "task_id": ID,
        "alert_id": None,
        "delivered_at": None,
        "due_at": AT + 400_000,
        "trying": False,
    }
    usual |= {"tries": tries} | state
    return Delivery(id=DELIVERY, url=URL, created_at=AT, **usual)


def a_host(**facts: Any) -> HostFacts:
    """One host as the store shows it: its last try failed, and the next one pauses."""
    usual: dict[str, Any] = {
        "host": "app.example:443", "tries": 40, "failed": 0, "failed_in_row": 0, "failing_since": None, "last_at": AT,
        "last_status": 204, "last_error": None, "last_ms": 84, "open": 0, "open_bounded": False, "trying": 0,
        "organizations": ("acme",), "due_at": None, "hold": None,
    }  # fmt: skip
    usual |= {"due_at": AT + 400_000, "hold": HostHold.PAUSE} if facts.get("open") else {}
    return HostFacts(**usual | facts)


SHOWN_TRIES = tuple(
    DeliveryTry(number=number, at=AT, http_status=status, error=error, took_ms=5, answer=None, asked_ms=None)
    for number, (error, status) in enumerate(
        [
            ("refused_by_policy", None),
            ("connection", None),
            ("tls", None),
            ("bad_answer", None),
            ("interrupted", None),
            ("status", 302),
            (None, 204),
        ],
        start=1,
    )
)
"""Every way a try ends."""


def a_status(queued: int, processing: int, concurrency: SlotUse | None, *levels: tuple[int, int]) -> bytes:
    """The status body."""
    return wire.status_body(
        QueueStatus(queued=queued, processing=processing, concurrency=concurrency, priorities=levels)
    )


def a_wait(reason: WaitReason, status: TaskStatus = TaskStatus.QUEUED, **more: Any) -> bytes:
    """Why a task waits."""
    return wire.wait_body(Wait(task_id=ID, task_type="CHATGPT", status=status, reason=reason, **more))


A_BULK = BulkView(
    id=DELIVERY,
    organization="acme",
    kind=BulkKind.RETRY,
    state=BulkState.RUNNING,
    chosen=TaskFilter(status=TaskStatus.FAILED, task_type="CHATGPT", accepted_from=AT - 3_600_000),
    matched=1_000,
    done=979,
    skipped=21,
    reasons={"ALREADY_RETRIED": 20, "VALIDATION_ERROR": 1},
    held_by="QUEUE_LIMIT_EXCEEDED",
    began_at=AT,
    ended_at=None,
    idempotency_key=None,
    actor=None,
)


AN_ALERT = Alert(
    id=DELIVERY,
    rule=AlertRule(kind=AlertKind.QUEUED_ABOVE, threshold=1_000, for_ms=300_000, webhook=Webhook(URL, "app.example")),
    firing=False,
    since=None,
    changed_at=None,
    created_at=AT,
)


def an_alert_change(*, firing: bool) -> AlertChange:
    """It began or ceased to fire."""
    return AlertChange(
        alert=msgspec.structs.replace(AN_ALERT, firing=not firing),
        organization_id=1,
        organization="acme",
        value=1_204.0 if firing else 310.0,
        firing=firing,
        since=None,
        at=AT + 300_000,
    )


def a_point(start: int, end: int) -> UsagePoint:
    """What happened in one span."""
    return UsagePoint(
        start=start,
        end=end,
        submitted=12,
        started=11,
        completed=9,
        failed=1,
        wait_p50_ms=420,
        wait_p99_ms=9_500,
        run_ms=81_250,
        slot_ms=120_000,
        plan_limited_ms=45_500,
        worker_limited_ms=0,
    )


def a_type_point(start: int) -> TypePoint:
    """A minute of one type in which nothing ended for the second time."""
    return TypePoint(
        start=start,
        started=11,
        completed=9,
        failed=1,
        wait_p50_ms=420,
        wait_p90_ms=3_100,
        wait_p99_ms=9_500,
        run_p50_ms=None,
        run_p90_ms=None,
        run_p99_ms=None,
    )


def an_idle_point(start: int) -> UsagePoint:
    """A minute in which nothing happened."""
    return UsagePoint(
        start=start,
        end=start + 60_000,
        submitted=0,
        started=0,
        completed=0,
        failed=0,
        wait_p50_ms=None,
        wait_p99_ms=None,
        run_ms=0,
        slot_ms=0,
        plan_limited_ms=0,
        worker_limited_ms=0,
    )


WAITS: dict[WaitReason, bytes] = {
    WaitReason.ORGANIZATION_AT_LIMIT: a_wait(
        WaitReason.ORGANIZATION_AT_LIMIT, ahead=12, estimate=Estimate(4_200, 9_750)
    ),
    WaitReason.TYPE_AT_LIMIT: a_wait(WaitReason.TYPE_AT_LIMIT, ahead=0, estimate=Estimate(900, 1_800)),
    WaitReason.WORKERS_BUSY: a_wait(WaitReason.WORKERS_BUSY, ahead=3),
    WaitReason.FAIR_TURN: a_wait(WaitReason.FAIR_TURN, ahead=10_000, ahead_bounded=True),
    WaitReason.STARTING: a_wait(WaitReason.STARTING, ahead=0, estimate=Estimate(0, 0)),
    WaitReason.DELAYED: a_wait(WaitReason.DELAYED, until=AT + 60_000),
    WaitReason.RETRY_PAUSE: a_wait(WaitReason.RETRY_PAUSE, until=AT + 1_500),
    WaitReason.CREDITS_HELD: a_wait(WaitReason.CREDITS_HELD, ahead=2),
    WaitReason.TYPE_UNSERVED: a_wait(WaitReason.TYPE_UNSERVED, ahead=0),
    WaitReason.ORGANIZATION_PAUSED: a_wait(WaitReason.ORGANIZATION_PAUSED, ahead=0),
    WaitReason.LIMIT_UNKNOWN: a_wait(WaitReason.LIMIT_UNKNOWN, ahead=0),
    WaitReason.RUNNING: a_wait(
        WaitReason.RUNNING, TaskStatus.PROCESSING, progress=Progress(done=12, total=30, note="pages read", at=AT)
    ),
    WaitReason.FINISHED: a_wait(WaitReason.FINISHED, TaskStatus.COMPLETED),
}

VERIFIED = QueueStatus(queued=3, processing=2, concurrency=SlotUse(2, 5), priorities=((5, 2), (1, 1)))

A_CAPACITY = Capacity(
    total=a_point(AT, AT + 120_000),
    slots_max=5,
    tasks=412,
    measured=Waits(p50_ms=900, p90_ms=12_400, p99_ms=31_000),
    projections=(
        Projection(slots=5, wait_p50_ms=880, wait_p90_ms=12_100, wait_p99_ms=30_500),
        Projection(slots=10, wait_p50_ms=0, wait_p90_ms=400, wait_p99_ms=2_000),
    ),
    trusted=True,
    enough=False,
    places=6,
)

BODIES: dict[str, bytes] = {
    "status": a_status(3, 2, SlotUse(2, 5), (5, 2), (1, 1)),
    "status_idle": a_status(0, 0, SlotUse(0, 10)),
    "status_null": a_status(3, 2, None, (1, 3)),
    "status_over_limit": a_status(1, 3, SlotUse(3, 1), (1, 1)),
    "created": wire.created_body(
        NewTask(id=ID, task_type="CHATGPT", payload="{}", priority=5, idempotency_key="job-123", cost=5), Accepted(AT)
    ),
    "created_without_options": wire.created_body(NewTask(id=ID, task_type="CHATGPT", payload="{}"), Accepted(AT)),
    "created_later": wire.created_body(
        NewTask(id=ID, task_type="CHATGPT", payload="{}", cost=5), Accepted(AT, AT + 3_600_000)
    ),
    "created_again": wire.created_body(
        NewTask(id=ID, task_type="CHATGPT", payload="{}", priority=5, cost=5, retry_of=DELIVERY), ACCEPTED
    ),
    "waited": wire.changed_task_body(
        a_task(TaskStatus.COMPLETED, charged=5, latency_ms=3420, result='{"text":"..."}', waited=Waited(0, 12))
    ),
    "tasks": wire.tasks_body(
        TaskList(
            (
                a_task(TaskStatus.QUEUED, run_at=AT + 3_600_000),
                a_task(TaskStatus.COMPLETED, charged=5, latency_ms=3420, retry_of=DELIVERY),
                a_task(TaskStatus.FAILED, charged=0, failure=Failure(code="TIMEOUT", message="It took too long.")),
            ),
            ID,
        )
    ),
    "tasks_none": wire.tasks_body(TaskList((), None)),
    "batch": wire.batch_body(
        [
            (
                NewTask(id=ID, task_type="CHATGPT", payload="{}", priority=5, idempotency_key="job-123", cost=5),
                ACCEPTED,
            ),
            (NewTask(id=ID, task_type="GROK", payload="{}", cost=4), ACCEPTED),
            errors.ValidationRefused.at("payload.country", "Expected `str`, got `int`"),
            errors.TaskExists("job-123"),
        ],
        at=AT,
    ),
    "batch_all_refused": wire.batch_body([errors.ValidationRefused.at("body", "must be a JSON object")], at=AT),
    "cleared": wire.cleared_body(42),
    "canceled": wire.changed_task_body(a_task(TaskStatus.FAILED, charged=0, failure=CANCELED, webhook=Told(URL, None))),
    "canceled_processing": wire.changed_task_body(a_task(TaskStatus.PROCESSING)),
    "task_canceled": wire.task_body(a_task(TaskStatus.FAILED, charged=0, latency_ms=900, failure=CANCELED)),
    "task_queued": wire.task_body(a_task(TaskStatus.QUEUED)),
    "task_queued_without_key": wire.task_body(a_task(TaskStatus.QUEUED, idempotency_key=None)),
    "task_processing": wire.task_body(a_task(TaskStatus.PROCESSING, waited=Waited(0, 12))),
    "task_completed": wire.task_body(
        a_task(
            TaskStatus.COMPLETED, charged=5, latency_ms=3420, result='{"text":"é","n":[1,2.50]}', waited=Waited(840, 12)
        )
    ),
    "task_failed": wire.task_body(
        a_task(
            TaskStatus.FAILED,
            charged=0,
            latency_ms=900,
            failure=Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded"),
        )
    ),
    "task_failed_with_details": wire.task_body(
        a_task(
            TaskStatus.FAILED,
            charged=0,
            failure=Failure(code="TOO_LARGE", message="The page is too large", details={"limit": 5}),
        )
    ),
    "task_queued_with_webhook": wire.task_body(a_task(TaskStatus.QUEUED, webhook=Told(URL, None))),
    "task_completed_with_webhook": wire.task_body(
        a_task(TaskStatus.COMPLETED, charged=5, latency_ms=3420, result="{}", webhook=Told(URL, AT + 5_000))
    ),
    "task_failed_with_webhook": wire.task_body(
        a_task(
            TaskStatus.FAILED,
            charged=0,
            failure=Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded"),
            webhook=Told(URL, None),
        )
    ),
    "webhook_completed": wire.webhook_body(
        a_task(
            TaskStatus.COMPLETED,
            charged=5,
            latency_ms=3420,
            result='{"text":"..."}',
            webhook=Told(URL, AT),
            waited=Waited(840, 12),
        )
    ),
    "webhook_failed": wire.webhook_body(
        a_task(
            TaskStatus.FAILED,
            charged=0,
            failure=Failure(code="INTERNAL_SERVER_ERROR", message="Maximum retries exceeded"),
            webhook=Told(URL, None),
        )
    ),
    "webhook_test": wire.test_event_body(DELIVERY, at=AT),
    "deliveries": wire.deliveries_body(
        DeliveryList(
            (
                a_delivery(hold=HostHold.PAUSE),
                a_delivery(trying=True, due_at=None),
                a_delivery(due_at=None),
                a_delivery(due_at=None, delivered_at=AT, tries=SHOWN_TRIES),
            ),
            DELIVERY,
        )
    ),
    "deliveries_none": wire.deliveries_body(DeliveryList((), None)),
    "hosts_of_webhooks": wire.webhook_hosts_body(
        HostPage(
            (
                a_host(failed=3, failed_in_row=2, failing_since=AT, last_status=503, last_error="status", open=1),
                a_host(
                    host="mute.example:443",
                    tries=1,
                    failed=1,
                    failed_in_row=1,
                    failing_since=AT,
                    last_status=None,
                    last_error="connection",
                    last_ms=3,
                    open=1,
                ),
                a_host(host="new.example:443", tries=0, last_at=None, last_status=None, last_ms=None, trying=1),
            ),
            after=None,
            more=True,
            tries=41,
            failed=4,
        )
    ),
    "hosts_of_webhooks_by_name": wire.webhook_hosts_body(
        HostPage((a_host(),), after="app.example:443", more=True, tries=41, failed=4)
    ),
    "hosts_of_webhooks_none": wire.webhook_hosts_body(HostPage((), after=None, more=False)),
    "delivery": wire.delivery_body(a_delivery(task_id=None, due_at=AT, tries=())),
    "delivery_of_an_alert": wire.delivery_body(a_delivery(task_id=None, alert_id=AN_ALERT.id, due_at=AT, tries=())),
    "status_verified": wire.verified_body(Verified(status=VERIFIED, drift=()), at=AT),
    "status_verified_with_drift": wire.verified_body(
        Verified(status=VERIFIED, drift=(Drift(organization="acme", name="processing", kept=2, counted=1),)), at=AT
    ),
    "slots": wire.slots_body(
        Slots(
            concurrency=SlotUse(1, 5),
            slots=(
                Slot(
                    id=ID,
                    task_type="CHATGPT",
                    priority=5,
                    attempt=2,
                    attempts=5,
                    started_at=AT,
                    deadline_at=AT + 300_000,
                    progress=Progress(done=0.4, total=None, note=None, at=AT + 1_000),
                ),
            ),
        ),
        ID,
    ),
    "slots_none": wire.slots_body(Slots(concurrency=None, slots=()), None),
    "attempts": wire.attempts_body(
        AttemptList(
            task=ID,
            attempts=(
                AttemptFacts(
                    number=1,
                    started_at=AT,
                    ended_at=AT + 900,
                    ending=AttemptEnding.FAILED,
                    cause="KeyError: 'x'",
                    worker="host-1",
                    lease="1.x.y",
                    waited=Waited(840, 12),
                    due_at=AT + 2_400,
                ),
                AttemptFacts(
                    number=2,
                    started_at=AT + 2_400,
                    ended_at=AT + 3_000,
                    ending=AttemptEnding.HANDED_BACK,
                    worker="w",
                ),
                AttemptFacts(
                    number=2,
                    started_at=AT + 3_100,
                    ended_at=AT + 4_000,
                    ending=AttemptEnding.FAILED,
                    code="TOO_LARGE",
                    message="The page is too large",
                    cause="Fail: the page is too large",
                ),
            ),
            omitted=0,
        )
    ),
    "attempts_running": wire.attempts_body(
        AttemptList(
            task=ID,
            attempts=(AttemptFacts(number=1, started_at=AT, ended_at=None, ending=None, worker="w", lease="1.x.y"),),
            omitted=12,
        )
    ),
    "attempts_none": wire.attempts_body(AttemptList(task=ID, attempts=(), omitted=0)),
    "failures": wire.failures_body(
        FailureList(
            (
                FailureFacts(
                    group="fg_5f2b1c0d9e8a7b6c",
                    task_type="CHATGPT",
                    code="INTERNAL_SERVER_ERROR",
                    ending=AttemptEnding.FAILED,
                    exception="ImportError",
                    place="shop.orders:total",
                    line=12,
                    failures=1_421,
                    retried=3_020,
                    organizations=1,
                    first_at=AT + 1_000,
                    last_at=AT + 3_700_000,
                    sample=FailureSample(
                        task=ID, organization="acme", message="Maximum retries exceeded", cause="ImportError: x"
                    ),
                    hours=(FailureCount(AT, 1_400, 3_000), FailureCount(AT + 3_600_000, 21, 20)),
                ),
                FailureFacts(
                    group="fg_other",
                    task_type=None,
                    code=None,
                    ending=None,
                    exception=None,
                    place=None,
                    line=None,
                    failures=7,
                    retried=0,
                    organizations=1,
                    first_at=AT,
                    last_at=AT,
                    sample=None,
                    hours=(FailureCount(AT, 7, 0),),
                ),
            ),
            since=AT - 82_800_000,
            more=False,
        )
    ),
    "failures_none": wire.failures_body(FailureList((), since=AT, more=False)),
    "credits": wire.credits_body(CreditTotals(on=True, granted=50_000, charged=1_790, held=5), resets_at=0),
    "credits_uncounted": wire.credits_body(CreditTotals(on=False, granted=5, charged=0, held=0), resets_at=0),
    "credits_owed": wire.credits_body(CreditTotals(on=True, granted=-5, charged=10, held=0), resets_at=0),
    "countries": wire.countries_body(["DE", "US"]),
    "states": wire.states_body([("CA", "California"), ("TX", "Texas")]),
    "bulk": wire.bulk_body(A_BULK),
    "bulk_begun": wire.changed_bulk_body(
        msgspec.structs.replace(
            A_BULK, matched=0, done=0, skipped=0, reasons={}, held_by=None, idempotency_key="cure-7"
        )
    ),
    "bulk_stopped": wire.changed_bulk_body(
        msgspec.structs.replace(A_BULK, state=BulkState.STOPPED, held_by=None, ended_at=AT + 5_000)
    ),
    "bulks": wire.bulks_body(BulkList((A_BULK,), DELIVERY)),
    "bulks_none": wire.bulks_body(BulkList((), None)),
    "task_count": wire.task_count_body(ChosenCount(count=1_421, retried=20, complete=True)),
    "alert": wire.alert_body(AN_ALERT),
    "alert_firing": wire.alert_body(msgspec.structs.replace(AN_ALERT, firing=True, changed_at=AT + 300_000)),
    "alerts": wire.alerts_body([AN_ALERT]),
    "alerts_none": wire.alerts_body([]),
    "webhook_alert_fired": wire.alert_message_body(an_alert_change(firing=True)),
    "webhook_alert_recovered": wire.alert_message_body(an_alert_change(firing=False)),
    "capacity": wire.capacity_body(A_CAPACITY),
    "capacity_enough": wire.capacity_body(
        msgspec.structs.replace(A_CAPACITY, measured=Waits(p50_ms=0, p90_ms=27, p99_ms=80), enough=True)
    ),
    "capacity_doubtful": wire.capacity_body(
        msgspec.structs.replace(A_CAPACITY, measured=Waits(p50_ms=100, p90_ms=5_960, p99_ms=9_000), trusted=False)
    ),
    "capacity_idle": wire.capacity_body(
        Capacity(
            total=an_idle_point(AT),
            slots_max=None,
            tasks=0,
            measured=Waits(p50_ms=None, p90_ms=None, p99_ms=None),
            projections=(),
            trusted=None,
            enough=True,
            places=0,
        )
    ),
    "usage": wire.usage_body(
        Usage(total=a_point(AT, AT + 120_000), points=(a_point(AT, AT + 60_000), an_idle_point(AT + 60_000))),
        step_ms=60_000,
    ),
    "usage_by_type": wire.usage_by_type_body(
        UsageByType(
            start=AT,
            end=AT + 120_000,
            types=(TypeUsage(task_type="CHATGPT", total=a_type_point(AT), points=(a_type_point(AT),)),),
        ),
        step_ms=60_000,
    ),
    "error_internal": wire.envelope("INTERNAL_SERVER_ERROR", "Internal server error", at=AT),
}

REFUSALS: dict[str, errors.Refusal] = {
    "ValidationRefused": errors.ValidationRefused(
        details=[{"field": "payload.country", "message": "is required"}, {"field": "priority", "message": "is wrong"}]
    ),
    "KeyMissing": errors.KeyMissing(),
    "KeyMalformed": errors.KeyMalformed(),
    "CrossSiteRefused": errors.CrossSiteRefused(),
    "ViewRefused": errors.ViewRefused(),
    "KeyRefused": errors.KeyRefused(),
    "CreditsShort": errors.CreditsShort(),
    "NotFound": errors.NotFound.task(ID),
    "TaskExists": errors.TaskExists("job-123"),
    "BulkExists": errors.BulkExists("cure-7"),
    "TaskEnded": errors.TaskEnded(ID, "COMPLETED"),
    "TaskNotFailed": errors.TaskNotFailed(ID, "QUEUED"),
    "NameTaken": errors.NameTaken("organization", "acme"),
    "InUse": errors.InUse("plan", "pro"),
    "SessionGone": errors.SessionGone(),
    "BodyTooLarge": errors.BodyTooLarge(1_048_576),
    "EncodingRefused": errors.EncodingRefused("gzip"),
    "QueueFull": errors.QueueFull(limit=100_000, queued=99_999, wanted=1),
    "RateLimited": errors.RateLimited(),
    "LoginLimited": errors.LoginLimited(),
    "ConcurrencyFull": errors.ConcurrencyFull(slots_used=10, slots_max=10),
    "RequestCanceled": errors.RequestCanceled(),
    "TransferCodingRefused": errors.TransferCodingRefused(),
    "Unavailable": errors.Unavailable(),
}
BODIES |= {f"wait_{reason.lower()}": body for reason, body in WAITS.items()}
BODIES |= {f"error_{name}": wire.error_body(refusal, at=AT) for name, refusal in REFUSALS.items()}
CALL_FAILURES = {
    "exhausted": EXHAUSTED,
    "timeout": TIMED_OUT,
    "failed": Failure(code="TOO_LARGE", message="The page is too large", details={"limit": 5}),
    "external": Failure(code="EXTERNAL_SERVICE_ERROR", message="The service is down", details={"service": "search"}),
}
BODIES |= {f"error_call_{name}": wire.failure_body(failure, at=AT) for name, failure in CALL_FAILURES.items()}
BODIES["call"] = wire.call_body('{"text":"...","sources":[],"n":1.50}')
BODIES["error_ConcurrencyFull_type"] = wire.error_body(
    errors.ConcurrencyFull(slots_used=1, slots_max=10, full=("CHATGPT", 20)), at=AT
)
BODIES["error_route"] = wire.error_body(errors.NotFound.route("/v1/nope"), at=AT)


@each("name", BODIES)
def test_a_body_is_what_its_golden_file_says(name: str) -> None:
    """Names, order, values and nulls."""
    golden = (Path(__file__).parent / f"{name}.json").read_text("utf-8")

    assert json.dumps(json.loads(BODIES[name]), indent=2, ensure_ascii=False) + "\n" == golden


def test_every_refusal_has_a_golden_file() -> None:
    """A new one is not forgotten, and no file is left over."""
    kinds = {kind.__name__ for kind in errors.Refusal.__subclasses__()}

    assert kinds == REFUSALS.keys()
    assert {file.stem for file in Path(__file__).parent.glob("*.json")} == BODIES.keys()


def test_every_reason_has_a_golden_file() -> None:
    """The set is closed."""
    assert WAITS.keys() == set(WaitReason)


def test_a_result_is_embedded_byte_for_byte() -> None:
    """Numbers keep their form, text its escapes."""
    result = '{"a": 1.50, "b":"\\u00e9"}'

    body = wire.task_body(a_task(TaskStatus.COMPLETED, charged=1, latency_ms=1, result=result))

    assert body.endswith(b'"response":' + result.encode() + b"}")


def test_a_webhook_is_told_what_get_answers() -> None:
    """But for the webhook block, byte for byte; and the same however often it was tried (contract, 9.1)."""
    told, later = (
        a_task(TaskStatus.COMPLETED, charged=1, latency_ms=1, result='{"a":1.50}', webhook=Told(URL, at))
        for at in (None, AT)
    )
    block = b'"webhook":{"url":"%b","deliveredAt":null,"delivered":false},' % URL.encode()

    assert wire.task_body(told).replace(block, b"") == wire.webhook_body(told) == wire.webhook_body(later)


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (-62_135_596_800_000, "0001-01-01T00:00:00.000Z"),
        (-37_249_635_784_700, "0789-08-09T22:56:55.300Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_762_786_800_000, "2025-11-10T15:00:00.000Z"),
        (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_moments_have_three_decimals(at: int, text: str) -> None:
    """Always."""
    assert wire.timestamp(at) == text
