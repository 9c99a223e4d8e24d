"""``Client`` and ``AsyncClient``: the same operations, driven by a thread or by an event loop.

The only place of the client that does I/O. The operations are in ``fairlane.client.operations`` and
``fairlane.client.many``; here they get their connection, clock and sleep.
"""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from typing import Any, Self, TypeVar, Unpack, cast, overload

import httpx2

from fairlane import __version__
from fairlane.client import many, operations
from fairlane.client.effects import Ask, Feed, Give, Pause, ReadClock, Response, Steps, Take
from fairlane.client.errors import ApiError, NoAnswer, SetupMissing
from fairlane.client.records import (
    Alert,
    Attempt,
    Bulk,
    CallResult,
    Capacity,
    Credits,
    Delivery,
    DeliveryConditions,
    DeliveryHost,
    FailureGroup,
    NewTask,
    Slot,
    Status,
    Task,
    TaskConditions,
    TaskCount,
    Usage,
    UsageOfTypes,
    Verdict,
    Why,
)
from fairlane.client.retrying import Policy
from fairlane.client.typed import AsyncHandler, Payload, SyncHandler, TaskType, name_of, result_of
from fairlane.connecting import reason_of

Result = TypeVar("Result")
Returned = TypeVar("Returned")
"""What a handler returns."""

TIMEOUT_SECONDS = 30.0
CONNECT_SECONDS = 5.0
CONNECTIONS = 20
KEEP_QUEUED_BELOW = 500

Reference = str | Task | Verdict
"""What names a task: its id, its idempotency key, or a record that has one of them."""


