"""Fair shares: service in proportion to weights, no credit for idleness, nobody starves."""

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable

import pytest

from fairlane.model.leases import Lease, Report
from fairlane.model.organizations import Organization, OrganizationChange
from fairlane.store import Store
from tests.builders import ACTOR, DONE, IMAGE, PAGE, Worker, a_task, a_worker, an_organization, submitted
from tests.store.databases import Clock, Database


async def _backlog(store: Store, organization: Organization, count: int, task_type: str = PAGE) -> None:
    await store.tasks.submit(organization.id, [a_task(task_type) for _ in range(count)])


class Floor:
    """Busy places of one worker: each attempt lasts as long as its organization's name says."""

    def __init__(self, worker: Worker, clock: Clock, *, places: int, milliseconds: dict[str, int]) -> None:
        self._worker = worker
        self._clock = clock
        self._free = places
        self._milliseconds = milliseconds
        self._running: list[tuple[int, int, Lease]] = []
        self._numbers = itertools.count()

    async def run(self, attempts: int) -> Counter[str]:
        """Let this many attempts end, refilling each place at once; milliseconds of service by organization."""
        service: Counter[str] = Counter()
        self._start(await self._worker.take(self._free))
        for _ in range(attempts):
            ends_at, _, lease = heapq.heappop(self._running)
            self._free += 1
            self._clock.at = ends_at
            service[lease.organization] += self._milliseconds[lease.organization]
            self._start((await self._worker.exchange(Report(lease.id, DONE), places=self._free)).leases)
        return service

    def _start(self, leases: Iterable[Lease]) -> None:
        for lease in leases:
            self._free -= 1
            ends_at = self._clock.at + self._milliseconds[lease.organization]
            heapq.heappush(self._running, (ends_at, next(self._numbers), lease))


@pytest.mark.parametrize(("fast_ms", "slow_ms"), [(100, 100), (100, 350)])
async def test_service_follows_weights(store: Store, clock: Clock, fast_ms: int, slow_ms: int) -> None:
    """Two organizations with a lasting backlog and weights 1 and 3 are served 1 to 3 in milliseconds (I8)."""
    light = await an_organization(store, slots=20, weight=1)
    heavy = await an_organization(store, slots=20, weight=3)
    worker, places = await a_worker(store), 6
    await _backlog(store, light, 300)
    await _backlog(store, heavy, 300)
    floor = Floor(worker, clock, places=places, milliseconds={light.name: slow_ms, heavy.name: fast_ms})
    await floor.run(40)  # the estimate settles

    service = await floor.run(200)

    apart = abs(service[light.name] / 1 - service[heavy.name] / 3)
    assert apart <= (1 + places) * max(fast_ms, slow_ms)


async def test_organizations_of_equal_weight_take_turns(store: Store) -> None:
    """One place after the other goes to whoever was served least."""
    organizations = [await an_organization(store, slots=5) for _ in range(3)]
    worker = await a_worker(store)
    for organization in organizations:
        await _backlog(store, organization, 5)

    rounds = [[(await worker.take_one()).organization for _ in range(3)] for _ in range(3)]

    assert all(len(set(names)) == 3 for names in rounds)


async def test_one_claim_of_many_places_is_shared_as_single_ones_would_be(store: Store) -> None:
    """Eight places over weights 1 and 3 are dealt 2 and 6."""
    light, heavy = await an_organization(store, slots=9, weight=1), await an_organization(store, slots=9, weight=3)
    await _backlog(store, light, 20)
    await _backlog(store, heavy, 20)

    dealt = Counter(lease.organization for lease in await (await a_worker(store)).take(8))

    assert dealt == {light.name: 2, heavy.name: 6}


async def test_an_idle_organization_banks_no_credit(store: Store, clock: Clock) -> None:
    """Who comes back after the other was served alone for long shares from now on; nothing is made up for."""
    busy, idle = await an_organization(store, slots=20), await an_organization(store, slots=20)
    worker = await a_worker(store)
    floor = Floor(worker, clock, places=4, milliseconds={busy.name: 100, idle.name: 100})
    await _backlog(store, busy, 400)
    await floor.run(100)
    await _backlog(store, idle, 200)

    service = await floor.run(60)

    assert abs(service[busy.name] - service[idle.name]) <= 5 * 2 * 100


