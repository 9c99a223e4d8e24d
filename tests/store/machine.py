"""Random walks over every operation of a real store, compared step by step with the reference."""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import force_setattr

from fairlane.errors import SessionGone
from fairlane.model.leases import Completed, Ending, Exchange, ExchangeReply, Failed, LossReason, Released, Report
from fairlane.model.organizations import OrganizationChange, Overrides, PlanChange
from fairlane.model.status import SlotUse
from fairlane.model.tasks import TaskStatus, TaskView
from fairlane.rules.attempts import CANCELED
from fairlane.rules.fairness import priority_of, rank_of
from fairlane.store import Store, new_id
from tests.builders import ACTOR, FRAGILE, LIMITED, PAGE, a_call, a_catalogue, a_session, a_task
from tests.reference.invariants import History, read_snapshot
from tests.reference.model import CHANCE, COST_MOST, Organization, Reference, Session, Task
from tests.store.databases import DATABASES, Clock, SqliteFile

RETENTION_SECONDS = 100
TYPES = (PAGE, LIMITED, FRAGILE)

Answer = TypeVar("Answer")

some = st.integers(0, 1_000)
"""Chooses one of however many there are."""
new_tasks = st.builds(
    a_task,
    st.sampled_from(TYPES),
    priority=st.sampled_from([1, 5, 10]),
    key=st.sampled_from([None, None, "k", "l"]),
    delay_seconds=st.sampled_from([0, 0, 0, 6]),
    cost=st.sampled_from([0, 1, 1, COST_MOST]),
)
endings: st.SearchStrategy[Ending] = st.sampled_from([
    Completed('{"n":1}'),
    Failed(cause="x"),
    Failed(cause="x", pause_ms=0),
    Failed(cause="x", pause_ms=7_000),
    Failed(cause="x", retry=False),
    Released(),
])  # fmt: skip