class Client:
    """One organization's connection to the API, for programs that block. Safe to share between threads.

    Examples:
        >>> from fairlane.client import Client
        >>> client = Client("http://127.0.0.1:8000", "sk_live_1234567890abcdef1234567890abcdef")
        >>> client.close()
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retries: int = 5,
        on_retry: Callable[[NoAnswer | ApiError, float], object] | None = None,
        transport: httpx2.BaseTransport | None = None,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a client; nothing is sent yet.

        Args:
            base_url: Where the API is, such as ``https://api.example``; a path in it is kept. If None,
                ``FAIRLANE_URL``.
            key: The organization's key. If None, ``FAIRLANE_API_KEY``.
            timeout_seconds: How long one answer may take; waiting and calling allow more time.
            retries: How often to repeat a request without an answer or with status 429 or 5xx, if that does no harm.
                ``Retry-After`` is honored; without it the pauses double from a quarter of a second to eight seconds.
            on_retry: Called before each further try with the reason and the pause in seconds.
            transport: What carries requests. If None, the network.
            sleep: The function that lets time pass.
            clock: Seconds that only go forward.

        Raises:
            SetupMissing: there is no address or no key.
        """
        self._policy = Policy(retries=retries, on_retry=on_retry)
        self._sleep, self._clock = sleep, clock
        self._timeout_seconds = timeout_seconds
        self._http = httpx2.Client(
            base_url=_address(base_url), headers=_headers(key), transport=transport, limits=_LIMITS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def status(self, *, verify: bool = False) -> Status:
        """Return how many tasks wait, how many run, and how many slots are taken, right now.

        Args:
            verify: Also recount the rows in the same snapshot; ``verification`` then lists the differences. It reads
                the whole queue, so the server allows it at most once a second.
        """
        return self._run(operations.status(self._policy, verify=verify))

    def submit(
        self,
        task_type: str,
        payload: object,
        *,
        priority: int | None = None,
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        delay_seconds: int | None = None,
        run_at: datetime | None = None,
    ) -> Task:
        """Submit one task and return it as it was accepted. Once this returns, the task is safe.

        If the answer is lost, the request is repeated without ever creating two tasks: without an ``idempotency_key`` a
        random one is used. If your key already names a task, that task is returned as it is now.

        Args:
            task_type: Its registered name.
            payload: What fits the type: a mapping, or a msgspec Struct, dataclass, attrs object or pydantic model.
            priority: 1 (lowest) to 10. If None, the server's default, 1.
            idempotency_key: Your name for the task, unique in your organization.
            webhook_url: The address that receives its outcome.
            delay_seconds: Start no sooner than this long after it was accepted.
            run_at: Start no sooner than this moment, which must have a time zone.

        Raises:
            ValidationFailed: a field is wrong, or a value is not valid JSON, such as NaN: then nothing is sent.
        """
        task = NewTask(
            task_type=task_type, payload=payload, priority=priority, idempotency_key=idempotency_key,
            webhook_url=webhook_url, delay_seconds=delay_seconds, run_at=run_at,
        )  # fmt: skip
        return self._run(operations.submit(self._policy, task))

    def submit_many(
        self,
        tasks: Iterable[NewTask],
        *,
        keep_queued_below: int | None = KEEP_QUEUED_BELOW,
        timeout_seconds: float | None = None,
    ) -> Iterator[Verdict]:
        """Submit any number of tasks in batches of up to 500, with a verdict for each, in order.

        Never makes the queue longer than ``keep_queued_below``: it reads the status before each batch, and waits if the
        queue has no room worth a request. Memory use does not grow with the number of tasks.
        Nothing happens until the verdicts are read: it is a generator.

        Tasks with idempotency keys make it safe to repeat the whole run after a crash: tasks that were accepted before
        come back as accepted, with ``existed`` set.

        A task with a value that is not valid JSON, such as NaN, is refused like one that the server refuses.

        Args:
            tasks: Read as they are needed.
            keep_queued_below: The mark. If None, only the organization's queue limit applies.
            timeout_seconds: Give up if there was no room for this long. If None, never.

        Raises:
            QueueLimitExceeded: there was no room in time.
            ApiError: the server refused more than single tasks, for example the key.
        """
        stream = many.submit_many(self._policy, keep_queued_below=keep_queued_below, timeout_seconds=timeout_seconds)
        return self._flow(stream, iter(tasks))

    def task(self, reference: Reference) -> Task:
        """Return one task by its id or its idempotency key. Raises NotFound."""
        return self._run(operations.find(self._policy, many.reference_of(reference)))

    def wait(self, reference: Reference, *, timeout_seconds: float | None = None) -> Task:
        """Wait until the task has ended and return it; the server answers at the moment when it ends.

        Raises:
            NotInTime: it had not ended after ``timeout_seconds`` seconds.
            NotFound: there is no such task.
        """
        return self._run(operations.wait(self._policy, many.reference_of(reference), timeout_seconds=timeout_seconds))

    def as_completed(self, references: Iterable[Reference], *, timeout_seconds: float | None = None) -> Iterator[Task]:
        """Yield each task as soon as it has ended. Accepts the verdicts of ``submit_many`` as well.

        Waits for 256 tasks at once and reads further ones as those end, so it takes any number. Verdicts of refused
        tasks are skipped.

        Raises:
            NotInTime: no task ended for ``timeout_seconds`` seconds.
            NotFound: one or more tasks do not exist, such as purged ones; raised after all others were returned.
        """
        return self._flow(many.as_completed(self._policy, timeout_seconds=timeout_seconds), iter(references))

    @overload
    def run(
        self, task_type: str, payload: object, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> dict[str, Any]: ...  # fmt: skip

    @overload
    def run(
        self, task_type: TaskType[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    @overload
    def run(
        self, task_type: AsyncHandler[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    @overload
    def run(
        self, task_type: SyncHandler[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    def run(
        self,
        task_type: Any,
        payload: object,
        *,
        timeout_seconds: float | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Submit a task, wait for it, and return its result.

        Args:
            task_type: The registered name; or, with types, the handler's function or a ``TaskType``. Then the
                result is converted to what the handler returns.
            payload: What fits the type, as for ``submit``.
            timeout_seconds: Give up after this long. If None, never.
            priority: As for ``submit``.
            idempotency_key: As for ``submit``.

        Raises:
            TaskFailed: it ended FAILED.
            NotInTime: it had not ended after ``timeout_seconds`` seconds.
            ResultUnexpected: the result does not fit the type.
        """
        task = NewTask(
            task_type=name_of(task_type), payload=payload, priority=priority, idempotency_key=idempotency_key
        )
        return result_of(task_type, self._run(operations.run(self._policy, task, timeout_seconds=timeout_seconds)))

    def why(self, reference: Reference) -> Why:
        """Return why a task waits: a reason, how many tasks are ahead, and when it may start."""
        return self._run(operations.why(self._policy, many.reference_of(reference)))

    def attempts(self, reference: Reference) -> list[Attempt]:
        """Return the attempts at a task, the oldest first, and how each ended.

        At most the newest 100 that did not complete it, and the one that runs now or that completed it.
        """
        return self._run(operations.attempts(self._policy, many.reference_of(reference)))

    def cancel(self, reference: Reference) -> Task:
        """Cancel one task: a queued one at once, a running one by asking it to end. Return it as it is then.

        Safe to repeat: a task that was already canceled is returned.

        Raises:
            AlreadyEnded: it ended in another way.
        """
        return self._run(operations.cancel(self._policy, many.reference_of(reference)))

    def retry(self, reference: Reference) -> Task:
        """Run a failed task again as a new task, and return the new task."""
        return self._run(operations.retry(self._policy, many.reference_of(reference)))

    def retry_many(self, **chosen: Unpack[TaskConditions]) -> Bulk:
        """Begin to run again all failed tasks that meet these conditions, each at most once, and return the bulk.

        The server works through them. See ``bulk`` for how far it is.
        """
        return self._run(operations.begin_bulk(self._policy, "retry", chosen))

    def cancel_many(self, **chosen: Unpack[TaskConditions]) -> Bulk:
        """Begin to cancel all tasks that meet these conditions and have not ended, and return the bulk."""
        return self._run(operations.begin_bulk(self._policy, "cancel", chosen))

    def bulk(self, identity: str | Bulk) -> Bulk:
        """Return how far a bulk is."""
        return self._run(operations.bulk(self._policy, many.identity_of(identity)))

    def stop_bulk(self, identity: str | Bulk) -> Bulk:
        """Stop a bulk; what it did stays. Return it as it is then."""
        return self._run(operations.stop_bulk(self._policy, many.identity_of(identity)))

    def count(self, **chosen: Unpack[TaskConditions]) -> TaskCount:
        """Count the tasks that meet these conditions; the server looks at a bounded number of tasks."""
        return self._run(operations.count(self._policy, chosen))

    def clear(self) -> int:
        """Drop every task that is still queued; running ones continue. Return how many were dropped.

        If the answer is lost, the request is repeated. Then the number is that of the last request: 0 if the lost one
        had dropped all tasks.
        """
        return self._run(operations.clear(self._policy))

    def tasks(self, *, most: int | None = None, **chosen: Unpack[TaskConditions]) -> Iterator[Task]:
        """Yield the organization's tasks, newest first, page by page as they are read.

        They have no responses; see ``task``.

        Args:
            most: Stop after this number. If None, return all.
            **chosen: Only tasks that meet these conditions, such as ``status="FAILED", task_type="PAGE"``; with
                ``key_prefix`` they come in the order of their keys.
        """
        return self._flow(operations.tasks(self._policy, chosen, most=most), iter(()))

    def slots(self) -> Iterator[Slot]:
        """Yield the slots in use and what holds them, the oldest first, page by page as they are read."""
        return self._flow(operations.slots(self._policy), iter(()))

    def deliveries(self, *, most: int | None = None, **chosen: Unpack[DeliveryConditions]) -> Iterator[Delivery]:
        """Yield the messages to the organization's webhooks, newest first, page by page as they are read.

        Args:
            most: Stop after this number. If None, return all.
            **chosen: Only deliveries that meet these conditions, such as ``status="due"``.
        """
        return self._flow(operations.deliveries(self._policy, chosen, most=most), iter(()))

    def webhook_hosts(self, host_prefix: str | None = None, *, most: int | None = None) -> Iterator[DeliveryHost]:
        """Yield the hosts of the organization's webhooks, and how the tries at each ended.

        Args:
            host_prefix: The beginning of host and port: all hosts that fit, by name. An empty one fits every host. If
                None, return up to 20, those with overdue messages or failures first.
            most: Stop after this number. If None, return all.
        """
        return self._flow(operations.webhook_hosts(self._policy, host_prefix, most=most), iter(()))

    def redeliver(self, delivery: str | Delivery) -> Delivery:
        """Try a delivery once more, at once, whether or not it was delivered before. Raises NotFound."""
        return self._run(operations.redeliver(self._policy, _id_of(delivery)))

    def alerts(self) -> list[Alert]:
        """Return the organization's alerts."""
        return self._run(operations.alerts(self._policy))

    def create_alert(self, kind: str, threshold: float, *, for_seconds: int, webhook_url: str) -> Alert:
        """Notify a webhook when a number stays above a threshold, and when it no longer does.

        Args:
            kind: ``QUEUED_ABOVE``, ``UTILIZATION_ABOVE``, ``OLDEST_WAITING_ABOVE`` or ``FAILURES_ABOVE``.
            threshold: Tasks, a share of the slots, seconds, or tasks in five minutes, depending on ``kind``.
            for_seconds: How long the number must stay above the threshold before the webhook is notified.
            webhook_url: The address to notify.
        """
        return self._run(
            operations.create_alert(self._policy, kind, threshold, for_seconds=for_seconds, webhook_url=webhook_url)
        )

    def delete_alert(self, alert: str | Alert) -> Alert:
        """Delete an alert and return it as it was. Raises NotFound."""
        return self._run(operations.delete_alert(self._policy, _id_of(alert)))

    def credits(self) -> Credits:
        """Return the balance."""
        return self._run(operations.credits(self._policy))

    def usage(
        self,
        *,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        step_seconds: int | None = None,
    ) -> Usage:
        """Return what happened in a span of time: how many tasks, how long they waited, and what delayed them.

        Args:
            begins_at: If None, an hour before the end.
            ends_at: If None, now.
            step_seconds: The length of a step. If None, the server's default.
        """
        return self._run(
            operations.usage(self._policy, begins_at=begins_at, ends_at=ends_at, step_seconds=step_seconds)
        )

    def usage_by_type(
        self,
        *,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        step_seconds: int | None = None,
    ) -> UsageOfTypes:
        """Return what happened in a span of time by task type: how many attempts, how long they waited and ran.

        Args:
            begins_at: If None, an hour before the end.
            ends_at: If None, now.
            step_seconds: The length of a step. If None, the server's default.
        """
        return self._run(
            operations.usage_by_type(self._policy, begins_at=begins_at, ends_at=ends_at, step_seconds=step_seconds)
        )

    def failures(self, *, since: datetime | None = None, most: int = 100) -> list[FailureGroup]:
        """Return what failed, grouped by cause, the groups with most failures first.

        Args:
            since: Count from this hour on. If None, from a day ago on.
            most: Most groups to return; at most 1,000.
        """
        return self._run(operations.failures(self._policy, since=since, most=most))

    def capacity(self, *, days: int | None = None) -> Capacity:
        """Return what delayed work in the last days, and how long tasks would have waited with more slots.

        The limited times are exact, the projections are estimates.

        Args:
            days: 1 to 90. If None, the server's default, 7.
        """
        return self._run(operations.capacity(self._policy, days=days))

    def call(self, name: str, payload: object) -> CallResult:
        """Run a task type now and return its result; the connection stays open for up to five minutes.

        Args:
            name: What follows ``/v1/monitor/`` in the type's route.
            payload: What fits the type: a mapping, or a msgspec Struct, dataclass, attrs object or pydantic model.

        Raises:
            ConcurrencyExceeded: no slot is free. Calls are never queued.
        """
        return self._run(operations.call(self._policy, name, payload))

    # Driving ---------------------------------------------------------------------------------------------------------

    def _run(self, operation: Steps[Result]) -> Result:
        """Drive an operation to its result."""
        came: Any = None
        try:
            while True:
                came = self._perform(operation.send(came))
        except StopIteration as ended:
            return cast(Result, ended.value)

    def _flow(self, stream: Feed, source: Iterator[Any]) -> Iterator[Any]:
        """Drive a stream and yield what it gives."""
        came: Any = None
        with suppress(StopIteration):
            while True:
                effect = stream.send(came)
                came = None
                match effect:
                    case Give(value):
                        yield value
                    case Take():
                        came = next(source, None)
                    case _:
                        came = self._perform(effect)

    def _perform(self, effect: Ask | Pause | ReadClock) -> Any:
        match effect:
            case Ask():
                return self._send(effect)
            case Pause(seconds):
                return self._sleep(seconds)
            case ReadClock():
                return self._clock()

    def _send(self, ask: Ask) -> Response | NoAnswer:
        try:
            return _answer(self._http.request(**_request(ask, self._timeout_seconds)))
        except httpx2.TransportError as error:
            return _no_answer(self._http.base_url, ask, error)


class AsyncClient:
    """One organization's connection to the API, for asyncio. The same operations as ``Client``.

    Examples:
        >>> import asyncio
        >>> from fairlane.client import AsyncClient
        >>> async def queued() -> int:
        ...     async with AsyncClient() as client:  # reads FAIRLANE_URL and FAIRLANE_API_KEY
        ...         return (await client.status()).queued_tasks
    """

    def __init__(
        self,
        base_url: str | None = None,
        key: str | None = None,
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        retries: int = 5,
        on_retry: Callable[[NoAnswer | ApiError, float], object] | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a client; nothing is sent yet. The arguments are those of ``Client``."""
        self._policy = Policy(retries=retries, on_retry=on_retry)
        self._sleep, self._clock = sleep, clock
        self._timeout_seconds = timeout_seconds
        self._http = httpx2.AsyncClient(
            base_url=_address(base_url), headers=_headers(key), transport=transport, limits=_LIMITS
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def status(self, *, verify: bool = False) -> Status:
        """Return how many tasks wait, how many run, and how many slots are taken, right now."""
        return await self._run(operations.status(self._policy, verify=verify))

    async def submit(
        self,
        task_type: str,
        payload: object,
        *,
        priority: int | None = None,
        idempotency_key: str | None = None,
        webhook_url: str | None = None,
        delay_seconds: int | None = None,
        run_at: datetime | None = None,
    ) -> Task:
        """Submit one task and return it as it was accepted. Once this returns, the task is safe."""
        task = NewTask(
            task_type=task_type, payload=payload, priority=priority, idempotency_key=idempotency_key,
            webhook_url=webhook_url, delay_seconds=delay_seconds, run_at=run_at,
        )  # fmt: skip
        return await self._run(operations.submit(self._policy, task))

    def submit_many(
        self,
        tasks: Iterable[NewTask] | AsyncIterable[NewTask],
        *,
        keep_queued_below: int | None = KEEP_QUEUED_BELOW,
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Verdict]:
        """Submit any number of tasks in batches of up to 500, with a verdict for each, in order."""
        stream = many.submit_many(self._policy, keep_queued_below=keep_queued_below, timeout_seconds=timeout_seconds)
        return self._flow(stream, tasks)

    async def task(self, reference: Reference) -> Task:
        """Return one task by its id or its idempotency key. Raises NotFound."""
        return await self._run(operations.find(self._policy, many.reference_of(reference)))

    async def wait(self, reference: Reference, *, timeout_seconds: float | None = None) -> Task:
        """Wait until the task has ended and return it; the server answers at the moment when it ends."""
        return await self._run(
            operations.wait(self._policy, many.reference_of(reference), timeout_seconds=timeout_seconds)
        )

    def as_completed(
        self, references: Iterable[Reference] | AsyncIterable[Reference], *, timeout_seconds: float | None = None
    ) -> AsyncIterator[Task]:
        """Yield each task as soon as it has ended. Accepts the verdicts of ``submit_many`` as well."""
        return self._flow(many.as_completed(self._policy, timeout_seconds=timeout_seconds), references)

    @overload
    async def run(
        self, task_type: str, payload: object, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> dict[str, Any]: ...  # fmt: skip

    @overload
    async def run(
        self, task_type: TaskType[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    @overload
    async def run(
        self, task_type: AsyncHandler[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    @overload
    async def run(
        self, task_type: SyncHandler[Payload, Returned], payload: Payload, *, timeout_seconds: float | None = None,
        priority: int | None = None, idempotency_key: str | None = None,
    ) -> Returned: ...  # fmt: skip

    async def run(
        self,
        task_type: Any,
        payload: object,
        *,
        timeout_seconds: float | None = None,
        priority: int | None = None,
        idempotency_key: str | None = None,
    ) -> Any:
        """Submit a task, wait for it, and return its result."""
        task = NewTask(
            task_type=name_of(task_type), payload=payload, priority=priority, idempotency_key=idempotency_key
        )
        response = await self._run(operations.run(self._policy, task, timeout_seconds=timeout_seconds))
        return result_of(task_type, response)

    async def why(self, reference: Reference) -> Why:
        """Return why a task waits: a reason, how many tasks are ahead, and when it may start."""
        return await self._run(operations.why(self._policy, many.reference_of(reference)))

    async def attempts(self, reference: Reference) -> list[Attempt]:
        """Return the attempts at a task, the oldest first, and how each ended."""
        return await self._run(operations.attempts(self._policy, many.reference_of(reference)))

    async def cancel(self, reference: Reference) -> Task:
        """Cancel one task: a queued one at once, a running one by asking it to end. Return it as it is then."""
        return await self._run(operations.cancel(self._policy, many.reference_of(reference)))

    async def retry(self, reference: Reference) -> Task:
        """Run a failed task again as a new task, and return the new task."""
        return await self._run(operations.retry(self._policy, many.reference_of(reference)))

    async def retry_many(self, **chosen: Unpack[TaskConditions]) -> Bulk:
        """Begin to run again all failed tasks that meet these conditions, each at most once, and return the bulk."""
        return await self._run(operations.begin_bulk(self._policy, "retry", chosen))

    async def cancel_many(self, **chosen: Unpack[TaskConditions]) -> Bulk:
        """Begin to cancel all tasks that meet these conditions and have not ended, and return the bulk."""
        return await self._run(operations.begin_bulk(self._policy, "cancel", chosen))

    async def bulk(self, identity: str | Bulk) -> Bulk:
        """Return how far a bulk is."""
        return await self._run(operations.bulk(self._policy, many.identity_of(identity)))

    async def stop_bulk(self, identity: str | Bulk) -> Bulk:
        """Stop a bulk; what it did stays. Return it as it is then."""
        return await self._run(operations.stop_bulk(self._policy, many.identity_of(identity)))

    async def count(self, **chosen: Unpack[TaskConditions]) -> TaskCount:
        """Count the tasks that meet these conditions; the server looks at a bounded number of tasks."""
        return await self._run(operations.count(self._policy, chosen))

    async def clear(self) -> int:
        """Drop every task that is still queued; running ones continue. Return how many were dropped."""
        return await self._run(operations.clear(self._policy))

    def tasks(self, *, most: int | None = None, **chosen: Unpack[TaskConditions]) -> AsyncIterator[Task]:
        """Yield the organization's tasks, newest first, page by page as they are read."""
        return self._flow(operations.tasks(self._policy, chosen, most=most), ())

    def slots(self) -> AsyncIterator[Slot]:
        """Yield the slots in use and what holds them, the oldest first, page by page as they are read."""
        return self._flow(operations.slots(self._policy), ())

    def deliveries(self, *, most: int | None = None, **chosen: Unpack[DeliveryConditions]) -> AsyncIterator[Delivery]:
        """Yield the messages to the organization's webhooks, newest first, page by page as they are read."""
        return self._flow(operations.deliveries(self._policy, chosen, most=most), ())

    def webhook_hosts(self, host_prefix: str | None = None, *, most: int | None = None) -> AsyncIterator[DeliveryHost]:
        """Yield the hosts of the organization's webhooks, and how the tries at each ended."""
        return self._flow(operations.webhook_hosts(self._policy, host_prefix, most=most), ())

    async def redeliver(self, delivery: str | Delivery) -> Delivery:
        """Try a delivery once more, at once, whether or not it was delivered before. Raises NotFound."""
        return await self._run(operations.redeliver(self._policy, _id_of(delivery)))

    async def alerts(self) -> list[Alert]:
        """Return the organization's alerts."""
        return await self._run(operations.alerts(self._policy))

    async def create_alert(self, kind: str, threshold: float, *, for_seconds: int, webhook_url: str) -> Alert:
        """Notify a webhook when a number stays above a threshold, and when it no longer does."""
        return await self._run(
            operations.create_alert(self._policy, kind, threshold, for_seconds=for_seconds, webhook_url=webhook_url)
        )

    async def delete_alert(self, alert: str | Alert) -> Alert:
        """Delete an alert and return it as it was. Raises NotFound."""
        return await self._run(operations.delete_alert(self._policy, _id_of(alert)))

    async def credits(self) -> Credits:
        """Return the balance."""
        return await self._run(operations.credits(self._policy))

    async def usage(
        self,
        *,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        step_seconds: int | None = None,
    ) -> Usage:
        """Return what happened in a span of time: how many tasks, how long they waited, and what delayed them."""
        return await self._run(
            operations.usage(self._policy, begins_at=begins_at, ends_at=ends_at, step_seconds=step_seconds)
        )

    async def usage_by_type(
        self,
        *,
        begins_at: datetime | None = None,
        ends_at: datetime | None = None,
        step_seconds: int | None = None,
    ) -> UsageOfTypes:
        """Return what happened in a span of time by task type: how many attempts, how long they waited and ran."""
        return await self._run(
            operations.usage_by_type(self._policy, begins_at=begins_at, ends_at=ends_at, step_seconds=step_seconds)
        )

    async def failures(self, *, since: datetime | None = None, most: int = 100) -> list[FailureGroup]:
        """Return what failed, grouped by cause, the groups with most failures first."""
        return await self._run(operations.failures(self._policy, since=since, most=most))

    async def capacity(self, *, days: int | None = None) -> Capacity:
        """Return what delayed work in the last days, and how long tasks would have waited with more slots."""
        return await self._run(operations.capacity(self._policy, days=days))

    async def call(self, name: str, payload: object) -> CallResult:
        """Run a task type now and return its result; the connection stays open for up to five minutes."""
        return await self._run(operations.call(self._policy, name, payload))

    # Driving ---------------------------------------------------------------------------------------------------------

    async def _run(self, operation: Steps[Result]) -> Result:
        """Drive an operation to its result."""
        came: Any = None
        try:
            while True:
                came = await self._perform(operation.send(came))
        except StopIteration as ended:
            return cast(Result, ended.value)

    async def _flow(self, stream: Feed, source: Iterable[Any] | AsyncIterable[Any]) -> AsyncIterator[Any]:
        """Drive a stream and yield what it gives."""
        take = _taker(source)
        came: Any = None
        with suppress(StopIteration):
            while True:
                effect = stream.send(came)
                came = None
                match effect:
                    case Give(value):
                        yield value
                    case Take():
                        came = await take()
                    case _:
                        came = await self._perform(effect)

    async def _perform(self, effect: Ask | Pause | ReadClock) -> Any:
        match effect:
            case Ask():
                return await self._send(effect)
            case Pause(seconds):
                return await self._sleep(seconds)
            case ReadClock():
                return self._clock()

    async def _send(self, ask: Ask) -> Response | NoAnswer:
        try:
            return _answer(await self._http.request(**_request(ask, self._timeout_seconds)))
        except httpx2.TransportError as error:
            return _no_answer(self._http.base_url, ask, error)


# Shared by both clients ----------------------------------------------------------------------------------------------

_LIMITS = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
_AGENT = f"fairlane-python/{__version__} (python {platform.python_version()})"


def _id_of(given: str | Delivery | Alert) -> str:
    return given if isinstance(given, str) else given.id


def _address(given: str | None) -> str:
    address = given or os.environ.get("FAIRLANE_URL")
    if not address:
        raise SetupMissing("no address of the API: give base_url, or set FAIRLANE_URL")
    try:
        host = httpx2.URL(address).host if address.startswith(("http://", "https://")) else ""
    except httpx2.InvalidURL:
        host = ""
    if not host:
        raise SetupMissing(f"the address {address!r} cannot be used: it must look like https://api.example")
    # Every path of the client begins with v1, and people often copy the address with it.
    return address.rstrip("/").removesuffix("/v1").rstrip("/") + "/"


def _headers(given: str | None) -> dict[str, str]:
    key = given or os.environ.get("FAIRLANE_API_KEY")
    if not key:
        raise SetupMissing("no key: give key, or set FAIRLANE_API_KEY")
    if not (key.isascii() and key.isprintable()):
        raise SetupMissing("the key contains characters that keys never have: look for a line end or a quote")
    return {"Authorization": f"Bearer {key}", "User-Agent": _AGENT}


def _request(ask: Ask, timeout_seconds: float) -> dict[str, Any]:
    read_seconds = timeout_seconds + ask.patience_seconds
    headers = dict(ask.headers)
    if ask.content is not None:
        headers["Content-Type"] = "application/json"
    return {
        "method": ask.method,
        "url": ask.path,
        "content": ask.content,
        "params": dict(ask.query) or None,
        "headers": headers,
        "timeout": httpx2.Timeout(read_seconds, connect=min(CONNECT_SECONDS, timeout_seconds)),
    }


def _answer(response: httpx2.Response) -> Response:
    return Response(
        response.status_code, {name.lower(): value for name, value in response.headers.items()}, response.content
    )


def _no_answer(address: httpx2.URL, ask: Ask, error: httpx2.TransportError) -> NoAnswer:
    sent = not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    made = NoAnswer(f"no answer to {ask.method} {address.join(ask.path)}: {reason_of(error)}", sent=sent)
    made.__cause__ = error
    return made


def _taker(source: Iterable[Any] | AsyncIterable[Any]) -> Callable[[], Awaitable[Any]]:
    """Return a function that awaits the next of these, or returns None after the last."""
    if isinstance(source, AsyncIterable):
        ahead = aiter(source)

        async def take() -> Any:
            return await anext(ahead, None)

        return take
    at_hand = iter(source)

    async def take_at_hand() -> Any:
        return next(at_hand, None)

    return take_at_hand