async def test_an_idle_organization_banks_no_credit_over_a_restart(database: Database) -> None:
    """The server that starts anew knows how far everybody was served: a newcomer shares, it does not take all."""
    clock, store = database.clock, database.store
    busy = await an_organization(store, slots=20)
    await _backlog(store, busy, 400)
    await Floor(await a_worker(store), clock, places=4, milliseconds={busy.name: 100}).run(100)

    store = await database.reopen()
    idle = await an_organization(store, slots=20)
    await _backlog(store, idle, 200)
    floor = Floor(await a_worker(store), clock, places=4, milliseconds={busy.name: 100, idle.name: 100})
    service = await floor.run(60)

    assert abs(service[busy.name] - service[idle.name]) <= 5 * 2 * 100


async def test_who_was_held_back_by_its_own_limit_is_not_punished(store: Store, clock: Clock) -> None:
    """With few slots an organization gets them all, all the time, beside one that could use every place."""
    narrow, wide = await an_organization(store, slots=1), await an_organization(store, slots=50)
    worker = await a_worker(store)
    await _backlog(store, narrow, 50)
    await _backlog(store, wide, 300)

    floor = Floor(worker, clock, places=5, milliseconds={narrow.name: 100, wide.name: 100})
    await floor.run(40)

    service = await floor.run(100)

    assert service[narrow.name] >= 19 * 100


async def test_a_flood_starves_nobody(store: Store, clock: Clock) -> None:
    """However much one submits, a newcomer's first task starts within as many picks as there are organizations."""
    flood = await an_organization(store, slots=50)
    worker = await a_worker(store)
    for _ in range(5):
        await _backlog(store, flood, 400)
    await Floor(worker, clock, places=2, milliseconds={flood.name: 100}).run(30)
    newcomer = await an_organization(store, slots=1)
    await _backlog(store, newcomer, 1)

    picks = [(await worker.take_one()).organization for _ in range(2)]

    assert newcomer.name in picks


@pytest.mark.parametrize("slow_type", [IMAGE, PAGE])
async def test_slow_tasks_are_charged_for_what_they_took(store: Store, clock: Clock, slow_type: str) -> None:
    """An organization of slow tasks starts fewer of them: shares are of time, not of tasks. So it is with tasks of the
    same type, which have one estimate: what is above it is paid."""
    slow, fast = await an_organization(store, slots=20), await an_organization(store, slots=20)
    worker = await a_worker(store)
    await _backlog(store, slow, 200, slow_type)
    await _backlog(store, fast, 400, PAGE)
    floor = Floor(worker, clock, places=4, milliseconds={slow.name: 400, fast.name: 100})
    await floor.run(40)

    service = await floor.run(200)

    assert abs(service[slow.name] - service[fast.name]) <= (1 + 4) * 400


async def test_places_are_dealt_by_the_duration_of_the_next_task(store: Store, clock: Clock) -> None:
    """A slow type further behind in an organization's queue does not make its next tasks count as slow."""
    ahead, behind = await an_organization(store, slots=5), await an_organization(store, slots=5)
    worker = await a_worker(store)
    await submitted(store, ahead, a_task(IMAGE))
    slow = await worker.take_one()
    clock.advance(30)
    await worker.settle(slow)
    await submitted(store, behind, a_task(PAGE), a_task(PAGE), a_task(IMAGE))
    await _backlog(store, ahead, 2)

    picks = [lease.organization for lease in (await worker.exchange(places=2)).leases]

    assert picks == [behind.name, behind.name]


async def test_a_changed_weight_acts_from_then_on(store: Store, clock: Clock) -> None:
    """After the change service follows the new weights."""
    one, other = await an_organization(store, slots=20), await an_organization(store, slots=20)
    worker = await a_worker(store)
    await _backlog(store, one, 300)
    await _backlog(store, other, 300)
    floor = Floor(worker, clock, places=4, milliseconds={one.name: 100, other.name: 100})
    await floor.run(40)
    await store.organizations.change(one.name, changes=OrganizationChange(weight=3), actor=ACTOR)

    service = await floor.run(120)

    assert abs(service[one.name] / 3 - service[other.name]) <= (1 + 4) * 100


async def test_an_attempt_cut_short_by_an_outage_is_not_charged_for_the_outage(database: Database) -> None:
    """After the server was away for a day, whose tasks ran then is served like everybody else."""
    clock, store = database.clock, database.store
    ran, other = await an_organization(store, slots=20), await an_organization(store, slots=20)
    worker = await a_worker(store, local=True)
    milliseconds = {ran.name: 100, other.name: 100}
    await _backlog(store, ran, 200)
    await Floor(worker, clock, places=4, milliseconds=milliseconds).run(20)

    store = await database.crash()
    clock.advance(86_400)
    await store.sessions.return_local_leases()
    await _backlog(store, other, 200)
    floor = Floor(await a_worker(store), clock, places=4, milliseconds=milliseconds)
    await floor.run(20)
    service = await floor.run(80)

    assert service[ran.name] > 0
