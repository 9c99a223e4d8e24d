"""One simulated installation: servers on one database, hosts with workers, customers, receivers, and what goes wrong.

A seed decides everything: which faults there are and how often, what is submitted, and how long each thing takes. First
faults happen, for a number of events; then they stop, and all work has to end within a bound.
"""

import asyncio
import contextlib
import gc
import hashlib
import itertools
import logging
import random
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import msgspec

from fairlane import Fairlane
from fairlane.api.callers import Callers
from fairlane.api.lists import ReferenceLists
from fairlane.api.parking import Parking
from fairlane.api.serving import Serving
from fairlane.api.worker import worker_surface
from fairlane.errors import Refusal, StoreFault, TaskExists
from fairlane.handlers import Context
from fairlane.model.bulks import BulkKind, BulkState, BulkView, NewBulk, Skipped
from fairlane.model.calls import NewCall
from fairlane.model.organizations import OrganizationChange, Overrides
from fairlane.model.tasks import Accepted, NewTask, TaskFilter, TaskView
from fairlane.model.webhooks import Webhook
from fairlane.settings import Settings
from fairlane.store import Effects, bulks, new_id
from fairlane.sweeper import Sweeper
from fairlane.webhooks.poster import TryResult
from fairlane.webhooks.sender import Sender
from fairlane.worker.options import Options
from fairlane.worker.process import work
from fairlane.worker.supervisor import Supervisor
from tests.reference.invariants import History
from tests.reference.mirror import Mirror
from tests.simulation.boundary import ChildPipe, options_in, process_starter, replaced
from tests.simulation.database import Faults, SimulatedStore, a_database
from tests.simulation.loop import MACHINE, Machine, SimulatedLoop
from tests.simulation.network import ALONE, Lost, Network, Response

EVENTS = 1_000
"""How many events a seed has while things go wrong."""
SECONDS_MOST = 120.0
"""Most virtual seconds while things go wrong."""
DRAIN_SECONDS = 90.0
"""Within how many virtual seconds all work has to end once nothing goes wrong any more."""
DELAYED_MS = 600_000
"""A pause that ends later than this is one that a jump of the clock made longer."""
UNSEEN_SECONDS = 10.0
"""Within how many seconds every jump of the clock is noticed, also while servers stand still."""
LEASE_SECONDS, RENEW_SECONDS, SWEEP_SECONDS, GRACE_SECONDS = 3.0, 1.0, 1.0, 1.0
RETRY_PAUSE_SECONDS = 0.4
WEBHOOK_PAUSES = (1.0, 2.0, 4.0, 8.0)
TIMEOUT_SECONDS = 4.0
ATTEMPTS = 3
PLACES = 3
BASE_MS = 1_800_000_000_000
ACTOR = "the simulation"
WORK, OTHER, FEW = "WORK", "OTHER", "FEW"
FEW_LIMIT = 2
"""How many tasks of the type FEW may run at once over all organizations."""

SETTINGS = Settings(
    database="sqlite:////nowhere/simulation.db",
    lease_seconds=LEASE_SECONDS,
    renew_seconds=RENEW_SECONDS,
    sweep_seconds=SWEEP_SECONDS,
    kill_grace_seconds=GRACE_SECONDS,
    retry_pause_seconds=RETRY_PAUSE_SECONDS,
    webhook_pauses_seconds=",".join(map(str, WEBHOOK_PAUSES)),
    webhook_timeout_seconds=1.0,
    free_disk_floor_bytes=0,
)

KINDS = (
    "drop_request", "drop_answer", "duplicate", "slow", "fail", "unknown", "locked", "gap", "kill_child", "kill_host",
    "kill_server", "freeze_child", "freeze_host", "freeze_server", "cut", "outage", "jump", "drain_host", "hint_lost",
)  # fmt: skip
"""What can go wrong. Each seed has about half of it."""
OFTEN = {
    "drop_request": 0.06, "drop_answer": 0.06, "duplicate": 0.04, "slow": 0.05, "fail": 0.03, "unknown": 0.03,
    "locked": 0.05, "gap": 0.4, "hint_lost": 0.5,
}  # fmt: skip
"""Probabilities of what can happen to each message or transaction; the others happen every second or so."""


DOOMED_SHARE = 0.2
"""The part of tasks that fails each time: bulks run them again."""
BULK_TASKS = 3
"""Tasks of one step of a bulk, so that servers die and meet between the steps of small bulks."""

EXPECTED = frozenset({"attempt.raised", "delivery.unrecorded", "worker.overdue"})
"""Events of errors that the script of a handler, or a fault of the seed, explains."""


class Errors(logging.Handler):
    """Takes errors in the log for broken promises: a mistake of our own is logged where nothing else shows it."""

    def __init__(self, world: "World") -> None:
        super().__init__(logging.ERROR)
        self._world = world

    def emit(self, record: logging.LogRecord) -> None:
        """Note an error."""
        if record.getMessage().partition(" ")[0] not in EXPECTED:
            cause = "" if record.exc_info is None else f": {record.exc_info[1]!r}"
            self._world.broken(f"logged {record.getMessage()}{cause}")