class StoreMachine(RuleBasedStateMachine):
    """Three organizations, two workers and more, one store."""

    kind = "sqlite"
    """The database it walks on."""
    cost = 1
    """Of each of the tasks that are there at the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.folder = tempfile.TemporaryDirectory(prefix="fairlane-machine-")
        self.file = DATABASES[self.kind](Path(self.folder.name), self.clock)
        self.loop = asyncio.new_event_loop()
        self.model = Reference(a_catalogue())
        self.overridden: dict[int, int | None] = {}
        self.plan_slots: int | None = 1
        self.sent: list[Exchange] = []
        self.steps = 0
        self.history = History(even=True, forgets=True, limited=frozenset([LIMITED]))

    def run(self, what: Coroutine[Any, Any, Answer]) -> Answer:
        """Let the store's loop run until this is done."""
        return self.loop.run_until_complete(what)

    @property
    def store(self) -> Store:
        """The store that is open."""
        return self.file.store

    def teardown(self) -> None:
        """Count everything once more, and leave nothing open."""
        try:
            self.counted()
        finally:
            self.close()

    def close(self) -> None:
        """Leave nothing open."""
        self.run(self.file.close())
        self.file.forget()
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    @initialize()
    def set_up(self) -> None:
        """One organization follows the plan, two have slots of their own; one worker is local, one is not."""
        self.run(self.file.open(retention_seconds=RETENTION_SECONDS))
        self._opened()
        self.run(self.store.plans.create("pro", slots=1, queue_limit=4, weight=2, actor=ACTOR))
        for slots in (None, 2, 3):
            made = self.run(
                self.store.organizations.create(
                    f"slots-{slots}", plan="pro", overrides=Overrides(slots=slots, queue_limit=12), actor=ACTOR
                )
            )
            self.model.organizations[made.id] = Organization(made.id, made.name, slots or 1, 12)
            self.overridden[made.id] = slots
        self.switch_credits(1, on=True)
        self.grant(1, amount=5, twice=False)
        self.new_worker(local=True, types=TYPES)
        self.new_worker(local=False, types=TYPES)
        self.new_server(local=True)
        for number in range(len(self.model.organizations)):
            first = [a_task(name, priority=rank, cost=self.cost) for name in TYPES for rank in (10, 5)]
            first.append(a_task(key="k", cost=self.cost))
            # One request may not cost more than the balance; several together may.
            for tasks in [[one] for one in first] if self.cost > 1 else [first]:
                self.submit(number, tasks, room=None)

    def _opened(self) -> None:
        force_setattr(self.store.shared.config, "chance", lambda: CHANCE)

    def _organization(self, number: int) -> Organization:
        organizations = list(self.model.organizations.values())
        return organizations[number % len(organizations)]

    def _session(self, number: int) -> Session:
        """Mostly one that lives; now and then one of the dead."""
        sessions = [session for session in self.model.sessions.values() if session.new.places]
        alive = [session for session in sessions if not session.dead]
        if number % 8 and alive:
            sessions = alive
        return sessions[number % len(sessions)]

    # Customers -------------------------------------------------------------------------------------------------------

    @rule(number=some, new=st.lists(new_tasks, min_size=1, max_size=6), room=st.sampled_from([None, None, 0, 2]))
    def submit(self, number: int, new: list[Any], room: int | None) -> None:
        """Accepted or refused as the reference says; a used key names its task (I9).

        With ``room`` as a batch, in which so many more items are no tasks at all: all of them need room.
        """
        organization = self._organization(number)
        # Drawn requests are descriptions: Hypothesis may repeat one, ids never repeat.
        tasks = [
            a_task(
                one.task_type,
                priority=one.priority,
                key=one.idempotency_key,
                cost=one.cost,
                delay_seconds=one.delay_ms / 1_000,
            )
            for one in new
        ]

        places = 0 if room is None else len(tasks) + room

        (answers,) = self.run(_gathered([self.store.tasks.submit(organization.id, tasks, room=places)]))

        self.model.spent = 0
        expected = self.model.submit_all(organization, tasks, places, self.clock.at)
        assert ([type(one) for one in answers] if isinstance(answers, list) else type(answers)) == expected

    @rule(number=some, seldom=st.sampled_from([False, False, True]))
    def clear(self, number: int, seldom: bool) -> None:
        """What is queued is gone, with its keys; what runs or ended stays. Too many clears find little."""
        organization = self._organization(number)

        if seldom:
            assert self.run(self.store.tasks.clear(organization.id)) == self.model.clear(organization)

    @rule(number=some, server=some, task_type=st.sampled_from(TYPES), count=st.integers(1, 3))
    def begin_calls(self, number: int, server: int, task_type: str, count: int) -> None:
        """Calls are admitted or refused at once, also several at the same time."""
        organization, session = self._organization(number), self._server(server)
        new = [a_call(organization, session.new.id, task_type, cost=count) for _ in range(count)]

        answers = self.run(_gathered([self.store.calls.begin(one) for one in new]))

        assert [type(answer) for answer in answers] == [self.model.begin(one, self.clock.at) for one in new]

    @rule(number=some, running=st.booleans())
    def abandon(self, number: int, running: bool) -> None:
        """A caller goes away."""
        calls = list(self.model.calls.values())
        if calls:
            call = calls[number % len(calls)]
            met = self.run(self.store.calls.abandon(call.organization.id, call.new.id, running=running))
            assert met is self.model.abandon(call.new.id, running=running)

    @rule(number=some)
    def answer_callers(self, number: int) -> None:
        """A server takes what ended, and forgets it."""
        session = self._server(number)
        ended = self.run(self.store.calls.ended(session.new.id))
        self.run(self.store.calls.forget([(one.organization_id, one.id) for one in ended]))
        for one in ended:
            del self.model.calls[one.id]

    @rule(local=st.booleans())
    def new_server(self, local: bool) -> None:
        """One more server."""
        session = a_session((), places=0, local=local)
        self.run(self.store.sessions.open(session))
        self.model.sessions[session.id] = Session(session, self.clock.at + session.lease_ms)

    @rule(number=some, ends=st.booleans())
    def server_lives_or_ends(self, number: int, ends: bool) -> None:
        """A server renews its session, or ends in order."""
        session = self._server(number)
        if ends:
            returned = self.run(self.store.sessions.end(session.new.id, reason=LossReason.DRAINED))
            # Of a session that is dead already nothing is left after a sweep: the next one returns what it holds.
            if returned or not session.dead:
                assert returned == self.model.end_session(session, LossReason.DRAINED, set(), self.clock.at)
        elif not session.dead:
            self.run(self.store.sessions.renew_server(session.new.id))
            session.lease_until = self.clock.at + session.new.lease_ms

    def _server(self, number: int) -> Session:
        servers = [session for session in self.model.sessions.values() if not session.new.places]
        return servers[number % len(servers)]

    @rule(number=some, kind=st.sampled_from(["queued", "running", "any"]))
    def cancel(self, number: int, kind: str) -> None:
        """What waits is over at once, what runs will be; what ended otherwise is refused. Again is the same."""
        tasks = [
            task
            for task in self.model.tasks.values()
            if kind == "any" or ((kind == "running") is bool(task.lease) and not task.status)
        ]
        if tasks:
            task = tasks[number % len(tasks)]
            (answer,) = self.run(_gathered([self.store.tasks.cancel(task.organization.id, task.new.id)]))

            expected = self.model.cancel(task, self.clock.at)
            assert (answer.status if isinstance(answer, TaskView) else type(answer)) == expected

    # Workers ---------------------------------------------------------------------------------------------------------

    @rule(local=st.booleans(), types=st.lists(st.sampled_from(TYPES), min_size=1, unique=True).map(tuple))
    def new_worker(self, local: bool, types: tuple[str, ...]) -> None:
        """One more worker process."""
        session = a_session(types, local=local)
        self.run(self.store.sessions.open(session))
        self.model.sessions[session.id] = Session(session, self.clock.at + session.lease_ms)
        self.history.types[session.id] = frozenset(types)

    @rule(
        number=some, places=st.sampled_from([0, 1, 2, 4, 4]), held=st.lists(st.tuples(some, endings), max_size=3),
        foreign=st.lists(st.tuples(some, endings), max_size=2),
    )  # fmt: skip
    def exchange(
        self, number: int, places: int, held: list[tuple[int, Ending]], foreign: list[tuple[int, Ending]]
    ) -> None:
        """A worker reports what it holds, now and then what it does not (another's, a former one), and claims."""
        session = self._session(number)
        mine = [task.lease.id for task in self.model.held(session) if task.lease]
        theirs = [task.lease.id for task in self.model.leased() if task.lease and task.lease.id not in mine]
        former = [report.lease_id for one in self.sent[-20:] for report in one.reports]
        every = theirs if theirs and number % 2 else theirs + former
        reports = [Report(mine[choice % len(mine)], ending) for choice, ending in held if mine]
        reports += [Report(every[choice % len(every)], ending) for choice, ending in foreign if every]
        self._send(Exchange(session_id=session.new.id, id=new_id(), places=places, reports=tuple(reports)))

    @rule(number=some, twice=st.booleans())
    def send_again(self, number: int, twice: bool) -> None:
        """An exchange is sent again, once or twice at the same time."""
        if self.sent:
            self._send(self.sent[-1 - number % min(len(self.sent), 6)], copies=1 + twice)

    @rule(ending=endings, places=st.integers(0, 4))
    def settle_all(self, ending: Ending, places: int) -> None:
        """Every living worker reports all it holds, and claims anew."""
        for session in list(self.model.sessions.values()):
            if not session.dead:
                reports = tuple(Report(task.lease.id, ending) for task in self.model.held(session) if task.lease)
                self._send(Exchange(session_id=session.new.id, id=new_id(), places=places, reports=reports))

    def _send(self, one: Exchange, copies: int = 1) -> None:
        replies = self.run(_gathered([self.store.leases.exchange(one) for _ in range(copies)]))
        self.sent.append(one)
        if self.model.sessions[one.session_id].dead:
            assert all(isinstance(reply, SessionGone) for reply in replies)
            return
        reply, *others = replies
        assert isinstance(reply, ExchangeReply), reply
        for other in others:
            assert {lease.id for lease in other.leases} == {lease.id for lease in reply.leases}
        verdicts = self.model.settle(one.reports, one.session_id, self.clock.at)
        assert list(reply.verdicts) == verdicts
        before = self.model.answered(one)
        if before:
            assert sorted(lease.id for lease in reply.leases) == sorted(lease.id for lease in before)
        else:
            unpaid = self.run(self._unpaid())
            self.model.claimed(one, reply.leases, unpaid, self.clock.at, self._ended())
        # I8 compares a start with what its own transaction found: a later one of the same step may end an attempt
        # early, and its organization falls back by what was charged too much.
        self.rows_are_exact()

    async def _unpaid(self) -> list[Task]:
        """The tasks that were ready before this exchange, and that it ended."""
        ready = [task for task in self.model.tasks.values() if task.ready and task.organization.credits_on]
        views = [await self.store.tasks.find(task.organization.id, task.new.id) for task in ready]
        return [task for task, view in zip(ready, views, strict=True) if view and view.status is TaskStatus.FAILED]

    def _ended(self) -> set[str]:
        servers = [session.new.id for session in self.model.sessions.values() if not session.new.places]
        return {ended.id for server in servers for ended in self.run(self.store.calls.ended(server))}

    @rule(number=some, knows=st.booleans(), waits=st.booleans())
    def renew(self, number: int, knows: bool, waits: bool) -> None:
        """A worker keeps its session; leases it never received go back."""
        session = self._session(number)
        held = self.model.held(session)
        known = [task.lease.id for task in held if task.lease and (knows or task.seq % 2)]
        exchanges = [task.exchange_id for task in held if waits]
        (answer,) = self.run(_gathered([self.store.sessions.renew(session.new.id, leases=known, exchanges=exchanges)]))
        if session.dead:
            assert isinstance(answer, SessionGone)
        else:
            self.model.renew(session, set(known), set(exchanges), self.clock.at)
            # A call that nobody waits for keeps its slot to the end of its attempt: only tasks are stopped.
            assert sorted(answer.canceled) == sorted(
                one.lease.id for one in self.model.held(session) if isinstance(one, Task) and one.lease and one.canceled
            )

    @rule(number=some, reason=st.sampled_from(LossReason), late=some)
    def end_session(self, number: int, reason: LossReason, late: int) -> None:
        """A worker process is gone."""
        session = self._session(number)
        overdue = [task.lease.id for task in self.model.held(session) if task.lease][: late % 3]

        returned = self.run(self.store.sessions.end(session.new.id, reason=reason, overdue=overdue))

        assert returned == self.model.end_session(session, reason, set(overdue), self.clock.at)

    # Upkeep ----------------------------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.5, 5, 29, 31, 80]))
    def time_passes(self, seconds: float) -> None:
        """The clock moves."""
        self.clock.advance(seconds)

    @rule()
    def sweep(self) -> None:
        """Expired sessions die; what the dead held, and what is long overdue, goes back."""
        dead = self.run(self.store.sessions.end_expired())
        returned = self.run(self.store.sessions.return_orphans())

        assert sorted(dead) == self.model.expire(self.clock.at)
        assert returned == self.model.return_orphans(self.clock.at)

    @rule(seconds=st.sampled_from([0, 8]))
    def promote(self, seconds: int) -> None:
        """What is due is ready."""
        self.clock.advance(seconds)

        assert self.run(self.store.upkeep.promote()) == self.model.promote(self.clock.at)

    @rule(seconds=st.sampled_from([0, RETENTION_SECONDS]))
    def purge(self, seconds: int) -> None:
        """What is old is gone."""
        self.clock.advance(seconds)
        before = self.clock.at - RETENTION_SECONDS * 1_000

        assert self.run(self.store.upkeep.purge()) == self.model.purge(before)

    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        """The next server takes over; if the database is its alone, the former one's local workers are gone."""
        self.run(self.file.crash() if crash else self.file.reopen())
        self._opened()
        for session in self.model.sessions.values():
            session.dead |= session.new.local and self.store.exclusive

        returned = self.run(self.store.sessions.return_local_leases())
        assert returned == (self.model.return_orphans(self.clock.at, overdue=False) if self.store.exclusive else 0)

    # Operators -------------------------------------------------------------------------------------------------------

    @rule(
        number=some,
        slots=st.sampled_from([None, 1, 2, 5]),
        of_plan=st.sampled_from([None, 1, 4]),
        highest=st.sampled_from([None, None, None, 5]),
    )
    def change_limits(self, number: int, slots: int | None, of_plan: int | None, highest: int | None) -> None:
        """The plan's limits, or an organization's own slots (None: the plan's again)."""
        if number % 2:
            changes = PlanChange(slots=of_plan, priority_limit=highest)
            self.run(self.store.plans.change("pro", changes=changes, actor=ACTOR))
            self.plan_slots = of_plan
            for organization in self.model.organizations.values():
                organization.priority_limit = highest
        else:
            organization = self._organization(number // 2)
            self._change(organization, slots=slots)
            self.overridden[organization.id] = slots
        for organization in self.model.organizations.values():
            own = self.overridden[organization.id]
            organization.slots = self.plan_slots if own is None else own

    @rule(number=some, paused=st.booleans(), disabled=st.booleans())
    def stop_one(self, number: int, paused: bool, disabled: bool) -> None:
        """Nothing starts while paused or disabled; while disabled nothing is accepted. The others go on."""
        chosen = self._organization(number)
        for organization in self.model.organizations.values():
            flags = (paused, disabled) if organization is chosen else (False, False)
            if flags != (organization.paused, organization.disabled):
                self._change(organization, paused=flags[0], disabled=flags[1])
                organization.paused, organization.disabled = flags

    @rule(number=some, amount=st.sampled_from([-3, 1, 2, 5, 5]), twice=st.booleans())
    def grant(self, number: int, amount: int, twice: bool) -> None:
        """Credits are given or taken back, once however often the same grant is asked for."""
        organization, grant_id = self._organization(number), new_id()
        for _ in range(1 + twice):
            self.run(
                self.store.credits.grant(
                    organization.name, grant_id=grant_id, amount=amount, reason="walk", actor=ACTOR
                )
            )
        organization.granted += amount

    @rule(number=some, on=st.sampled_from([True, True, True, False]))
    def switch_credits(self, number: int, on: bool) -> None:
        """Credits are counted from now on, or no more."""
        organization = self._organization(number)
        self._change(organization, credits=on)
        organization.credits_on = on

    def _change(self, organization: Organization, **changes: Any) -> None:
        self.run(self.store.organizations.change(organization.name, changes=OrganizationChange(**changes), actor=ACTOR))

    # What holds after every step -------------------------------------------------------------------------------------

    @invariant()
    def counts_are_exact(self) -> None:
        """I3 and I4. Every fourth step: a count that drifted stays so, and counting took half of the time of a walk."""
        if self.steps % 4 == 0:
            self.counted()

    def counted(self) -> None:
        """I3 and I4: kept numbers equal their rows; every task has exactly one of the four states."""
        assert self.run(self.store.recount.find()) == []
        counted = self.run(self.store.recount.states())
        there = len(self.model.tasks) + len(self.model.calls)
        assert counted == ({1: there} if there else {})
        assert self._ended() == {call.new.id for call in self.model.calls.values() if call.ended}

    @invariant()
    def statuses_are_exact(self) -> None:
        """I2 and I4: what organizations read of their queue, slots and credits is what is there."""
        self.run(self._statuses())

    @invariant()
    def tasks_are_exact(self) -> None:
        """I4 and I9: every task is there, outcomes never change, keys name their one task. Every fourth step."""
        self.steps += 1
        if self.steps % 4 == 0:
            self.run(self._tasks())

    @invariant()
    def rows_are_exact(self) -> None:
        """I1 to I4, I7 to I12 and I17, in the rows themselves. A file of SQLite is read after each step."""
        if isinstance(self.file, SqliteFile):
            with self.file.reader() as rows:
                snapshot = read_snapshot(rows)
            self.history.show(snapshot, self.clock.at)

    async def _statuses(self) -> None:
        for organization in self.model.organizations.values():
            status = await self.store.tasks.status(organization.id)
            queued, processing = self.model.queued(organization), len(self.model.running(organization))
            used = self.model.used(organization)
            ranks = sorted(rank_of(task.new.priority) for task in queued)
            assert (status.queued, status.processing) == (len(queued), processing)
            assert status.priorities == tuple((priority_of(rank), ranks.count(rank)) for rank in dict.fromkeys(ranks))
            assert await self.store.credits.find(organization.id) == self.model.credits(organization)
            assert status.concurrency == (SlotUse(used, organization.slots) if organization.slots else None)

    async def _tasks(self) -> None:
        for task in self.model.tasks.values():
            view = await self.store.tasks.find(task.organization.id, task.new.id)
            assert view is not None, f"task {task.new.id} is lost"
            assert view.status is _status(task)
            if task.status:
                assert view.charged == (task.new.cost if task.status is TaskStatus.COMPLETED else 0)
                task.seen = task.seen or view
                assert view == task.seen
                if task.canceled:
                    assert view.failure == CANCELED
            if len(task.tried) > task.compared:
                task.compared = len(task.tried)
                await self._attempts(task)
        for (organization_id, key), task_id in self.model.keys.items():
            found = await self.store.tasks.find(organization_id, key)
            assert found is not None
            assert found.id == task_id

    async def _attempts(self, task: Task) -> None:
        found = await self.store.attempts.find(task.organization.id, task.new.id)
        running = [(task.attempt, None, None)] if task.lease else []
        assert [(one.number, one.ending, one.due_at) for one in found.attempts] == [*task.tried, *running]
        assert found.omitted == 0


def _status(task: Task) -> TaskStatus:
    return task.status or (TaskStatus.PROCESSING if task.lease else TaskStatus.QUEUED)


async def _gathered(what: list[Any]) -> list[Any]:
    answers = await asyncio.gather(*what, return_exceptions=True)
    for answer in answers:
        # Code that breaks differs from the reference, too: a planted fault that does is none, and proves nothing.
        if isinstance(answer, (TypeError, NameError, AttributeError)):
            raise answer
    return answers
