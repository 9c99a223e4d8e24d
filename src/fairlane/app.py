"""Wiring of the server: connects store, listeners, upkeep and local workers, and takes them down in order."""

import asyncio
import contextlib
import gc
import logging
import os
import resource
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from fairlane import __version__
from fairlane.api.admin import AdminKeyGuard, SecretRules, ServerFacts, admin_part, admin_surface
from fairlane.api.bodies import Bodies
from fairlane.api.callers import Callers
from fairlane.api.customers import customer_part, customer_surface
from fairlane.api.health import health_resources
from fairlane.api.listener import Listener, address_of, bind_tcp, take_socket
from fairlane.api.lists import ReferenceLists, read_lists
from fairlane.api.parking import Parking
from fairlane.api.routes import Part, Resource, Surface
from fairlane.api.serving import Serving
from fairlane.api.worker import WorkerKeyGuard, worker_part, worker_surface
from fairlane.dashboard import Hub, TicketEndpoints, Tickets, dashboard_part, is_loopback, local_address
from fairlane.errors import AppError, DatabaseError, SetupError, StoreFault
from fairlane.handlers import Fairlane, load_app
from fairlane.loops import ending_signals, new_event_loop
from fairlane.rules.deliveries import SenderState
from fairlane.settings import Settings, runtime_directory, without_password
from fairlane.store import Store
from fairlane.surroundings import Surroundings
from fairlane.sweeper import Sweeper
from fairlane.webhooks.guard import Reach, check_url, read_ports
from fairlane.webhooks.poster import Poster
from fairlane.webhooks.sender import Sender
from fairlane.webhooks.signing import is_secret, new_secret
from fairlane.worker.supervisor import Drained, Supervisor, options_of

if TYPE_CHECKING:
    from fairlane.tracing import Tracing

logger = logging.getLogger(__name__)

SWITCH_SECONDS = 0.0005
OPEN_FILES = 65_536
"""Limit on open files that a server asks for: each connection needs one, and the usual limit is a thousand."""
SECRET_RULES = SecretRules(new_secret, is_secret)
UPKEEP_ENDED = 1
"""Exit code of a server after its upkeep ended."""
STORE_BROKEN = 9
"""Exit code of a server after its disk failed or its store thread ended. A restart reads the committed state."""
LAST_POST_SECONDS = 1.0
"""How long a server that ends without a drain waits for the webhooks it is sending."""
SOCKET_PATH_BYTES_MOST = 103
"""Longest path of a unix socket on every platform."""


class Owner(msgspec.Struct, frozen=True):
    """Contents of the lock file: the server that owns the database."""

    pid: int
    admin_socket: str
    address: str


