"""How many times an operation waits for PostgreSQL: what a database that is a millisecond away costs.

A round trip is what is sent before the server waits for an answer, however many statements it has. The counts do not
depend on the machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import Any

import pytest

from fairlane.model.leases import Failed, Report
from fairlane.store import Store
from fairlane.store.postgres import outage
from fairlane.store.postgres.connection import Connection
from fairlane.store.postgres.lines import Line
from tests.builders import DONE, LIMITED, PAGE, Worker, a_task, a_worker, an_organization, ids, submitted
from tests.store.databases import Clock, PostgresServer, adapter_of, in_one_commit

ORGANIZATIONS, SLOTS = 5, 10
PLACES = ORGANIZATIONS * SLOTS


class Trips:
    """The round trips of one server: its transactions, and its reads of one statement."""

    def __init__(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        self._writer = adapter_of(store).writer
        self.count = 0
        # The real clock is read from the database.
        monkeypatch.setattr(adapter_of(store).asking.clock, "moved", None)
        answers, ask = Connection.answers, Line.ask

        def waited(connection: Connection, seconds: float) -> Any:
            self.count += connection is self._writer.connection
            return answers(connection, seconds)

        def asked(line: Line, sent: Any) -> Any:
            # While an answer takes half a second, another connection asks whether the database is at work.
            self.count += all(statement.name != "find_working" for statement, _ in sent)
            return ask(line, sent)

        monkeypatch.setattr(Connection, "answers", waited)
        monkeypatch.setattr(Line, "ask", asked)

    @contextmanager
    def of_this(self) -> Iterator[list[int]]:
        """Count those of the block, in the first element of the list."""
        before, found = self.count, [0]
        yield found
        found[0] = self.count - before


@pytest.fixture
async def trips(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Trips:
    """The round trips of a server that nothing else uses."""
    return Trips(await server.open(), monkeypatch)


async def busy(store: Store, *, task_type: str = PAGE) -> Worker:
    """A worker that holds all slots of these organizations, with more tasks behind."""
    worker = await a_worker(store, [task_type])
    for _ in range(ORGANIZATIONS):
        organization = await an_organization(store, slots=SLOTS)
        await submitted(store, organization, *[a_task(task_type) for _ in range(2 * SLOTS)])
    return worker


async def test_an_exchange(server: PostgresServer, trips: Trips) -> None:
    """Settling and claiming take the same for fifty tasks of five organizations as for one."""
    worker = await busy(server.store)
    leases = await worker.take(PLACES)

    with trips.of_this() as one:
        reply = await worker.exchange(Report(leases[0].id, DONE), places=1)
    with trips.of_this() as many:
        refilled = await worker.exchange(*[Report(lease.id, DONE) for lease in leases[1:]], places=PLACES - 1)

    assert (len(reply.leases), len(refilled.leases)) == (1, PLACES - 1)
    assert (one, many) == ([2], [2])


async def test_an_exchange_of_failures(server: PostgresServer, trips: Trips) -> None:
    """Counting them by cause, and keeping the attempts, waits for nothing more."""
    worker = await busy(server.store)
    leases = await worker.take(PLACES)
    ending = Failed(cause="it broke", retry=False)

    with trips.of_this() as found:
        reply = await worker.exchange(*[Report(lease.id, ending) for lease in leases], places=PLACES)

    assert len(reply.leases) == PLACES
    assert (await server.store.failures.all(organization=None, since=0, most=1)).groups[0].failures == PLACES
    assert found == [2]


async def test_a_claim_of_a_worker_that_was_idle(server: PostgresServer, trips: Trips) -> None:
    """From a submit to the lease: what a task waits for when nothing else goes on."""
    organization, worker = await an_organization(server.store), await a_worker(server.store)
    await worker.exchange(places=5)

    with trips.of_this() as submit:
        await submitted(server.store, organization)
    with trips.of_this() as claim:
        reply = await worker.exchange(places=5)
    with trips.of_this() as nothing:
        await worker.exchange(places=4)

    assert len(reply.leases) == 1
    assert (submit, claim, nothing) == ([2], [3], [3])


async def test_a_slow_answer_adds_nothing(
    server: PostgresServer, trips: Trips, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question whether the database is at work goes over another connection, and does not count."""
    monkeypatch.setattr(outage, "LOOK_AFTER_SECONDS", 0.0)
    organization, finish, looked = await an_organization(server.store), adapter_of(server.store).writer.finish, Event()
    asked = Line.ask

    def notice(line: Line, sent: Any) -> Any:
        if any(statement.name == "find_working" for statement, _ in sent):
            looked.set()
        return asked(line, sent)

    def slowly(connection: Connection, attempt: Any) -> None:
        looked.wait(10)
        finish(connection, attempt)

    monkeypatch.setattr(Line, "ask", notice)
    monkeypatch.setattr(adapter_of(server.store).writer, "finish", slowly)

    with trips.of_this() as submit:
        await submitted(server.store, organization)

    assert looked.is_set()
    assert submit == [2]


async def test_a_claim_of_a_limited_type(server: PostgresServer, trips: Trips) -> None:
    """Three more once the reports are settled: the leases of the type are counted, turns are looked for again, and
    their organizations locked."""
    worker = await busy(server.store, task_type=LIMITED)
    leases = await worker.take(PLACES)

    with trips.of_this() as found:
        reply = await worker.exchange(Report(leases[0].id, DONE), places=1)

    assert len(reply.leases) == 1
    assert found == [5]


async def test_a_batch_and_a_status(server: PostgresServer, trips: Trips) -> None:
    """Of twenty tasks, some with keys, and of one organization."""
    organization = await an_organization(server.store)

    with trips.of_this() as batch:
        await submitted(server.store, organization, *[a_task(key=str(one)) for one in range(10)], a_task())
    with trips.of_this() as status:
        await server.store.tasks.status(organization.id)

    assert (batch, status) == ([2], [1])


async def test_a_cancel_and_a_renewal(server: PostgresServer, trips: Trips) -> None:
    """A queued task ends at once; a worker's session is renewed every few seconds."""
    organization, worker = await an_organization(server.store), await a_worker(server.store)
    (task,) = await submitted(server.store, organization)

    with trips.of_this() as renewal:
        await server.store.sessions.renew(worker.id, leases=(), exchanges=())
    with trips.of_this() as cancel:
        await server.store.tasks.cancel(organization.id, task)

    assert (renewal, cancel) == ([3], [3])


async def test_claims_of_one_commit_share_what_was_read_ahead(
    server: PostgresServer, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that the first one took is not given to the second: one transaction answers both."""
    store = await server.open()
    organization = await an_organization(store, slots=6)
    tasks = await submitted(store, organization, *[a_task() for _ in range(6)])
    workers = [await a_worker(store, [PAGE]) for _ in range(2)]
    writer = adapter_of(store).writer
    began, begin = [0], writer.begin

    def counted(*arguments: Any) -> None:
        began[0] += 1
        begin(*arguments)

    monkeypatch.setattr(writer, "begin", counted)

    replies = await in_one_commit(store, clock, *[partial(worker.exchange, places=3) for worker in workers])

    assert [ids(reply.leases) for reply in replies] == [tasks[:3], tasks[3:]]
    assert began[0] == 2  # the first is that of ``in_one_commit`` itself
