"""The far end of the worker protocol: the four verbs over in-memory leases, with knobs to misbehave."""

import asyncio
import socket
from collections import deque
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from fairlane.protocol import (
    Ended,
    EndSession,
    ExchangeAnswer,
    ExchangeRequest,
    LeaseBody,
    Register,
    Registered,
    Renew,
    Renewed,
    ReportBody,
    StartsFailed,
    StartsNoted,
    encode,
)


class FakeServer:
    """Hands out what is put into ``queue``; keeps what it was told."""

    def __init__(self, socket_path: Path, *, lease_seconds: float = 30.0, renew_seconds: float = 1.0) -> None:
        self.socket_path = socket_path
        self.lease_seconds = lease_seconds
        self.renew_seconds = renew_seconds
        self.queue: deque[LeaseBody] = deque()
        self.leases: dict[str, tuple[LeaseBody, str]] = {}
        self.given: dict[tuple[str, str], list[LeaseBody]] = {}
        self.reports: dict[str, ReportBody] = {}
        """How each attempt ended."""
        self.released: list[str] = []
        """Leases that were handed back; each is handed out once more."""
        self.registered: dict[str, Register] = {}
        self.ended: list[tuple[str, EndSession]] = []
        self.renewals: list[tuple[str, Renew]] = []
        self.exchanges: list[ExchangeRequest] = []
        self.cancel: list[str] = []
        self.cancel_on_renewal: list[str] = []
        self.gone: set[str] = set()
        self.failed_starts: list[StartsFailed] = []
        self.unheard_starts: list[StartsFailed] = []
        """Reports of failed starts that came while it was silent."""
        self.lose_answers = 0
        self.lost: list[ExchangeRequest] = []
        """Exchanges with a lost answer."""
        self.silent = False
        self.drained: set[str] = set()
        """Sessions that an operator wants to end."""
        self.draining: set[int] = set()
        """Ports that are going away."""
        self.key: str | None = None
        """What a worker has to show; None: nothing."""
        self.asked: list[tuple[int, str]] = []
        """(port, path) of each request; port 0 is the unix socket."""
        self.keeping = False
        """Whether places of other exchanges join the one that waits."""
        self.kept = 0
        self.waiting: list[ExchangeRequest] = []
        self.most_leased = 0
        self._numbers = 0
        self._changed = asyncio.Condition()

    def put(self, task_type: str, payload: Any = None, *, timeout: float = 30.0, attempt: int = 1) -> str:
        """Queue one attempt; its lease id."""
        self._numbers += 1
        lease = f"lease-{self._numbers}"
        self.queue.append(
            LeaseBody(
                lease=lease,
                task=f"task-{self._numbers}",
                organization="acme",
                task_type=task_type,
                attempt=attempt,
                attempts=3,
                timeout_seconds=timeout,
                payload=msgspec.Raw(encode(payload or {})),
            )
        )
        return lease

    async def changed(self) -> None:
        """Say that the queue or a knob changed."""
        async with self._changed:
            self._changed.notify_all()

    def sent(self, exchange_id: str) -> list[ExchangeRequest]:
        """Return every time that this exchange was sent."""
        return [exchange for exchange in self.exchanges if exchange.id == exchange_id]

    # ASGI ------------------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        port = (scope["server"] or ("", 0))[1] or 0
        self.asked.append((port, scope["path"]))
        shown = dict(scope["headers"]).get(b"authorization", b"").decode()
        if self.key is not None and shown != f"Bearer {self.key}":
            status, answer = 401, None
        else:
            status, answer = await self._answer(scope["method"], scope["path"], body, port)
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if answer is None else encode(answer)})

    async def _answer(self, method: str, path: str, body: bytes, port: int) -> tuple[int, Any]:
        parts = path.removeprefix("/worker/v1/").split("/")
        if self.silent:
            if parts == ["failed-starts"]:
                self.unheard_starts.append(msgspec.json.decode(body, type=StartsFailed))
            return 503, None
        if parts == ["sessions"]:
            return 200, self._register(msgspec.json.decode(body, type=Register))
        if parts == ["failed-starts"]:
            self.failed_starts.append(msgspec.json.decode(body, type=StartsFailed))
            return 200, StartsNoted()
        if parts == ["exchange"]:
            return await self._exchange(msgspec.json.decode(body, type=ExchangeRequest), port)
        if method == "DELETE":
            return 200, await self._end(parts[1], msgspec.json.decode(body, type=EndSession))
        return self._renew(parts[1], msgspec.json.decode(body, type=Renew))

    def _register(self, registration: Register) -> Registered:
        session = f"session-{len(self.registered) + 1}"
        self.registered[session] = registration
        return Registered(session=session, lease_seconds=self.lease_seconds, renew_seconds=self.renew_seconds)

    async def _exchange(self, sent: ExchangeRequest, port: int) -> tuple[int, Any]:
        self.exchanges.append(sent)
        exchange = msgspec.structs.replace(sent)  # Places of others may join it; what was sent stays as it was.
        verdicts = [self._settle(report) for report in exchange.reports]
        leases = self.given.get((exchange.session, exchange.id))
        if leases is None:
            leases = await self._claim(exchange, wait=not (verdicts or (self.keeping and self.waiting)))
        cancel, self.cancel = self.cancel, []
        if exchange.session in self.gone:
            return 410, None
        if self.lose_answers:
            self.lose_answers -= 1
            self.lost.append(sent)
            return 503, None
        answer = ExchangeAnswer(verdicts=verdicts, leases=leases, cancel=cancel, draining=port in self.draining)
        self._keep(exchange, answer)
        return 200, answer

    def _keep(self, exchange: ExchangeRequest, answer: ExchangeAnswer) -> None:
        """Let what is left of its places join the exchange that waits."""
        left = exchange.places - len(answer.leases)
        if self.keeping and self.waiting and left > 0:
            keeper = self.waiting[0]
            keeper.places += left
            self.kept += left
            answer.kept, answer.kept_by = left, keeper.id

    def _settle(self, report: ReportBody) -> str:
        lease, _ = self.leases.pop(report.lease, (None, ""))
        if lease is None:
            return "gone"
        if report.outcome == "released":
            # Not an end: a worker that stood still hands back what it may not start any more.
            self.released.append(report.lease)
            self.queue.append(lease)
        else:
            self.reports[report.lease] = report
        return "accepted"

    async def _claim(self, exchange: ExchangeRequest, *, wait: bool) -> list[LeaseBody]:
        if wait and not (self.queue and exchange.places):
            await self._wait_for_work(exchange)
        if exchange.session in self.gone:
            return []
        leases = [self.queue.popleft() for _ in range(min(exchange.places, len(self.queue)))]
        if leases:
            self.given[exchange.session, exchange.id] = leases
            self.leases |= {lease.lease: (lease, exchange.session) for lease in leases}
            self.most_leased = max(self.most_leased, len(self.leases))
        return leases

    async def _wait_for_work(self, exchange: ExchangeRequest) -> None:
        def something() -> bool:
            return bool((self.queue and exchange.places) or self.cancel or exchange.session in self.gone)

        self.waiting.append(exchange)
        try:
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(something), exchange.wait_seconds)
        except TimeoutError:
            return
        finally:
            self.waiting.remove(exchange)

    async def _end(self, session: str, ending: EndSession) -> Ended:
        self.ended.append((session, ending))
        self.gone.add(session)
        held = [lease_id for lease_id, (_, owner) in self.leases.items() if owner == session]
        for lease_id in held:
            del self.leases[lease_id]
        await self.changed()
        return Ended(returned=len(held))

    def _renew(self, session: str, renewal: Renew) -> tuple[int, Any]:
        if session in self.gone:
            return 410, None
        self.renewals.append((session, renewal))
        return 200, Renewed(cancel=self.cancel_on_renewal, drain=session in self.drained or msgspec.UNSET)


class Listener:
    """Serves an application on its unix socket, or on a free TCP port, inside the test's event loop."""

    def __init__(self, app: FakeServer, *, tcp: bool = False, **options: Any) -> None:
        config = uvicorn.Config(
            app,
            uds=None if tcp else str(app.socket_path),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=1,
            **options,
        )
        self._server = uvicorn.Server(config)
        self.socket = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        self.socket.bind(("127.0.0.1", 0) if tcp else str(app.socket_path))
        self.port: int = self.socket.getsockname()[1] if tcp else 0
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._server.config.load()
        self._server.lifespan = self._server.config.lifespan_class(self._server.config)
        await self._server.startup(sockets=[self.socket])
        self._serving = asyncio.create_task(self._server.main_loop())

    async def stop(self) -> None:
        self._server.should_exit = True
        assert self._serving is not None
        await self._serving
        self._server.force_exit = True
        await self._server.shutdown(sockets=[self.socket])
