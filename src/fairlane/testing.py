"""For tests of your application: the whole engine on a temporary database, with a clock that you move.

Customers' requests use the real API, tasks use the real store and fair order, handlers run as in a worker, and
webhooks are signed and follow their schedule. Only the network and the waiting are replaced.
"""

import asyncio
import heapq
import itertools
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx2
import msgspec
from msgspec import Struct

from fairlane import __version__
from fairlane.api.admin.surface import admin_surface
from fairlane.api.callers import Callers
from fairlane.api.customers import customer_part, customer_surface
from fairlane.api.lists import ReferenceLists
from fairlane.api.parking import Parking
from fairlane.api.serving import Serving
from fairlane.api.worker import worker_surface
from fairlane.app import SECRET_RULES, reach_of
from fairlane.bulks import BulkWork
from fairlane.client import Client, Task
from fairlane.client.answers import read_task
from fairlane.errors import FairlaneError
from fairlane.handlers import Fairlane
from fairlane.protocol import ExchangeAnswer, ExchangeRequest, LeaseBody, Register, Registered, ReportBody
from fairlane.settings import SECONDS_MOST, Settings
from fairlane.store import Store
from fairlane.webhooks.guard import check_url
from fairlane.webhooks.poster import Outgoing, TryResult
from fairlane.webhooks.sender import Sender
from fairlane.worker.boot import run_hooks
from fairlane.worker.executors import Executors

__all__ = ["Engine", "EngineError", "SentWebhook", "Started", "Takes"]

Result = TypeVar("Result")

STARTS_AT = datetime(2030, 1, 1, tzinfo=UTC)
EVENTS_MOST = 1_000_000
"""Most events in one advance; more means that it does not come to an end."""
RATE_LIMIT = 1_000_000
"""Practically unlimited, because requests per second are counted on the machine's clock, not on the engine's."""
CALL_LOOK_SECONDS = 0.05
"""How long, in real time, a running call may take to be answered before the clock moves on."""
ADDRESS = "http://fairlane.test"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - only a subfolder that we create is used

Takes = Mapping[str, float] | Callable[["Started"], float]
"""Seconds that an attempt takes, by task type or by a function of the attempt."""


class Started(Struct, frozen=True, kw_only=True):
    """One attempt that was started."""

    at: int
    """On the engine's clock, in milliseconds since 1970, UTC."""
    task_id: str
    organization: str
    task_type: str
    attempt: int
    payload: dict[str, Any]


class SentWebhook(Struct, frozen=True, kw_only=True):
    """One try of a webhook."""

    at: int
    """On the engine's clock, in milliseconds since 1970, UTC."""
    url: str
    headers: dict[str, str]
    body: bytes
    status: int | None
    """The status that your receiver answered, or None for no answer."""

    @property
    def task(self) -> Task:
        """Return the task in the message."""
        return read_task(self.body)


class EngineError(FairlaneError):
    """The engine cannot do what was requested."""