class Server:
    """One server without its local workers: the store, three listeners, upkeep.

    ``on_broken`` is called on the loop if the upkeep or a listener ends by itself, or if the store breaks: then the
    server should be stopped.
    """

    def __init__(
        self, settings: Settings, application: Fairlane, *, on_broken: Callable[[], None] = lambda: None
    ) -> None:
        self._settings = settings
        self._application = application
        self._on_broken = on_broken
        self.broken = False
        """Whether the upkeep or a listener ended by itself."""
        self.store_broken = False
        """Whether the store refuses every write until another process opens the database."""
        self.local_workers: Supervisor | None = None
        """Set by the wiring once it exists."""
        self._upkeep: list[asyncio.Task[None]] = []
        self._listeners: list[Listener] = []
        self._sender: Sender | None = None
        self._sweeper: Sweeper | None = None
        self.callers: Callers | None = None
        self.address = ""
        self.admin_address: str | None = None
        """None if the operator's routes have no TCP listener of their own."""
        self.surfaces: dict[str, Surface] = {}
        """The application of each listener."""
        self.worker_socket = Path()
        self.admin_socket = Path()

    async def start(self) -> None:
        """Open the database and listen.

        Raises:
            SetupError: the database, the runtime directory or the port cannot be used. Nothing stays open.
        """
        self._reach = reach_of(self._settings)
        lists = read_lists(self._settings.reference_lists)
        self.store = await Store.open(self._settings, self._application.catalogue)
        self.store.when_broken(self._store_ended)
        try:
            await self._start(lists)
        except StoreFault as error:
            await self._close()
            raise DatabaseError.of(error) from error
        except BaseException:
            await self._close()
            raise

    async def _start(self, lists: ReferenceLists) -> None:
        await self.store.webhook_secrets.check()
        # This server holds the lock that every local worker inherits, so no local worker of an earlier server is alive.
        returned = await self.store.sessions.return_local_leases()
        if returned:
            logger.info("leases.returned", extra={"count": returned})
        await self.store.pulses.begin()
        folder = prepare_directory(runtime_directory(self._settings.database))
        self.worker_socket, self.admin_socket = folder / "worker.sock", folder / "admin.sock"
        settings = self._settings
        bound = bind_tcp(settings.host, settings.port) if settings.fd is None else take_socket(settings.fd)
        self.address = address_of(bound)
        self.serving = Serving(
            store=self.store,
            settings=self._settings,
            task_types=self._application.task_types,
            webhook_host=lambda url, field: check_url(url, self._reach, field=field).place,
            lists=lists,
            tracing=_tracing(self._settings),
            worker_trouble=self.worker_trouble,
            sending=self.sending,
        )
        self.parking = Parking(self.store)
        self.hub = Hub(self.store)
        self.callers = callers = Callers(self.store, self._settings)
        await callers.open()
        self._listeners = self._made_listeners(bound, callers)
        for listener in self._listeners:
            await listener.start(on_ended=self._listener_ended)
        self.store.wake_others()
        self._sweeper = sweeper = Sweeper(
            self.store, self._settings, self._application.task_types, share_counts=self.serving.rates.exchange
        )
        timeout_seconds = self._settings.webhook_timeout_seconds
        poster = Poster(reach=self._reach, timeout_seconds=timeout_seconds)
        self._sender = Sender(self.store, poster, timeout_seconds=timeout_seconds)
        loops = {
            "sweeper": sweeper.run(),
            "parking": self.parking.poll(),
            "waiting": self.serving.waiting.poll(),
            "calls": callers.run(),
            "sender": self._sender.run(),
            "hub": self.hub.run(),
        }
        self._upkeep = [asyncio.create_task(loop, name=name) for name, loop in loops.items()]
        for task in self._upkeep:
            task.add_done_callback(self._upkeep_ended)
        owner = Owner(pid=os.getpid(), admin_socket=str(self.admin_socket), address=self.address)
        self.store.describe(msgspec.json.encode(owner).decode() + "\n")

    def _made_listeners(self, bound: socket.socket, callers: Callers) -> list[Listener]:
        """Return the listeners. The listener's own application decides what a connection may do, never the address."""
        settings, clock = self._settings, self.store.now
        workers = worker_part(self.serving, self.parking, guard=WorkerKeyGuard(self.store))
        operators = admin_part(
            self.store,
            facts=self.facts,
            sending=self.sending,
            secret_rules=SECRET_RULES,
            guard=AdminKeyGuard(self.store),
        )
        public: list[Part[Any]] = [workers] if settings.public_workers else []
        public += [operators] if settings.public_admin else []
        customers = customer_part(self.serving, callers)
        open_to_all: list[Resource[None]] = []
        tickets, operated = Tickets(clock), self._operated()
        if settings.dashboard:
            served = operators if operated else None
            people, open_to_all = self._dashboard(
                customers, served, tickets, self.address, tickets_only=not settings.public_admin
            )
            public.append(people)
        private = None
        if settings.admin_port is not None:
            private = bind_tcp(settings.admin_host, settings.admin_port)
            self.admin_address = address_of(private)
        pages = self.admin_address or (self.address if operated else None)
        enters = [TicketEndpoints(tickets, local_address(pages))] if settings.dashboard and pages is not None else []
        self.surfaces = {
            "customers": customer_surface(self.serving, customers, *public, unguarded=open_to_all),
            "worker socket": worker_surface(self.serving, self.parking),
            "admin socket": admin_surface(
                self.store, facts=self.facts, sending=self.sending, secret_rules=SECRET_RULES, local=enters
            ),
        }
        listeners = [
            Listener(self.surfaces["customers"], bound=bound),
            Listener(self.surfaces["worker socket"], path=self.worker_socket),
            Listener(self.surfaces["admin socket"], path=self.admin_socket),
        ]
        if private is not None:
            parts: list[Part[Any]] = [operators, workers]
            unguarded = health_resources(self.serving)
            if settings.dashboard:
                people, open_to_all = self._dashboard(
                    customers, operators, tickets, address_of(private), customer_keys=False
                )
                parts.append(people)
                unguarded += open_to_all
            self.surfaces["admin"] = Surface(parts, unguarded, clock=clock)
            listeners.append(Listener(self.surfaces["admin"], bound=private))
        bodies = Bodies()
        for surface in self.surfaces.values():
            surface.bodies = bodies
        return listeners

    def _operated(self) -> bool:
        """Return whether the customers' port has operators' pages: it is on loopback, or a setting says so."""
        return self._settings.public_admin or is_loopback(urlsplit(self.address).hostname or "")

    def _dashboard(
        self,
        customers: Part[Any],
        operators: Part[Any] | None,
        tickets: Tickets,
        address: str,
        *,
        customer_keys: bool = True,
        tickets_only: bool = False,
    ) -> tuple[Part[Any], list[Resource[None]]]:
        return dashboard_part(
            self.store,
            self.hub,
            tickets,
            address=address,
            version=__version__,
            proxies=self._settings.proxies(),
            rate_limit=self._settings.rate_limit,
            secret_rules=SECRET_RULES,
            customers=customers,
            operators=operators,
            customer_keys=customer_keys,
            tickets_only=tickets_only,
        )

    def worker_trouble(self) -> str | None:
        """Return why no local worker can start, or None if one has, still may, or none is configured."""
        return None if self.local_workers is None else self.local_workers.trouble

    def facts(self) -> ServerFacts:
        """Return the facts about this server for the admin route."""
        return ServerFacts(
            version=__version__,
            address=self.address,
            admin_address=self.admin_address,
            database=without_password(self._settings.database),
            pid=os.getpid(),
            draining=self.serving.draining,
            worker_trouble=self.worker_trouble(),
            disk_full=self.serving.disk_full(),
            swept_at=None if self._sweeper is None else self._sweeper.swept_at,
            task_types=tuple(self._application.catalogue),
        )

    def sending(self) -> SenderState | None:
        """Return the state of the sender of webhooks, or None before it exists."""
        return None if self._sender is None else self._sender.turns.state()

    def drain(self) -> None:
        """Accept and hand out no new work from now on. Existing tasks can still be read and settled."""
        self.serving.drain()
        self.parking.drain()
        self.hub.close()
        if self.callers is not None:
            self.callers.drain()
        if self._sender is not None:
            self._sender.drain()

    def _upkeep_ended(self, task: asyncio.Task[None]) -> None:
        """Stop the server when one of its upkeep loops ends: otherwise it would answer, but no longer sweep or send."""
        if task.cancelled() or (self.serving.draining and task.exception() is None):
            return
        logger.critical("upkeep.ended", exc_info=task.exception(), extra={"upkeep": task.get_name()})
        self.broken = True
        self._on_broken()

    def _listener_ended(self, error: BaseException | None) -> None:
        """A server that does not listen any more looks well to its supervisor and is not."""
        logger.critical("listener.ended", exc_info=error)
        self.broken = True
        self._on_broken()

    def _store_ended(self) -> None:
        self.store_broken = True
        self._on_broken()

    async def finish_sending(self, seconds: float) -> None:
        """Wait at most ``seconds`` for the webhooks that are being sent; the others stay due."""
        if self._sender is not None:
            await self._sender.finish(seconds)

    async def stop(self) -> None:
        """Stop listening, then close the database."""
        self.drain()
        with contextlib.suppress(StoreFault):
            # Otherwise the usage since the last sample would be missing from history.
            await self.store.usage.sample()
        await self._close()

    async def _close(self) -> None:
        await self.finish_sending(LAST_POST_SECONDS)
        for task in self._upkeep:
            task.cancel()
        await asyncio.gather(*self._upkeep, return_exceptions=True)
        if self.callers is not None:
            await self.callers.close()
        await asyncio.gather(*(listener.stop() for listener in self._listeners))
        with contextlib.suppress(OSError):
            self.worker_socket.parent.rmdir()
        await self.store.close()


