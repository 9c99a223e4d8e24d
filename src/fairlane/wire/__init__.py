"""The customers' JSON, in and out, one module for each noun: the only place that knows camelCase.

Pure functions between the records of ``model`` and bytes; callers import them from here. The contract defines field
names, their order and their nulls; each body has a golden file in ``tests/wire/``.
"""

from fairlane.wire.alerts import (
    ALERT_SECONDS_MOST,
    ALERT_THRESHOLD_MOST,
    AlertBody,
    AlertMessageBody,
    AlertsBody,
    AskedAlert,
    alert_body,
    alert_message_body,
    alerts_body,
    read_alert,
)
from fairlane.wire.attempts import AttemptsBody, attempts_body
from fairlane.wire.bulks import (
    BULK_KEY,
    BulkBody,
    BulksBody,
    ChangedBulkBody,
    TaskCountBody,
    bulk_body,
    bulks_body,
    changed_bulk_body,
    read_bulk,
    task_count_body,
)
from fairlane.wire.calls import CallBody, call_body, failure_body
from fairlane.wire.capacity import CapacityBody, capacity_body
from fairlane.wire.credits import (
    CREDITS_UNCOUNTED,
    CountriesBody,
    CreditsBody,
    StatesBody,
    countries_body,
    credits_body,
    credits_remaining,
    states_body,
)
from fairlane.wire.errors import envelope, error_body
from fairlane.wire.failures import FailuresBody, failures_body
from fairlane.wire.filters import FILTER_FIELDS, KEY_PREFIX, filter_fields, filter_of_query
from fairlane.wire.health import HealthBody
from fairlane.wire.insight import SlotsBody, WaitBody, slots_body, wait_body
from fairlane.wire.live import everything_body, live_body
from fairlane.wire.status import StatusBody, status_body, verified_body
from fairlane.wire.submissions import (
    BATCH_MOST,
    DELAY_SECONDS_MOST,
    IDEMPOTENCY_KEY_LENGTH,
    AskedTask,
    read_submission,
    split_batch,
    unknown_type,
)
from fairlane.wire.tasks import (
    BatchBody,
    ChangedTaskBody,
    ClearedBody,
    TaskBody,
    TasksBody,
    WebhookBody,
    batch_body,
    changed_task_body,
    cleared_body,
    created_body,
    task_body,
    tasks_body,
    test_event_body,
    webhook_body,
)
from fairlane.wire.usage import UsageBody, usage_body
from fairlane.wire.values import read_moment, timestamp
from fairlane.wire.webhooks import DeliveriesBody, DeliveryBody, deliveries_body, delivery_body, read_address

__all__ = [
    "ALERT_SECONDS_MOST",
    "ALERT_THRESHOLD_MOST",
    "BATCH_MOST",
    "BULK_KEY",
    "CREDITS_UNCOUNTED",
    "DELAY_SECONDS_MOST",
    "FILTER_FIELDS",
    "IDEMPOTENCY_KEY_LENGTH",
    "KEY_PREFIX",
    "AlertBody",
    "AlertMessageBody",
    "AlertsBody",
    "AskedAlert",
    "AskedTask",
    "AttemptsBody",
    "BatchBody",
    "BulkBody",
    "BulksBody",
    "CallBody",
    "CapacityBody",
    "ChangedBulkBody",
    "ChangedTaskBody",
    "ClearedBody",
    "CountriesBody",
    "CreditsBody",
    "DeliveriesBody",
    "DeliveryBody",
    "FailuresBody",
    "HealthBody",
    "SlotsBody",
    "StatesBody",
    "StatusBody",
    "TaskBody",
    "TaskCountBody",
    "TasksBody",
    "UsageBody",
    "WaitBody",
    "WebhookBody",
    "alert_body",
    "alert_message_body",
    "alerts_body",
    "attempts_body",
    "batch_body",
    "bulk_body",
    "bulks_body",
    "call_body",
    "capacity_body",
    "changed_bulk_body",
    "changed_task_body",
    "cleared_body",
    "countries_body",
    "created_body",
    "credits_body",
    "credits_remaining",
    "deliveries_body",
    "delivery_body",
    "envelope",
    "error_body",
    "everything_body",
    "failure_body",
    "failures_body",
    "filter_fields",
    "filter_of_query",
    "live_body",
    "read_address",
    "read_alert",
    "read_bulk",
    "read_moment",
    "read_submission",
    "slots_body",
    "split_batch",
    "states_body",
    "status_body",
    "task_body",
    "task_count_body",
    "tasks_body",
    "test_event_body",
    "timestamp",
    "unknown_type",
    "usage_body",
    "verified_body",
    "wait_body",
    "webhook_body",
]