class SimulatedServer:
    """One server process: the store and everything that runs beside it, without listeners."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.machine = Machine(name)
        self.machine.dead = True
        self.up = False

    def start(self) -> None:
        """Start the process."""
        world = self.world
        self.machine = machine = Machine(self.name)
        machine.on_death.append(lambda: self._died(machine))
        machine.context.run(lambda: world.loop.create_task(self._run(machine)))

    def _died(self, machine: Machine) -> None:
        self.up = False
        self.world.network.died(machine)

    async def _run(self, machine: Machine) -> None:
        world = self.world
        self.store = store = SimulatedStore(
            SETTINGS,
            world.app.catalogue,
            now=world.now,
            connection=world.connection,
            faults=ServerFaults(world, self),
        )
        try:
            await store.begin()
            self.callers = Callers(store, SETTINGS)
            await self.callers.open()
        except StoreFault:
            world.loop.call_later(0.5, self.start, context=ALONE)
            machine.die()
            return
        serving = Serving(
            store=store, settings=SETTINGS, task_types=world.app.task_types,
            webhook_host=lambda url, field: url, lists=ReferenceLists(),
        )  # fmt: skip
        parking = Parking(store)
        self._surface = worker_surface(serving, parking)
        self.sender = Sender(store, world, timeout_seconds=SETTINGS.webhook_timeout_seconds)
        sweeper = Sweeper(store, SETTINGS, world.app.task_types, steady_clock=world.loop.time)
        for upkeep in (sweeper.run(), parking.poll(), self.callers.run(), self.sender.run()):
            world.loop.create_task(upkeep).add_done_callback(self._ended)
        self.up = True
        world.event("server up", self.name)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self.machine.dead and not task.cancelled() and task.exception() is not None:
            self.world.broken(f"the upkeep of {self.name} ended: {task.exception()!r}")

    async def serve(self, method: str, path: str, content: bytes, gone: asyncio.Event) -> Response:
        """Answer one request of a worker."""
        sent: list[Any] = []
        read = False

        async def receive() -> dict[str, Any]:
            nonlocal read
            if not read:
                read = True
                return {"type": "http.request", "body": content}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-length", str(len(content)).encode())]
        scope = {"type": "http", "method": method, "raw_path": path.encode(), "headers": headers, "query_string": b""}
        await self._surface(scope, receive, send)
        if not sent:
            raise Lost("the server closed the connection")
        return Response(sent[0]["status"], b"".join(part.get("body", b"") for part in sent[1:]))


class ServerFaults(Faults):
    """What happens to the transactions of one server."""

    def __init__(self, world: "World", server: SimulatedServer) -> None:
        self._world = world
        self._server = server

    def reachable(self) -> bool:
        """Return whether the database answers now."""
        return self._world.loop.time() >= self._world.outage_until

    def commit_seconds(self) -> float:
        """Return how long the next transaction waits before it begins."""
        return self._world.latency() / 4

    def gap_seconds(self) -> float | None:
        """Return how long passes between a transaction's reads and its first lock."""
        return self._world.latency() if self._world.happens("gap") else None

    def fate(self) -> str:
        """Return what becomes of the next transaction."""
        for fate in ("fail", "unknown", "locked"):
            if self._world.happens(fate):
                self._world.event("transaction", fate, self._server.name)
                return fate
        return "commit"

    def committed(self, requests: Sequence[Any], answers: Sequence[Any], effects: Effects) -> None:
        """Look at the rows, and send hints to the other servers."""
        self._world.committed(self._server, requests, effects)


class Host:
    """Another machine with a supervisor and its workers."""

    def __init__(self, world: "World", name: str) -> None:
        self.world = world
        self.name = name
        self.machine = Machine(name)
        self.machine.dead = True
        self.supervisor: Supervisor | None = None

    def start(self) -> None:
        """Start it."""
        world = self.world
        self.machine = machine = Machine(self.name)
        machine.on_death.append(lambda: world.network.died(machine))
        machine.context.run(lambda: world.loop.create_task(self._run()))

    async def _run(self) -> None:
        options = Options(
            app_reference="the simulation",
            servers=tuple(f"http://{name}" for name in self.world.servers),
            places=PLACES,
            wait_seconds=2.0,
            kill_grace_seconds=GRACE_SECONDS,
        )
        self.supervisor = Supervisor(options, count=1)
        await self.supervisor.start()

    async def drain(self) -> None:
        """End as after SIGTERM; the world starts it again."""
        assert self.supervisor is not None
        await self.supervisor.drain(1.0)
        self.machine.die()


@dataclass
class Running:
    """A handler that runs now."""

    task_id: str
    organization: str
    machine: Machine
    began_at: float


