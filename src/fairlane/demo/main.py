"""``fairlane demo`` from start to end: start a server, submit, watch, fetch everything, judge, end the server."""

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any, TextIO

from msgspec import Struct, to_builtins

from fairlane.admin.browser import open_in_browser
from fairlane.admin.connection import Admin, ask_server, connect
from fairlane.client import AsyncClient, ClientError, NotFound, Task
from fairlane.demo.parties import ACME, PARTIES, SEED_KEY, Party, curl_line
from fairlane.demo.report import Check, Evidence, judge, write_index
from fairlane.demo.server import PLACES, WORKERS, running_server
from fairlane.demo.show import show
from fairlane.demo.sources import Work, bytes_for, choose_work, library_files, measure_bytes_per_second, work_on
from fairlane.demo.view import view_on
from fairlane.demo.watch import Watcher
from fairlane.errors import DatabaseError, SetupError

SECONDS_USUAL = 35.0
"""After this long what is still queued is taken back: the machine is slower than it was when it was measured."""
SECONDS_MOST = 50.0
"""After this long what still runs is given up."""
SUBMITTING_AT_ONCE = 8
FETCHING_AT_ONCE = 16
RETRIES = 10
"""Retries of a request, for one that exceeded its rate limit."""
INTERRUPTED = 130


class DemoOptions(Struct, frozen=True, kw_only=True):
    """Options of the command line."""

    keep: bool
    seconds: float
    tasks: int | None
    port: int
    output: Path | None
    as_json: bool
    open: bool = False
    """Open the operators' pages when the server is ready."""
    postgres: str | None = None
    """The address of an empty database, or None for a temporary SQLite file."""


def run_demo(options: DemoOptions) -> int:
    """Run the demonstration. Return the exit code: 0 only if every promise held."""
    try:
        return asyncio.run(_canceled_by_signals(options))
    except asyncio.CancelledError:
        print("fairlane: demo interrupted", file=sys.stderr)
        return INTERRUPTED
    except ExceptionGroup as group:
        # Tasks that run together fail together; the first cause is enough.
        refused = group.subgroup((ClientError, SetupError))
        if refused is None:
            raise
        raise SetupError(f"the demo broke off: {_first(refused)}") from group
    except ClientError as error:
        raise SetupError(f"the demo broke off: {error}") from error


def _first(group: ExceptionGroup[Exception]) -> Exception:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, ExceptionGroup) else found


async def _canceled_by_signals(options: DemoOptions) -> int:
    demo = asyncio.current_task()
    assert demo is not None
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, demo.cancel)
    return await _demo(options)


async def _demo(options: DemoOptions) -> int:
    stream = sys.stderr if options.as_json else sys.stdout
    work = _planned_work(options)
    output = _output_folder(options.output)
    scratch = Path(tempfile.mkdtemp(prefix="fairlane-demo-db-"))
    try:
        async with AsyncExitStack() as stack:
            database = f"sqlite:///{scratch / 'demo.db'}"
            if options.postgres is not None:
                database = options.postgres
                await _check_empty(database)
            address = await stack.enter_async_context(
                running_server(database=database, port=options.port, output=output, log=output / "server.log")
            )
            admin = await stack.enter_async_context(connect(database))
            keys = {party.name: await _admit(admin, party) for party in PARTIES}
            clients = {
                name: await stack.enter_async_context(AsyncClient(address, key, retries=RETRIES))
                for name, key in keys.items()
            }
            _introduce(stream, address, work)
            if options.open:
                await _open_dashboard(stream, database)
            evidence = await _observe(clients, admin, work, stream)
            checks = judge(evidence)
            index = write_index(output, evidence.tasks)
            status = to_builtins(await clients[ACME.name].status())
            del status["verification"]  # the API's answer has none
            _tell(stream, checks, index=index, address=address, status=status, as_json=options.as_json)
            if options.keep:
                await _wait_for_the_end(stream, address, clients)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return 0 if all(check.held for check in checks) else 1


