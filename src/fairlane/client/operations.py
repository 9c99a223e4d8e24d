"""Each operation of a client, written once as a generator that ``fairlane.client.clients`` drives.

Nothing here does I/O, sleeps or reads a clock; see ``fairlane.client.effects``.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote
from uuid import uuid4

from fairlane.client.answers import (
    alert_text,
    bulk_text,
    delivery_fields,
    filter_fields,
    moment_text,
    payload_text,
    read_alert,
    read_alerts,
    read_attempts,
    read_bulk,
    read_capacity,
    read_cleared,
    read_count,
    read_credits,
    read_deliveries,
    read_delivery,
    read_failures,
    read_hosts,
    read_page,
    read_result,
    read_slots,
    read_status,
    read_task,
    read_usage,
    read_usage_by_type,
    read_why,
    submission_text,
)
from fairlane.client.effects import Ask, Feed, Give, Pause, Response, Steps, clock
from fairlane.client.errors import AlreadyExists, NotInTime, TaskFailed
from fairlane.client.records import (
    Alert,
    Attempt,
    Bulk,
    CallResult,
    Capacity,
    Credits,
    Delivery,
    DeliveryConditions,
    FailureGroup,
    NewTask,
    Status,
    Task,
    TaskConditions,
    TaskCount,
    Usage,
    UsageOfTypes,
    Why,
)
from fairlane.client.retrying import Policy, exchange

LONG_POLL_SECONDS = 20
"""Longest wait at the server for a task to end, in one request."""
POLL_FIRST_SECONDS = 0.05
POLL_MOST_SECONDS = 5.0
CALL_SECONDS = 320.0
"""Longest wait for the answer to a call: a call runs for at most five minutes, and the client waits a little longer."""
PAGE_HOSTS = 20
"""Hosts of webhooks in one answer."""
PAGE_TASKS = 100

_DIGITS = re.compile(r"\d{1,15}", re.ASCII)


def status(policy: Policy, *, verify: bool = False) -> Steps[Status]:
    """Return the queue and the slots now; with ``verify`` also a recount of the rows."""
    query = {"verify": "true"} if verify else {}
    answer = yield from exchange(Ask(method="GET", path="v1/async/status", query=query), policy)
    return read_status(answer.body)


def submit(policy: Policy, task: NewTask) -> Steps[Task]:
    """Submit one task under its key. If the key already names a task, return that task as it is now."""
    key = new_key() if task.idempotency_key is None else task.idempotency_key
    ask = Ask(method="POST", path="v1/async/task", content=submission_text(task, key))
    try:
        answer = yield from exchange(ask, policy)
    except AlreadyExists:
        return (yield from find(policy, key))
    return read_task(answer.body)


def find(policy: Policy, reference: str, *, wait_seconds: int = 0) -> Steps[Task]:
    """Return one task by its id or its key; with ``wait_seconds`` the server may wait that long for it to end."""
    answer = yield from exchange(
        Ask(
            method="GET",
            path=task_path(reference),
            headers={"Prefer": f"wait={wait_seconds}"} if wait_seconds else {},
            patience_seconds=wait_seconds,
        ),
        policy,
    )
    return read_task(answer.body)


def wait(policy: Policy, reference: str, *, timeout_seconds: float | None) -> Steps[Task]:
    """Wait until a task has ended and return it. Raises NotInTime."""
    began = yield from clock()
    give_up_at = math.inf if timeout_seconds is None else began + timeout_seconds
    pause_seconds = POLL_FIRST_SECONDS
    while True:
        asked_at = yield from clock()
        task = yield from find(policy, reference, wait_seconds=_whole_seconds(give_up_at - asked_at))
        if task.done:
            return task
        now = yield from clock()
        if now >= give_up_at:
            raise NotInTime(task, now - began)
        if now - asked_at < POLL_MOST_SECONDS / 2:  # The server did not wait, or was not asked to.
            yield Pause(min(pause_seconds, give_up_at - now))
            pause_seconds = min(pause_seconds * 1.5, POLL_MOST_SECONDS)


def run(policy: Policy, task: NewTask, *, timeout_seconds: float | None) -> Steps[dict[str, Any]]:
    """Submit, wait, and return the result. Raises TaskFailed or NotInTime."""
    submitted = yield from submit(policy, task)
    ended = submitted if submitted.done else (yield from wait(policy, submitted.id, timeout_seconds=timeout_seconds))
    if ended.status == "FAILED":
        raise TaskFailed(ended)
    return ended.response or {}


def why(policy: Policy, reference: str) -> Steps[Why]:
    """Return why a task is where it is."""
    answer = yield from exchange(Ask(method="GET", path=f"{task_path(reference)}/wait"), policy)
    return read_why(answer.body)


def attempts(policy: Policy, reference: str) -> Steps[list[Attempt]]:
    """Return the attempts at a task, the oldest first."""
    answer = yield from exchange(Ask(method="GET", path=f"{task_path(reference)}/attempts"), policy)
    return read_attempts(answer.body)


def cancel(policy: Policy, reference: str) -> Steps[Task]:
    """Cancel one task and return it as it is then."""
    answer = yield from exchange(Ask(method="DELETE", path=task_path(reference)), policy)
    return read_task(answer.body)


def retry(policy: Policy, reference: str) -> Steps[Task]:
    """Run a failed task again as a new one, and return the new task."""
    ask = Ask(method="POST", path=f"{task_path(reference)}/retry", repeatable=False)
    answer = yield from exchange(ask, policy)
    return read_task(answer.body)


def begin_bulk(policy: Policy, kind: str, chosen: TaskConditions) -> Steps[Bulk]:
    """Begin a bulk. A key makes a repeated request name the same one."""
    ask = Ask(method="POST", path=f"v1/async/tasks/{kind}", content=bulk_text(chosen, new_key()))
    answer = yield from exchange(ask, policy)
    return read_bulk(answer.body)


def bulk(policy: Policy, identity: str) -> Steps[Bulk]:
    """Return how far a bulk is."""
    answer = yield from exchange(Ask(method="GET", path=bulk_path(identity)), policy)
    return read_bulk(answer.body)


def stop_bulk(policy: Policy, identity: str) -> Steps[Bulk]:
    """Stop a bulk and return it as it is then."""
    answer = yield from exchange(Ask(method="DELETE", path=bulk_path(identity)), policy)
    return read_bulk(answer.body)


def count(policy: Policy, chosen: TaskConditions) -> Steps[TaskCount]:
    """Count the tasks that meet the conditions."""
    query = {name: str(value) for name, value in filter_fields(chosen).items()}
    answer = yield from exchange(Ask(method="GET", path="v1/async/tasks/count", query=query), policy)
    return read_count(answer.body)


def bulk_path(identity: str) -> str:
    """Return the path of a bulk."""
    return f"v1/async/tasks/bulk/{_segment(identity)}"


def clear(policy: Policy) -> Steps[int]:
    """Drop every queued task and return how many there were."""
    answer = yield from exchange(Ask(method="DELETE", path="v1/async/queue"), policy)
    return read_cleared(answer.body)


def tasks(policy: Policy, chosen: TaskConditions, *, most: int | None) -> Feed:
    """Yield the tasks that meet the conditions, page by page, newest first."""
    left, cursor = math.inf if most is None else most, None
    while left > 0:
        found, cursor = yield from page(policy, chosen, cursor=cursor, most=int(min(PAGE_TASKS, left)))
        for task in found:
            yield Give(task)
        left -= len(found)
        if cursor is None:
            return


def page(
    policy: Policy, chosen: TaskConditions, *, cursor: str | None, most: int
) -> Steps[tuple[list[Task], str | None]]:
    """Return some tasks, newest first, and where the next page begins, or None on the last page."""
    query = {"limit": str(most), **{name: str(value) for name, value in filter_fields(chosen).items()}}
    if cursor is not None:
        query["cursor"] = cursor
    answer: Response = yield from exchange(Ask(method="GET", path="v1/async/tasks", query=query), policy)
    return read_page(answer.body)


def slots(policy: Policy) -> Feed:
    """Yield the slots in use, page by page, the oldest first."""
    yield from _pages(policy, "v1/async/slots", read_slots)


def deliveries(policy: Policy, chosen: DeliveryConditions, *, most: int | None) -> Feed:
    """Yield the deliveries that meet the conditions, page by page, newest first."""
    yield from _pages(policy, "v1/webhooks/deliveries", read_deliveries, most, delivery_fields(chosen))


def webhook_hosts(policy: Policy, host_prefix: str | None, *, most: int | None) -> Feed:
    """Yield the hosts of webhooks: those with trouble first in one page, or page by page by name."""
    yield from _pages(
        policy, "v1/webhooks/hosts", read_hosts, most, delivery_fields({"host_prefix": host_prefix}), page=PAGE_HOSTS
    )


def _pages(
    policy: Policy,
    path: str,
    read: Callable[[bytes], tuple[list[Any], str | None]],
    most: int | None = None,
    chosen: Mapping[str, str] = MappingProxyType({}),
    *,
    page: int = PAGE_TASKS,
) -> Feed:
    left, query = math.inf if most is None else most, dict(chosen)
    while left > 0:
        query["limit"] = str(int(min(page, left)))
        answer: Response = yield from exchange(Ask(method="GET", path=path, query=query), policy)
        found, cursor = read(answer.body)
        for one in found:
            yield Give(one)
        left -= len(found)
        if cursor is None:
            return
        query["cursor"] = cursor


def redeliver(policy: Policy, delivery: str) -> Steps[Delivery]:
    """Try a delivery once more. The request is repeated only if the server certainly did not process it."""
    path = f"v1/webhooks/deliveries/{_segment(delivery)}/redeliver"
    answer = yield from exchange(Ask(method="POST", path=path, repeatable=False), policy)
    return read_delivery(answer.body)


def alerts(policy: Policy) -> Steps[list[Alert]]:
    """Return all alerts; there are few."""
    answer = yield from exchange(Ask(method="GET", path="v1/alerts"), policy)
    return read_alerts(answer.body)


def create_alert(policy: Policy, kind: str, threshold: float, *, for_seconds: int, webhook_url: str) -> Steps[Alert]:
    """Create an alert. The request is repeated only if the server certainly did not process it."""
    content = alert_text(kind, threshold, for_seconds, webhook_url)
    ask = Ask(method="POST", path="v1/alerts", content=content, repeatable=False)
    answer = yield from exchange(ask, policy)
    return read_alert(answer.body)


def delete_alert(policy: Policy, alert: str) -> Steps[Alert]:
    """Delete an alert and return it."""
    answer = yield from exchange(Ask(method="DELETE", path=f"v1/alerts/{_segment(alert)}", repeatable=False), policy)
    return read_alert(answer.body)


def credits(policy: Policy) -> Steps[Credits]:
    """Return the balance."""
    answer = yield from exchange(Ask(method="GET", path="v1/credits"), policy)
    return read_credits(answer.body)


def usage(
    policy: Policy, *, begins_at: datetime | None, ends_at: datetime | None, step_seconds: int | None
) -> Steps[Usage]:
    """Return what happened in a span of time."""
    query = _span(begins_at, ends_at, step_seconds)
    answer = yield from exchange(Ask(method="GET", path="v1/async/usage", query=query), policy)
    return read_usage(answer.body)


def usage_by_type(
    policy: Policy, *, begins_at: datetime | None, ends_at: datetime | None, step_seconds: int | None
) -> Steps[UsageOfTypes]:
    """Return what happened in a span of time, by task type."""
    query = _span(begins_at, ends_at, step_seconds)
    answer = yield from exchange(Ask(method="GET", path="v1/async/usage/types", query=query), policy)
    return read_usage_by_type(answer.body)


def _span(begins_at: datetime | None, ends_at: datetime | None, step_seconds: int | None) -> dict[str, str]:
    asked = {
        "from": moment_text(begins_at),
        "to": moment_text(ends_at),
        "step": None if step_seconds is None else str(step_seconds),
    }
    return {name: value for name, value in asked.items() if value is not None}


def failures(policy: Policy, *, since: datetime | None, most: int) -> Steps[list[FailureGroup]]:
    """Return what failed, grouped by cause."""
    query = {"limit": str(most)}
    if (text := moment_text(since)) is not None:
        query["since"] = text
    answer = yield from exchange(Ask(method="GET", path="v1/async/failures", query=query), policy)
    return read_failures(answer.body)


def capacity(policy: Policy, *, days: int | None) -> Steps[Capacity]:
    """Return what delayed work in the last days, and what more slots would have done."""
    query = {} if days is None else {"days": str(days)}
    answer = yield from exchange(Ask(method="GET", path="v1/async/capacity", query=query), policy)
    return read_capacity(answer.body)


def call(policy: Policy, name: str, payload: object) -> Steps[CallResult]:
    """Run one task type now over the open connection. Repeated only if the server certainly did not run it."""
    answer = yield from exchange(
        Ask(
            method="POST",
            path=f"v1/monitor/{quote(name, safe='/')}",
            content=payload_text(payload),
            patience_seconds=CALL_SECONDS,
            repeatable=False,
        ),
        policy,
    )
    return CallResult(
        result=read_result(answer.body),
        credits_charged=_whole(answer.headers.get("x-credits-charged")),
        credits_remaining=_whole(answer.headers.get("x-credits-remaining")),
    )


def task_path(reference: str) -> str:
    """Return the path of a task, from its id or its key."""
    return f"v1/async/task/{_segment(reference)}"


def _segment(text: str) -> str:
    """Escape text as one segment of a path. Segments of only dots change the path, so those dots are escaped."""
    return text.replace(".", "%2E") if text in (".", "..") else quote(text, safe="")


def new_key(random_id: Callable[[], object] = uuid4) -> str:
    """Return a key for a task without one, so that a repeated request after a lost answer creates no second task."""
    return f"auto-{random_id()}"


def _whole_seconds(left: float) -> int:
    """Return how long a request may wait at the server, in whole seconds; less than one is not worth it."""
    return int(max(0, min(LONG_POLL_SECONDS, left)))


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and _DIGITS.fullmatch(text) else None