def _tracing(settings: Settings) -> "Tracing | None":
    """Return the maker of spans, or None if traces are off. The settings check that its package is installed."""
    if not settings.traces:
        return None
    from fairlane.tracing import Tracing

    return Tracing()


def reach_of(settings: Settings) -> Reach:
    """Return where webhooks may go.

    Raises:
        SetupError: the ports cannot be read.
    """
    try:
        ports = read_ports(settings.webhook_ports)
    except ValueError as error:
        raise SetupError(f"FAIRLANE_WEBHOOK_PORTS cannot be used: {error}") from error
    return Reach(
        private=settings.webhook_allow_private, ports=ports, own_hosts=frozenset([settings.host.lower().strip("[]")])
    )


def prepare_directory(folder: Path) -> Path:
    """Create the runtime directory, with access for this user only: access to its sockets means trust.

    Raises:
        SetupError: it belongs to another user, is not a directory, or its path is too long for a socket.
    """
    if len(os.fsencode(folder / "worker.sock")) > SOCKET_PATH_BYTES_MOST:
        raise SetupError(f"the runtime directory {folder} has too long a path: set XDG_RUNTIME_DIR to a shorter one")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise SetupError(f"cannot use the runtime directory {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise SetupError(f"cannot use the runtime directory {folder}: it belongs to another user; remove it")
    folder.chmod(0o700)
    return folder


# Running -------------------------------------------------------------------------------------------------------------


def run(
    settings: Settings,
    app_reference: str,
    *,
    on_ready: Callable[[str], None],
    on_trouble: Callable[[str | None], None] = lambda cause: None,
    on_drained: Callable[[Drained], None] = lambda drained: None,
) -> int:
    """Serve until told to end, on an event loop of its own. Return the exit code for the command line.

    Raises:
        SetupError: as in :func:`serve`.
    """
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(
            serve(settings, app_reference, on_ready=on_ready, on_trouble=on_trouble, on_drained=on_drained)
        )


async def serve(
    settings: Settings,
    app_reference: str,
    *,
    on_ready: Callable[[str], None],
    on_trouble: Callable[[str | None], None] = lambda cause: None,
    on_drained: Callable[[Drained], None] = lambda drained: None,
) -> int:
    """Serve an application with local workers until SIGTERM or SIGINT, then drain; a second signal ends at once.

    ``on_ready`` is called with the address once requests are answered. ``on_trouble`` is called with the reason when no
    local worker can start, and with None when one has started again. ``on_drained`` is called with the drain's result.
    If the upkeep or a listener ends by itself, the server ends as after a signal; if the store breaks, it ends without
    a drain.

    Raises:
        AppError: the application cannot be used, here or in a worker process.
        DatabaseError: the database cannot be opened, or another server owns it.
        SetupError: the port or the runtime directory cannot be used.
    """
    allow_open_files()
    surroundings = Surroundings(hosts_handlers=False)
    application = load_app(app_reference)
    surroundings.put_back()
    # The store thread runs next to the event loop. With the default of 5 ms one of them would wait for the interpreter
    # lock longer than a whole transaction takes.
    sys.setswitchinterval(SWITCH_SECONDS)
    ending = asyncio.Event()
    server = Server(settings, application, on_broken=ending.set)
    await server.start()
    options = options_of(
        settings,
        app_reference=app_reference,
        servers=(f"unix:{server.worker_socket}",),
        version=__version__,
        inherit_fds=tuple(server.store.inherited_fds),
    )
    supervisor = Supervisor(
        options,
        count=settings.workers,
        on_broken=lambda message: ending.set(),
        on_trouble=on_trouble,
    )
    server.local_workers = supervisor
    try:
        with ending_signals(ending):
            await supervisor.start()
            # Objects made at start-up live as long as the process: the garbage collector need not scan them again.
            gc.collect()
            gc.freeze()
            logger.info(
                "server.started", extra={"address": server.address, "database": without_password(settings.database)}
            )
            on_ready(server.address)
            await ending.wait()
            if not server.store_broken:  # else no result could be kept that a drain waits for
                logger.info("server.draining")
                server.drain()
                drained, _ = await asyncio.gather(
                    supervisor.drain(settings.drain_seconds), server.finish_sending(settings.drain_seconds)
                )
                on_drained(drained)
    finally:
        try:
            await supervisor.stop()
        finally:
            await server.stop()
    if supervisor.broken is not None:
        raise AppError(supervisor.broken)
    if server.store_broken:
        return STORE_BROKEN
    return UPKEEP_ENDED if server.broken else 0


def allow_open_files() -> None:
    """Raise this process's limit on open files as far as allowed, up to OPEN_FILES."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # The system may have a lower limit of its own; then the current limit stays.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