class Engine:
    """An application with a server, a worker and a clock of its own. Use it in a ``with`` statement, in a plain test.

    Examples:
        >>> from fairlane import Fairlane
        >>> app = Fairlane()
        >>> @app.task("SHOUT")
        ... def shout(payload: dict) -> dict:
        ...     return {"text": payload["text"].upper()}
        >>> with Engine(app) as engine:
        ...     acme = engine.organization("acme", slots=2)
        ...     task = acme.submit("SHOUT", {"text": "ahoy"})
        ...     engine.run()
        ...     acme.task(task).response
        {'text': 'AHOY'}
    """

    def __init__(
        self, app: Fairlane, *, places: int = 10, takes: Takes | None = None, settings: Settings | None = None
    ) -> None:
        """Create an engine; nothing is started yet.

        Args:
            app: The application under test.
            places: Attempts that the worker runs at once.
            takes: How long an attempt holds its slot on the engine's clock; types that are not named take no time.
                Handlers really run, at the start of their attempt; how long they really take does not matter.
            settings: As for a server, except that the database is always a temporary one.
        """
        self._app = app
        self._places = places
        self._takes = takes or {}
        self._settings = settings or Settings()
        self._now = round(STARTS_AT.timestamp() * 1_000)
        self._running: list[tuple[int, int, ReportBody]] = []
        """(end, number, report) of the running attempts, the first to end first."""
        self._numbers = itertools.count(1)
        self._clients: list[Client] = []
        self._receiver: Callable[[SentWebhook], int | None] = lambda sent: 200
        self.started: list[Started] = []
        """Every attempt so far, in the order in which they were started."""
        self.sent: list[SentWebhook] = []
        """Every try of a webhook so far."""

    def __enter__(self) -> Self:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            raise EngineError("the engine has its own event loop: use it in a plain def test, not in an async one")
        if not self._app.task_types:
            raise EngineError("the application registers no task: use @app.task(NAME)")
        parent = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None  # Nothing has to outlast the test.
        self._folder = Path(tempfile.mkdtemp(prefix="fairlane-", dir=parent))
        self._runner = asyncio.Runner()
        try:
            self._do(self._open())
        except BaseException:
            self._runner.close()
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        try:
            self._do(self._close())
        finally:
            self._runner.close()
            shutil.rmtree(self._folder)

    async def _open(self) -> None:
        # The only session is never renewed: its lease outlasts any test.
        settings = msgspec.structs.replace(
            self._settings,
            database=f"sqlite:///{self._folder / 'fairlane.db'}",
            lease_seconds=float(SECONDS_MOST),
            free_disk_floor_bytes=0,
            rate_limit=RATE_LIMIT,
        )
        reach = reach_of(settings)
        self._store = await Store.open(settings, self._app.catalogue, now=lambda: self._now)
        self._serving = Serving(
            store=self._store,
            settings=settings,
            task_types=self._app.task_types,
            webhook_host=lambda url, field: check_url(url, reach, field=field).place,
            lists=ReferenceLists(),
        )
        self._callers = Callers(self._store, settings)
        await self._callers.open()
        self._call_paths = {task_type.path for task_type in self._app.task_types.values()}
        customers = customer_part(self._serving, self._callers)
        self._api = httpx2.ASGITransport(customer_surface(self._serving, customers))
        self._worker = _client(worker_surface(self._serving, Parking(self._store)))
        self._admin = _client(admin_surface(self._store, facts=_no_facts, secret_rules=SECRET_RULES))
        self._sender = Sender(self._store, _Postbox(self._post), timeout_seconds=1.0)
        self._bulks = BulkWork(self._store, self._app.task_types, steady_clock=lambda: self._now / 1_000)
        self._ended: dict[str, asyncio.Future[ReportBody]] = {}
        self._executors = Executors(
            self._app.task_types,
            ended=lambda report: self._ended.pop(report.lease).set_result(report),
            result_limit_bytes=settings.result_limit_bytes,
            isolated=None,
            error_text=True,
        )
        await run_hooks(self._app.start_hooks)
        body = Register(name="test", types=list(self._app.task_types), places=self._places)
        answer = await self._worker.post("/worker/v1/sessions", content=msgspec.json.encode(body))
        self._session = msgspec.json.decode(answer.content, type=Registered).session

    async def _close(self) -> None:
        await run_hooks(self._app.stop_hooks)
        self._executors.close()
        await self._callers.close()
        await self._worker.aclose()
        await self._admin.aclose()
        await self._store.close()

    # Steps of a test -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Return the time of the engine's clock, UTC."""
        return datetime.fromtimestamp(self._now / 1_000, UTC)

    def organization(
        self,
        name: str,
        *,
        slots: int | None = None,
        weight: int | None = None,
        queue_limit: int | None = None,
        credits: int | None = None,
    ) -> Client:
        """Create an organization, and return its client, which is connected to this engine.

        Waiting with it (``wait``, ``run``, ``submit_many``) moves the clock.

        Args:
            name: The name that operators use.
            slots: If None, those of the default plan.
            weight: If None, that of the default plan.
            queue_limit: If None, that of the default plan.
            credits: Its balance. If None, its credits are not counted.
        """
        limits = {"slots": slots, "weight": weight, "queue_limit": queue_limit}
        self.operate("POST", "organizations", {"name": name, "credits": credits is not None, **limits})
        if credits:
            self.operate("POST", f"organizations/{name}/credits/grants", {"amount": credits, "reason": "a test"})
        key = self.operate("POST", f"organizations/{name}/keys", {})["value"]
        client = Client(
            ADDRESS,
            key,
            transport=httpx2.MockTransport(self._answer),
            sleep=self._pass,
            clock=lambda: self._now / 1_000,
        )
        self._clients.append(client)
        return client

    def webhook_secret(self, name: str) -> str:
        """Create a secret that signs this organization's webhooks from now on, and return it."""
        secret: str = self.operate("POST", f"organizations/{name}/webhook-secrets", {})["value"]
        return secret

    def operate(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send one request to the operator's API, below ``/admin/v1/``, and return its answer.

        Raises:
            EngineError: the API refused.
        """
        content = None if body is None else msgspec.json.encode(body)
        answer = self._do(self._admin.request(method, f"/admin/v1/{path}", content=content))
        if not answer.is_success:
            raise EngineError(f"{method} {path}: {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    def receive_webhooks(self, receiver: Callable[[SentWebhook], int | None]) -> None:
        """Answer webhooks with what ``receiver`` returns: a status, or None for no answer. The default is 200."""
        self._receiver = receiver

    def advance(self, *, seconds: float = 0, minutes: float = 0, hours: float = 0) -> None:
        """Let this much time pass: everything that is due in it happens at its moment, in order."""
        self._do(self._until(self._now + round((seconds + minutes * 60 + hours * 3_600) * 1_000)))

    def run(self) -> None:
        """Let time pass until nothing is left to run, retry or send."""
        self._do(self._until(None))

    def drift(self) -> list[Any]:
        """Return every count that differs from its rows. There must be none."""
        found: list[Any] = self.operate("GET", "drift")["drift"]
        return found

    def _do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self._runner.run(work)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        """Carry a blocking client's request to the API on the engine's loop."""
        # While the server waited nothing would happen, because the clock does not move. The client asks again instead.
        request.headers.pop("prefer", None)
        return self._do(self._carry(request))

    async def _carry(self, request: httpx2.Request) -> httpx2.Response:
        answering = asyncio.ensure_future(self._api.handle_async_request(request))
        # A call waits for its result, so a worker has to run it and time has to pass.
        while request.url.path in self._call_paths and not answering.done():
            await self._happen()
            await self._callers.answer_ended()
            await asyncio.wait([answering], timeout=CALL_LOOK_SECONDS)
            next_at = await self._next_at()
            if not answering.done() and next_at is not None:
                self._now = max(self._now, next_at)
        answer = await answering
        body = await answer.aread()
        return httpx2.Response(answer.status_code, headers=answer.headers, content=body, request=request)

    def _pass(self, seconds: float) -> None:
        self.advance(seconds=seconds)

    # Time ------------------------------------------------------------------------------------------------------------

    async def _until(self, target: int | None) -> None:
        """Advance from event to event up to the target, or, if it is None, until there are no more events."""
        for _ in range(EVENTS_MOST):
            await self._happen()
            next_at = await self._next_at()
            if next_at is None or (target is not None and next_at > target):
                break
            self._now = max(self._now, next_at)
        else:
            raise EngineError(f"more than {EVENTS_MOST} events: does a task submit itself again?")
        self._now = self._now if target is None else max(self._now, target)
        while await self._store.upkeep.purge():
            pass

    async def _next_at(self) -> int | None:
        due = [await self._store.upkeep.next_due_at(), await self._store.deliveries.next_due_at()]
        due += [self._running[0][0]] if self._running else []
        return min((at for at in due if at is not None), default=None)

    async def _happen(self) -> None:
        """Do everything that is due now."""
        while await self._bulks.round():
            pass
        due_at = await self._store.upkeep.next_due_at()
        if due_at is not None and due_at <= self._now:
            while await self._store.upkeep.promote():
                pass
        while await self._exchange():
            pass
        while (due_at := await self._store.deliveries.next_due_at()) is not None and due_at <= self._now:
            await self._sender.send_due()

    async def _exchange(self) -> bool:
        """Report ended attempts and start those that may start, and return False if there were neither."""
        reports = []
        while self._running and self._running[0][0] <= self._now:
            reports.append(heapq.heappop(self._running)[2])
        request = ExchangeRequest(
            session=self._session,
            id=f"e{next(self._numbers)}",
            places=self._places - len(self._running),
            reports=reports,
            wait_seconds=0,
        )
        answer = await self._worker.post("/worker/v1/exchange", content=msgspec.json.encode(request))
        if not answer.is_success:
            raise EngineError(f"the worker's exchange was refused: {answer.text}")
        leases = msgspec.json.decode(answer.content, type=ExchangeAnswer).leases
        for lease in leases:
            await self._start(lease)
        return bool(reports or leases)

    async def _start(self, lease: LeaseBody) -> None:
        """Run the handler now; its slot is held for as long as the attempt takes on the engine's clock."""
        started = Started(
            at=self._now,
            task_id=lease.task,
            organization=lease.organization,
            task_type=lease.task_type,
            attempt=lease.attempt,
            payload=msgspec.json.decode(lease.payload),
        )
        self.started.append(started)
        self._ended[lease.lease] = ended = asyncio.get_running_loop().create_future()
        self._executors.start(lease)
        report = await ended
        seconds = self._takes(started) if callable(self._takes) else self._takes.get(lease.task_type, 0.0)
        if seconds >= lease.timeout_seconds:
            seconds = lease.timeout_seconds
            report = ReportBody(lease=lease.lease, outcome="failed", cause="timeout")
        heapq.heappush(self._running, (self._now + round(seconds * 1_000), next(self._numbers), report))

    async def _post(self, url: str, headers: Mapping[str, str], body: bytes) -> TryResult:
        made = SentWebhook(at=self._now, url=url, headers=dict(headers), body=body, status=None)
        status = self._receiver(made)
        self.sent.append(msgspec.structs.replace(made, status=status))
        delivered = status is not None and 200 <= status < 300
        error = None if delivered else "timeout" if status is None else "status"
        return TryResult(delivered=delivered, http_status=status, error=error, took_ms=0)  # type: ignore[arg-type]


class _Postbox:
    """Replaces the network."""

    def __init__(self, take: Callable[[str, Mapping[str, str], bytes], Coroutine[Any, Any, TryResult]]) -> None:
        self._take = take

    async def post(
        self, url: str, *, body: Outgoing, headers: Callable[[], Mapping[str, str]], organization_id: int = 0
    ) -> TryResult:
        """Make one try."""
        return await self._take(url, headers(), body.body)


def _client(surface: Any) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(surface), base_url=ADDRESS)


def _no_facts() -> Any:
    raise EngineError(f"there is no server here, only fairlane {__version__} in a test")