@dataclass
class Figures:
    """What one seed came to."""

    seed: int
    digest: str = ""
    events: int = 0
    seconds: float = 0.0
    drain_seconds: float = 0.0
    commits: int = 0
    tasks: int = 0
    calls: int = 0
    bulks: int = 0
    again: int = 0
    """Tasks that bulks ran again."""
    messages: int = 0
    faults: dict[str, int] = field(default_factory=dict)
    comparisons: int = 0
    lag_ms: float = 0.0
    lag_share: float = 0.0
    broken: str = ""


class World:
    """One seed. Also the poster of webhooks (:class:`fairlane.webhooks.sender.Posts`)."""

    def __init__(self, seed: int, *, events: int = EVENTS, told: list[str] | None = None) -> None:
        """``told`` receives a line for each event."""
        self.seed = seed
        self.loop = SimulatedLoop()
        self.network = Network(self)
        self.figures = Figures(seed)
        self.told = told
        self._events_most = events
        self._draw = random.Random(seed)
        self._digest = hashlib.sha256()
        self._hopeful = False
        """Whether faults may happen."""
        self.offset_ms = 0
        self.jumped_at = float("-inf")
        self.outage_until = float("-inf")
        self._broken: str | None = None
        self._over = asyncio.Event()
        self.kinds: dict[str, float] = {}
        self.running: dict[tuple[str, int], Running] = {}
        self.failed_at: dict[str, tuple[int, float, Machine]] = {}
        """By task, the last attempt with a handler that raised, when, and where."""
        self.tried: dict[str, list[tuple[int, float]]] = {}
        """By task, the number and the moment of each message that was posted."""
        self.canceled: set[str] = set()
        """Tasks with an acknowledged cancellation."""
        self.refused: set[str] = set()
        self.bulks: dict[str, tuple[BulkKind, frozenset[str]]] = {}
        """By acknowledged bulk that runs tasks again, what had failed before it was asked for."""
        self.keys: dict[tuple[int, str], str] = {}
        self.organizations: list[int] = []
        self.slots: dict[str, int] = {}
        """By name, the most slots that an organization ever had."""
        self.app = an_app(self)

    # Chance ----------------------------------------------------------------------------------------------------------

    def chance(self) -> float:
        """Return the next number of the seed, in [0, 1)."""
        return self._draw.random()

    def happens(self, kind: str) -> bool:
        """Return whether this fault happens here."""
        if not self._hopeful or kind not in self.kinds or self.chance() >= self.kinds[kind]:
            return False
        self._count(kind)
        return True

    def latency(self) -> float:
        """Return how long a message is under way, in seconds."""
        if self.happens("slow"):
            return 0.2 + self.chance() * 2.0
        return 0.0005 + self.chance() * 0.01

    def now(self) -> int:
        """Return the database's clock."""
        return BASE_MS + self.offset_ms + round(self.loop.time() * 1_000)

    def _count(self, kind: str) -> None:
        self.figures.faults[kind] = self.figures.faults.get(kind, 0) + 1

    # What is noted ---------------------------------------------------------------------------------------------------

    def event(self, *facts: object) -> None:
        """Note one event; the trace is all of them with their moments."""
        line = f"{self.loop.time():.6f} " + " ".join(map(str, facts))
        self._digest.update(line.encode())
        self.figures.events += 1
        if self.told is not None:
            self.told.append(line)
        if self.figures.events >= self._events_most and self._hopeful:
            self._over.set()

    def broken(self, what: str) -> None:
        """Note the first broken promise; the seed ends."""
        if self._broken is None:
            self._broken = what
            if self.told is not None:
                self.told.append(f"{self.loop.time():.6f} BROKEN {what}")
            self._over.set()
            self._stop.set()

    def committed(self, server: SimulatedServer, requests: Sequence[Any], effects: Effects) -> None:
        """Look at the rows after a commit, and send its hints to the other servers."""
        self.figures.commits += 1
        self.event("commit", server.name, len(requests))
        self.look()
        if effects.for_others():
            for other in self.servers.values():
                if other is not server and other.up and not self.happens("hint_lost"):
                    tell = other.store.hints.tell
                    self.loop.call_later(self.latency(), tell, effects, context=other.machine.context)

    def look(self) -> None:
        """Check every invariant of the rows, if any of them changed."""
        if self._broken is not None:
            return
        try:
            seen = self.mirror.look()
            if seen is not None:
                self.history.show(seen[0], self.now(), changed=seen[1])
        except AssertionError as broken:
            self.broken(str(broken))

    # Running ---------------------------------------------------------------------------------------------------------

    def run(self) -> Figures:
        """Run the seed; what broke is in the figures."""
        gc.disable()
        gc.freeze()  # the collection at the end visits what this seed made, and nothing else
        errors = Errors(self)
        # The log is a formatted text of everything; only errors concern the simulation.
        log = logging.getLogger("fairlane")
        before = log.level, log.propagate
        log.setLevel(logging.ERROR)
        log.propagate = False
        log.addHandler(errors)
        try:
            with replaced(self.loop, self.network, self.seed), patch.object(bulks, "STEP_TASKS", BULK_TASKS):
                try:
                    self.loop.run_until_complete(self._run())
                except Exception as error:
                    self._broken = self._broken or f"{type(error).__name__}: {error}"
                    if self.told is not None:
                        raise
                self._forget()
        finally:
            log.removeHandler(errors)
            log.setLevel(before[0])  # forgets what the loggers below keep of the level
            log.propagate = before[1]
            gc.unfreeze()
            gc.enable()
        figures = self.figures
        figures.digest = self._digest.hexdigest()[:16]
        figures.broken = self._broken or ""
        return figures

    def _forget(self) -> None:
        """Leave nothing behind. What was cut off in the middle ends here, unheard."""
        logging.disable(logging.CRITICAL)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.loop.end()
                gc.collect()
        finally:
            logging.disable(logging.NOTSET)

    async def _run(self) -> None:
        self._stop = asyncio.Event()
        self.connection = a_database()
        self.mirror = Mirror(self.connection)
        draw = self._draw
        self.kinds = {kind: OFTEN.get(kind, 1.0) for kind in KINDS if draw.random() < 0.5}
        self.servers = {
            name: SimulatedServer(self, name) for name in [f"server-{n}" for n in range(draw.choice((1, 2, 2, 3)))]
        }
        self.history = History(claimers=len(self.servers), charges=True, limited=frozenset([FEW]))
        self.hosts = [Host(self, f"host-{number}") for number in range(draw.choice((1, 2, 2, 3)))]
        self.loop.start_process = process_starter(self.loop, self._program, self._started)
        for server in self.servers.values():
            server.start()
        while not all(server.up for server in self.servers.values()):
            await asyncio.sleep(0.01)
        await self._prepare()
        for host in self.hosts:
            host.start()
        self._hopeful = True
        busy = [self.loop.create_task(self._customer(one)) for one in self.organizations]
        busy.append(self.loop.create_task(self._misfortune()))
        busy.append(self.loop.create_task(self._operator()))
        busy.append(self.loop.create_task(self._begin_bulks()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_MOST):
                await self._over.wait()
        self._hopeful = False
        self.event("calm")
        self.figures.seconds = self.loop.time()
        for task in busy:
            task.cancel()
        self._heal()
        await self._drain()
        # Whatever was run again before, and by however many servers, nothing of it is run again now.
        while self._broken is None and not await self._begin_bulk(BulkKind.RETRY, None, TaskFilter()):
            await asyncio.sleep(0.5)
        # Between its steps servers die.
        for _ in range(len(self.servers) + 1):
            self._later(self.chance() * 2.0, self._kill_server)
        await asyncio.sleep(2.0)
        await self._drain()
        if self._broken is None:
            await self._conclude()
        self.figures.seconds = self.loop.time() - 1_000.0
        self.figures.comparisons = self.history.compared + self.history.intervals
        self.figures.lag_ms, self.figures.lag_share = self.history.lag_ms, self.history.lag_share

    async def _prepare(self) -> None:
        """Make organizations: two that always have work and share the places, one with a single slot, one idle."""
        store = next(iter(self.servers.values())).store
        shapes = [(4, 1), (4, self._draw.choice((1, 2, 3))), (1, 1), (3, 2)]
        for number, (slots, weight) in enumerate(shapes):
            made = await store.organizations.create(
                f"organization-{number}",
                plan="default",
                overrides=Overrides(slots=slots, weight=weight, queue_limit=12),
                credits=number == 3,
                actor=ACTOR,
            )
            self.organizations.append(made.id)
            self.slots[made.name] = slots
            if number == 3:
                await store.credits.grant(made.name, grant_id=new_id(), amount=15, reason="simulation", actor=ACTOR)

    async def _program(self, arguments: list[str], pipe: ChildPipe) -> int:
        """Run what a worker process runs."""
        return await work(self.app, options_in(arguments), pipe)  # type: ignore[arg-type]

    def _started(self, machine: Machine) -> None:
        self.event("process", machine.name)
        machine.on_death.append(lambda: self._child_died(machine))

    def _child_died(self, machine: Machine) -> None:
        self.network.died(machine)
        for key in [key for key, one in self.running.items() if one.machine is machine]:
            del self.running[key]

    # Customers and operators -----------------------------------------------------------------------------------------

    async def _ask(self, what: str, job: Any) -> Any:
        """Send a customer's request to some server; None if no answer came or the server could not serve."""
        server = self._draw.choice(list(self.servers.values()))
        try:
            return await self.network.send(None, server, job, what)
        except (Lost, StoreFault, TimeoutError):
            return None
        except Refusal as refusal:
            return refusal

    async def _customer(self, organization: int) -> None:
        """Submit, sometimes with a key and again until answered; cancel; call."""
        numbers = itertools.count()
        while True:
            await asyncio.sleep(self.chance() * (0.4 if organization <= self.organizations[1] else 2.0))
            dice = self.chance()
            if dice < 0.75:
                await self._submit(organization, next(numbers))
            elif dice < 0.87 and self.history.acknowledged:
                await self._cancel(organization)
            elif dice < 0.97 and organization != self.organizations[-1]:
                self.loop.create_task(self._call(organization))

    async def _submit(self, organization: int, number: int) -> None:
        key = f"key-{number if self.chance() < 0.8 else max(0, number - 1)}" if self.chance() < 0.4 else None
        count = 1 if key else self._draw.choice((1, 1, 2, 4))
        chosen = [self._payload() for _ in range(count)]
        webhook = Webhook("https://hooks.example/", f"hooks-{organization}.example") if self.chance() < 0.5 else None

        async def submit(server: SimulatedServer, gone: asyncio.Event) -> Any:
            tasks = [
                NewTask(
                    id=new_id(), task_type=task_type, payload=payload, priority=priority, idempotency_key=key,
                    webhook=webhook, delay_ms=delay_ms,
                )
                for task_type, payload, priority, delay_ms in chosen
            ]  # fmt: skip
            answers = await server.store.tasks.submit(organization, tasks)
            return [(task.id, answer) for task, answer in zip(tasks, answers, strict=True)]

        while True:
            answers = await self._ask("submit", submit)
            if answers is not None or key is None or self.chance() < 0.1:
                break
            await asyncio.sleep(0.1 + self.chance() / 5)
        if not isinstance(answers, list):
            return
        for task_id, answer in answers:
            self.event("answered", task_id, type(answer).__name__)
            if isinstance(answer, Accepted):
                self.history.acknowledged.add(task_id)
                if key is not None:
                    named = self.keys.setdefault((organization, key), task_id)
                    if named != task_id:
                        self.broken(f"I9: the key {key} was accepted for {named} and for {task_id}")
            else:
                self.refused.add(task_id)
                if isinstance(answer, TaskExists) and key is not None:
                    self.history.used_keys.add((organization, key))

    def _payload(self) -> tuple[str, str, int, int]:
        """Return type, payload, priority and delay of a task."""
        ends = ["done"] * 6 + ["raise", "raise", "crash", "hang", "fail"]
        doomed = self.chance() < DOOMED_SHARE
        plan = ["fail"] * ATTEMPTS if doomed else [self._draw.choice(ends) for _ in range(ATTEMPTS)]
        payload = {
            "seconds": [round(self.chance() * self._draw.choice((0.2, 0.6, 2.0)), 3) for _ in plan],
            "ends": plan,
        }
        kind = self._draw.choice((WORK, WORK, WORK, OTHER, FEW))
        delay_ms = self._draw.choice((0, 0, 0, 0, 700))
        return kind, msgspec.json.encode(payload).decode(), self._draw.choice((5, 5, 5, 1, 9)), delay_ms

    async def _cancel(self, organization: int) -> None:
        known = sorted(self.history.acknowledged)
        task_id = known[-1 - int(self.chance() * min(len(known), 12))]

        async def cancel(server: SimulatedServer, gone: asyncio.Event) -> Any:
            return await server.store.tasks.cancel(organization, task_id)

        answer = await self._ask("cancel", cancel)
        if isinstance(answer, TaskView):
            self.event("canceled", task_id, answer.status)
            self.canceled.add(task_id)

    async def _call(self, organization: int) -> None:
        kind, payload, _, _ = self._payload()

        async def call(server: SimulatedServer, gone: asyncio.Event) -> Any:
            async def left() -> None:
                await gone.wait()

            new = NewCall(
                id=new_id(), organization_id=organization, task_type=kind, payload=payload,
                server_id=server.callers.server_id, cost=1,
            )  # fmt: skip
            return await server.callers.call(new, admitted=lambda one: None, gone=left)

        self.figures.calls += 1
        answer = await self._ask("call", call)
        self.event("call answered", type(answer).__name__)

    async def _begin_bulks(self) -> None:
        """Run again what failed, or cancel what waits, of one organization or of all."""
        while True:
            await asyncio.sleep(1.0 + self.chance() * 3)
            kind = BulkKind.CANCEL if self.chance() < 0.15 else BulkKind.RETRY
            one = self._draw.choice([None, *self.organizations])
            await self._begin_bulk(kind, one, TaskFilter(task_type=self._draw.choice((None, None, WORK))))

    async def _begin_bulk(self, kind: BulkKind, organization: int | None, chosen: TaskFilter) -> bool:
        """Begin a bulk; return whether that was answered."""
        new = NewBulk(
            kind=kind, chosen=chosen, organization_id=organization, actor=ACTOR if organization is None else None,
            idempotency_key=new_id() if self.chance() < 0.5 else None,
        )  # fmt: skip
        before = self._failed_of(organization, chosen)
        known = {bulk_id for (bulk_id,) in self.connection.execute("SELECT id FROM bulk")}

        async def begin(server: SimulatedServer, gone: asyncio.Event) -> Any:
            return await server.store.bulks.begin(new)

        answer = await self._ask("bulk", begin)
        if not isinstance(answer, BulkView):
            return False
        self.event("bulk", kind, organization, len(before))
        # An equal one that runs already began earlier, when less had failed.
        self.bulks.setdefault(answer.id, (kind, frozenset() if answer.id in known else before))
        return True

    def _failed_of(self, organization: int | None, chosen: TaskFilter) -> frozenset[str]:
        now = self.history.last
        if now is None:
            return frozenset()
        return frozenset(
            task_id
            for task_id, outcome in now.outcomes.items()
            if outcome.status == "FAILED"
            and organization in (None, now.tasks[task_id].organization_id)
            and chosen.task_type in (None, now.tasks[task_id].task_type)
        )

    def _judge_bulks(self, views: dict[str, BulkView]) -> None:
        """Compare bulks with the tasks that they made: each failed task is run again once, and every number is true."""
        pairs = self.connection.execute("SELECT retry_of, id FROM task WHERE retry_of IS NOT NULL").fetchall()
        self.figures.bulks, self.figures.again = len(views), len(pairs)
        again = {failed for failed, _ in pairs}
        if len(again) < len(pairs):
            self.broken("a bulk ran a task again that had been run again already")
        counted = sum(view.done for view in views.values() if view.kind is BulkKind.RETRY)
        if counted != len(pairs):
            self.broken(f"bulks say that they ran {counted} tasks again, and {len(pairs)} were")
        for bulk_id, (kind, failed) in self.bulks.items():
            view = views[bulk_id]
            if view.state is not BulkState.DONE or view.matched != view.done + view.skipped:
                self.broken(f"the bulk {bulk_id} ended {view.state} with {view.matched} tasks")
            left = failed - again if kind is BulkKind.RETRY else frozenset()
            reasons = sum(count for reason, count in view.reasons.items() if reason != Skipped.ALREADY_RETRIED)
            if len(left) > reasons:
                self.broken(f"the bulk {bulk_id} left {len(left)} failed tasks as they were, and names {reasons}")

    async def _operator(self) -> None:
        """Change slots, pause, grant credits."""
        while True:
            await asyncio.sleep(1.0 + self.chance() * 4)
            number = int(self.chance() * len(self.organizations))
            name = f"organization-{number}"
            dice = self.chance()
            slots = self._draw.choice((1, 2, 4))
            if dice < 0.6:
                self.slots[name] = max(self.slots[name], slots)
                changes = OrganizationChange(slots=slots)
            else:
                changes = OrganizationChange(paused=dice < 0.75)

            async def change(server: SimulatedServer, gone: asyncio.Event) -> Any:
                return await server.store.organizations.change(name, changes=changes, actor=ACTOR)  # noqa: B023

            await self._ask("change", change)

    # Misfortune ------------------------------------------------------------------------------------------------------

    async def _misfortune(self) -> None:
        """Let larger faults happen, one after the other or at the same time."""
        larger = [kind for kind in self.kinds if kind not in OFTEN]
        while larger:
            await asyncio.sleep(0.2 + self.chance() * 2.0)
            kind = self._draw.choice(larger)
            self._count(kind)
            self.event("fault", kind)
            getattr(self, f"_{kind}")()

    def _children(self) -> list[Machine]:
        return [child for host in self.hosts for child in host.machine.children if not child.dead]

    def _kill_child(self) -> None:
        if children := self._children():
            self._draw.choice(children).die()

    def _kill_host(self) -> None:
        host = self._draw.choice(self.hosts)
        host.machine.die()
        self._later(0.2 + self.chance() * 4, lambda: self._revive(host))

    def _drain_host(self) -> None:
        host = self._draw.choice(self.hosts)
        if host.machine.dead or host.supervisor is None:
            return
        seconds = 3.0 + self.chance() * 4
        # A drain lasts as long as no server takes the end of its sessions.
        host.machine.on_death.append(lambda: self._later(seconds, lambda: self._revive(host)))
        host.machine.context.run(lambda: self.loop.create_task(host.drain()))

    def _revive(self, one: Host | SimulatedServer) -> None:
        if one.machine.dead:
            one.start()

    def _kill_server(self) -> None:
        server = self._draw.choice(list(self.servers.values()))
        server.machine.die()
        self._later(0.2 + self.chance() * 3, lambda: self._revive(server))

    def _freeze(self, machine: Machine) -> None:
        if not machine.dead and not machine.frozen:
            machine.freeze(self.loop.time())
            self._later(0.3 + self.chance() * 2.5 * LEASE_SECONDS, lambda: machine.thaw(self.loop))

    def _freeze_child(self) -> None:
        if children := self._children():
            self._freeze(self._draw.choice(children))

    def _freeze_host(self) -> None:
        self._freeze(self._draw.choice(self.hosts).machine)

    def _freeze_server(self) -> None:
        self._freeze(self._draw.choice(list(self.servers.values())).machine)

    def _cut(self) -> None:
        names = [*(host.name for host in self.hosts), "customer"]
        pair = self._draw.choice(names), self._draw.choice(list(self.servers))
        self.network.cut[pair] = self.loop.time() + 0.3 + self.chance() * 2 * LEASE_SECONDS

    def _outage(self) -> None:
        self.outage_until = self.loop.time() + 0.2 + self.chance() * 1.5 * LEASE_SECONDS

    def _jump(self) -> None:
        if self.loop.time() < self.jumped_at + UNSEEN_SECONDS:
            return  # Two jumps before the first is noticed look like one.
        moved_ms = self._draw.choice((-3_600_000, 3_600_000))
        self.offset_ms += moved_ms
        self.event("jumped", moved_ms)
        self.jumped_at = self.loop.time()

    def _later(self, seconds: float, action: Any) -> None:
        self.loop.call_later(seconds, action, context=ALONE)

    def _heal(self) -> None:
        """Let everything go well from now on."""
        self.network.cut.clear()
        self.outage_until = float("-inf")
        every: list[Host | SimulatedServer] = [*self.servers.values(), *self.hosts]
        for one in every:
            if one.machine.frozen:
                one.machine.thaw(self.loop)
            for child in one.machine.children:
                if child.frozen:
                    child.thaw(self.loop)
            self._revive(one)

    # The end ---------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """Wait until nothing is left to do, no longer than the bound."""
        began_at = self.loop.time()
        resumed = 0.0
        while self._broken is None:
            if self.loop.time() - began_at > DRAIN_SECONDS:
                self.broken(f"not drained within {DRAIN_SECONDS:.0f} s: {self._left()}")
                break
            if self.loop.time() >= resumed:
                resumed = self.loop.time() + 5.0
                for number in range(len(self.organizations)):
                    await self._resume(f"organization-{number}")
            if not self._left():
                break
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.25):
                    await self._stop.wait()
        self.figures.drain_seconds = max(self.figures.drain_seconds, self.loop.time() - began_at)

    async def _resume(self, name: str) -> None:
        async def change(server: SimulatedServer, gone: asyncio.Event) -> Any:
            changes = OrganizationChange(paused=False)
            return await server.store.organizations.change(name, changes=changes, actor=ACTOR)

        await self._ask("resume", change)

    def _left(self) -> str:
        """Return what is still to do, or an empty text."""
        now = self.history.last
        assert now is not None
        # A pause that began between a jump of the clock and its detection may last longer by the jump (store/jumps.py).
        latest = self.now() + (DELAYED_MS if self.jumped_at > float("-inf") else 10**15)
        waiting = [one for one in now.waiting.values() if one.due_at is not None and one.due_at < latest]
        deliveries = [one for one in now.deliveries.values() if one.due_at is not None and one.due_at < latest]
        [(running,)] = self.connection.execute("SELECT count(*) FROM bulk WHERE state = 'RUNNING'")
        parts = {
            "ready": len(now.ready), "waiting": len(waiting), "leases": len(now.leases), "deliveries": len(deliveries),
            "bulks": running,
        }  # fmt: skip
        return ", ".join(f"{count} {name}" for name, count in parts.items() if count)

    async def _conclude(self) -> None:
        """Compare the end with everything that customers and receivers noted."""
        now = self.history.last
        assert now is not None
        self.figures.tasks = len(now.tasks)
        for task_id in self.canceled:
            outcome = now.outcomes.get(task_id)
            if outcome is None or outcome.status != "FAILED":
                self.broken(f"a cancellation of {task_id} was acknowledged, and it ended {outcome}")
        for task_id in self.refused & now.tasks.keys():
            self.broken(f"I1: {task_id} was refused, and is there")
        for (organization, key), task_id in self.keys.items():
            if now.keys.get((organization, key)) != task_id:
                self.broken(f"I9: the key {key} was answered with {task_id}, and names another task")
        for organization, key in self.history.used_keys:
            if (organization, key) not in now.keys:
                self.broken(f"I9: the key {key} was refused as used, and names no task")
        for delivery in now.deliveries.values():
            tries = self.tried.get(delivery.task_id, [])
            open_still = delivery.due_at is not None
            if delivery.delivered_at is None and delivery.tries <= len(WEBHOOK_PAUSES) and not open_still:
                self.broken(f"I11: the message of {delivery.task_id} was given up after {delivery.tries} tries")
            if delivery.delivered_at is not None and not tries:
                self.broken(f"I11: the message of {delivery.task_id} counts as delivered, and no receiver got it")
        self.mirror.compare()
        while not (up := [server for server in self.servers.values() if server.up]):
            await asyncio.sleep(0.05)
        store = up[0].store
        self._judge_bulks({one.id: one for one in (await store.bulks.page(None, before=None, most=1_000)).bulks})
        drifts = await store.recount.find()
        if drifts:
            self.broken(f"I4: counts drifted: {drifts}")

    # Handlers and receivers ------------------------------------------------------------------------------------------

    async def handle(self, payload: dict[str, Any], context: Context) -> dict[str, Any]:
        """Do what the payload says of this attempt."""
        machine = MACHINE.get()
        assert machine is not None
        key = (context.task_id, context.attempt)
        self._begin_handler(key, context, machine)
        plan = payload["ends"][min(context.attempt, ATTEMPTS) - 1]
        try:
            await asyncio.sleep(payload["seconds"][min(context.attempt, ATTEMPTS) - 1])
            if plan == "hang":
                await asyncio.sleep(3_600)
            if plan == "crash":
                self.event("handler kills its process", context.task_id)
                machine.die()
                await asyncio.sleep(3_600)
        finally:
            if not machine.dead:
                self.running.pop(key, None)
                self.event("handler ended", context.task_id, context.attempt)
        if plan == "raise":
            self.failed_at[context.task_id] = (context.attempt, self.loop.time(), machine)
            raise RuntimeError("the script says so")
        if plan == "fail":
            raise ValueError("the script says so")
        return {"task": context.task_id, "attempt": context.attempt}

    def _begin_handler(self, key: tuple[str, int], context: Context, machine: Machine) -> None:
        """Note a start, and compare it with what runs."""
        self.event("handler", context.task_id, context.attempt, machine.name)
        now = self.loop.time()
        others = [one for one in self.running.values() if not one.machine.dead]
        still = [one for one in others if one.machine.was_frozen_at < one.began_at - 2 * LEASE_SECONDS]
        if any(one.task_id == context.task_id for one in still):
            self.broken(f"I3: two handlers of {context.task_id} run at the same time")
        same = sum(one.organization == context.organization for one in still)
        if same + 1 > self.slots[context.organization]:
            self.broken(f"I3: {same + 1} handlers of {context.organization} run at the same time")
        if context.attempt > ATTEMPTS:
            self.broken(f"I17: attempt {context.attempt} of {context.task_id} began")
        attempt, at, where = self.failed_at.get(context.task_id, (0, 0.0, machine))
        # A process that dies before its report arrived is a lost worker, and its attempts are repeated at once.
        reported = attempt > 0 and attempt == context.attempt - 1 and not where.dead
        least = RETRY_PAUSE_SECONDS * 2 ** (attempt - 1) / 2
        if reported and now - at < least - 0.002 and self.jumped_at + UNSEEN_SECONDS < at:
            self.broken(f"attempt {context.attempt} of {context.task_id} began {now - at:.3f} s after a failure")
        self.running[key] = Running(context.task_id, context.organization, machine, now)

    async def post(self, url: str, *, body: Any, headers: Any, organization_id: int) -> TryResult:
        """Receive a message, or do not."""
        sent = headers()
        task = msgspec.json.decode(body.body)["task"]["id"]
        number = int(str(sent["webhook-id"]).rpartition("-")[2]) if "webhook-id" in sent else 0
        now = self.loop.time()
        tries = self.tried.setdefault(task, [])
        self.figures.messages += 1
        self.event("message", task, number)
        if tries and self.jumped_at + UNSEEN_SECONDS < tries[-1][1]:
            least = 0.9 * WEBHOOK_PAUSES[min(len(tries), len(WEBHOOK_PAUSES)) - 1]
            if now - tries[-1][1] < min(least, 0.9):
                self.broken(f"I11: try {number} of {task} came {now - tries[-1][1]:.3f} s after the one before")
        tries.append((number, now))
        if self.history.last is not None and task not in self.history.last.outcomes:
            self.broken(f"I11: the message of {task} was sent, and the task has not ended")
        await asyncio.sleep(self.latency())
        dice = self.chance() if self._hopeful else 1.0
        if dice < 0.2:
            await asyncio.sleep(1.0)
            return TryResult(delivered=False, http_status=None, error="timeout", took_ms=1_000)
        if dice < 0.4:
            return TryResult(delivered=False, http_status=500, error="status", took_ms=5)
        return TryResult(delivered=True, http_status=200, error=None, took_ms=5)


def an_app(world: World) -> Fairlane:
    """Return the application of the simulated workers."""
    app = Fairlane()
    for name, limit in ((WORK, None), (OTHER, None), (FEW, FEW_LIMIT)):

        async def handler(payload: dict[str, Any], context: Context) -> dict[str, Any]:
            return await world.handle(payload, context)

        app.task(name, timeout=TIMEOUT_SECONDS, attempts=ATTEMPTS, limit=limit, path=None)(handler)
    return app