def _planned_work(options: DemoOptions) -> dict[str, list[Work]]:
    """Return the tasks of each organization: the same number, and the same mix."""
    files = library_files()
    if options.tasks is not None:
        chosen = work_on(files, count=(options.tasks + 1) // 2)[: options.tasks]
    else:
        size = bytes_for(options.seconds, bytes_per_second=measure_bytes_per_second(), processors=_processors())
        chosen = choose_work(files, size=size)
    # Work comes in pairs, one task of each type; the organizations get whole pairs in turn.
    return {
        party.name: [work for index, work in enumerate(chosen) if index // 2 % len(PARTIES) == place]
        for place, party in enumerate(PARTIES)
    }


def _processors() -> int:
    """Return the processors that this process may use, or all of them if the platform does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _output_folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="fairlane-demo-"))
    try:
        wanted.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"the folder {wanted} (--output) cannot be made: {error.strerror}") from error
    return wanted.absolute()


async def _check_empty(database: str) -> None:
    """Refuse a database in which an installation is: the demo's server would take part in it."""
    if not database.startswith(("postgresql://", "postgres://")):
        raise SetupError("--postgres takes the address of a PostgreSQL database: postgresql://USER@HOST/NAME")
    with suppress(DatabaseError):  # there are no tables, or the server will say what is wrong
        async with connect(database):
            raise SetupError("there is an installation in this database: the demo needs an empty one (--postgres)")


async def _admit(admin: Admin, party: Party) -> str:
    """Create an organization with a key; return the key."""
    await admin.ask("POST", "organizations", body={"name": party.name, "slots": party.slots, "weight": party.weight})
    wanted = {"name": "demo"} if party.key is None else {"name": "demo", "value": party.key}
    key = await admin.ask("POST", "organizations", party.name, "keys", body=wanted)
    return str(key["value"])


async def _observe(
    clients: Mapping[str, AsyncClient], admin: Admin, work: Mapping[str, Sequence[Work]], stream: TextIO
) -> Evidence:
    """Submit everything, watch until it has ended or time is up, and fetch every task.

    What a slow machine does not begin in time is taken back: it is counted, and is no promise that was not held.
    """
    ids: dict[str, list[str]] = {name: [] for name in work}
    totals = {name: len(owned) for name, owned in work.items()}
    planned = sum(totals.values())
    late = asyncio.Event()
    with view_on(stream) as view:
        watcher = Watcher(clients=clients, admin=admin, totals=totals, view=view)
        hurrying = asyncio.create_task(_take_back(clients, watcher, late))
        try:
            async with asyncio.timeout(SECONDS_MOST), asyncio.TaskGroup() as group:
                group.create_task(watcher.watch())
                for name, owned in work.items():
                    group.create_task(_submit(clients[name], name, owned, ids[name], watcher, totals, late))
        except TimeoutError:
            print(f"fairlane: not finished after {SECONDS_MOST:.0f} s", file=sys.stderr)
        finally:
            hurrying.cancel()
    seconds = watcher.seconds
    tasks = {name: await _fetch(clients[name], owned) for name, owned in ids.items()}
    found = sum(map(len, tasks.values()))
    return Evidence(
        planned=found if late.is_set() else planned,
        taken_back=planned - found if late.is_set() else 0,
        tasks=tasks,
        samples=watcher.samples,
        recounts=watcher.recounts,
        drifts=watcher.drifts,
        seconds=seconds,
    )


async def _take_back(clients: Mapping[str, AsyncClient], watcher: Watcher, late: asyncio.Event) -> None:
    """Empty the queues once the machine proved too slow for all of the work; something must have ended by then."""
    await asyncio.sleep(SECONDS_USUAL)
    await watcher.progress.wait()
    late.set()
    await asyncio.gather(*(client.clear() for client in clients.values()))


async def _submit(
    client: AsyncClient,
    name: str,
    work: Sequence[Work],
    ids: list[str],
    watcher: Watcher,
    totals: dict[str, int],
    late: asyncio.Event,
) -> None:
    room = asyncio.Semaphore(SUBMITTING_AT_ONCE)

    async def submit(index: int, one: Work) -> None:
        async with room:
            if late.is_set():
                totals[name] -= 1
                return
            payload = {"path": one.path, "style": one.style}
            ids.append((await client.submit(one.task_type, payload, idempotency_key=f"demo-{index}")).id)
            watcher.submitted[name] += 1

    async with asyncio.TaskGroup() as group:
        for index, one in enumerate(work):
            group.create_task(submit(index, one))


async def _fetch(client: AsyncClient, ids: Sequence[str]) -> list[Task]:
    """Fetch tasks; the ones that were taken back are gone."""
    room = asyncio.Semaphore(FETCHING_AT_ONCE)

    async def fetch(task_id: str) -> Task | None:
        async with room:
            try:
                return await client.task(task_id)
            except NotFound:
                return None

    return [task for task in await asyncio.gather(*map(fetch, ids)) if task is not None]


def _introduce(stream: TextIO, address: str, work: Mapping[str, Sequence[Work]]) -> None:
    count = sum(map(len, work.values()))
    weights = " and ".join(f"{party.name} ({party.slots} slots, weight {party.weight})" for party in PARTIES)
    print(f"Server at {address}, {WORKERS} worker processes x {PLACES} places.", file=stream)
    print(f"{count} tasks over this Python's own source files, half each for", file=stream)
    print(f"{weights}.", file=stream)
    print(f"While it runs, in another terminal:\n  {curl_line(address)}", file=stream)
    print(f"In a browser, with this key:\n  {address}/dashboard  {SEED_KEY}\n", file=stream, flush=True)


async def _open_dashboard(stream: TextIO, database: str) -> None:
    """Open the operators' pages in a browser, or print their address where none can be opened."""
    made = await asyncio.to_thread(ask_server, database, "POST", "dashboard", "tickets")
    if not open_in_browser(made["address"]):
        print(f"Open this within a minute: {made['address']}\n", file=stream, flush=True)


def _tell(
    stream: TextIO, checks: Sequence[Check], *, index: Path, address: str, status: dict[str, Any], as_json: bool
) -> None:
    failed = [check.name for check in checks if not check.held]
    if as_json:
        report = {
            "held": not failed,
            "checks": [{"name": check.name, "held": check.held, "text": check.text} for check in checks],
            "pages": str(index),
            "curl": curl_line(address),
            "status": status,
        }
        print(json.dumps(report), flush=True)
        return
    print(file=stream)
    for check in checks:
        print(f"{'ok    ' if check.held else 'FAILED'}  {check.text}", file=stream)
    print(f"\nPages: {index}", file=stream)
    print(f"Status of {ACME.name} at the end: {json.dumps(status)}", file=stream)
    print(f"\nNot held: {', '.join(failed)}." if failed else "\nAll of it held.", file=stream, flush=True)


async def _wait_for_the_end(stream: TextIO, address: str, clients: Mapping[str, AsyncClient]) -> None:
    """Keep the server running and at work until Ctrl-C, which is not an error then."""
    print("\nThe server stays up until Ctrl-C, with more tasks: the lanes fill, the limit of", file=stream)
    print(f"{ACME.name} holds, and a task fails now and then. Look at the dashboard, or paste this:", file=stream)
    print(f"  {curl_line(address)}\n  {address}/dashboard  {SEED_KEY}", file=stream, flush=True)
    try:
        await show(clients, library_files())
    except asyncio.CancelledError:
        demo = asyncio.current_task()
        assert demo is not None
        demo.uncancel()
