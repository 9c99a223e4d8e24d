"""What servers tell each other of organizations' requests."""

from fairlane.rules.rates import OtherServers, allowance, worth_telling
from fairlane.store import Store
from fairlane.store.rates import ALIVE_MS, FRESH_MS, REPEAT_MS
from tests.store.databases import Clock, PostgresServer

KEY = (1, "/v1/credits")
TOLD = "SELECT at FROM request_count ORDER BY at"


async def test_servers_learn_the_sums_of_the_others(others: list[Store]) -> None:
    """Never their own."""
    seen = [await store.rates.exchange({KEY: count, (count, "x"): 1}) for count, store in enumerate(others, start=2)]
    again = await others[0].rates.exchange({KEY: 5})

    assert seen == [
        OtherServers(1, {}),
        OtherServers(2, {KEY: 2, (2, "x"): 1}),
        OtherServers(3, {KEY: 5, (2, "x"): 1, (3, "x"): 1}),
    ]
    assert again == OtherServers(3, {KEY: 7, (3, "x"): 1, (4, "x"): 1})


async def test_counts_and_servers_are_forgotten(server: PostgresServer, others: list[Store], clock: Clock) -> None:
    """First the counts of a server that is silent, then the server, then its row; a clock that was set back, too."""
    await others[0].rates.exchange({KEY: 2})
    clock.at += FRESH_MS + 1
    silent = await others[1].rates.exchange({})
    clock.at += ALIVE_MS
    ended = await others[1].rates.exchange({})
    clock.at += ALIVE_MS
    await others[1].rates.exchange({})
    rows = server.rows(TOLD)
    clock.at -= 3_600_000

    assert (silent, ended) == (OtherServers(2, {}), OtherServers(1, {}))
    assert len(rows) == 1
    assert await others[2].rates.exchange({}) == OtherServers(1, {})


async def test_a_server_without_counts_writes_rarely(server: PostgresServer, others: list[Store], clock: Clock) -> None:
    """Once that it has none any more, and that it is alive."""
    store, began = others[0], clock.at
    for counts in ({KEY: 2}, {}, {}, {}):
        await store.rates.exchange(counts)
        clock.at += 1_000
    quiet = server.rows(TOLD)
    clock.at += REPEAT_MS
    await store.rates.exchange({})

    assert quiet == [(began + 1_000,)]
    assert server.rows(TOLD) == [(clock.at,)]


async def test_the_only_server_tells_nothing(store: Store) -> None:
    """On SQLite; on PostgreSQL it hears nothing."""
    assert await store.rates.exchange({KEY: 2}) == OtherServers()


def test_shares_make_up_the_limit() -> None:
    """What is not used is left to the others; beyond the limit each has its share of the requests."""
    assert [allowance(100, mine=mine, others=30, servers=2) for mine in (0, 20, 70)] == [70, 70, 70]
    assert [allowance(100, mine=mine, others=200 - mine, servers=2) for mine in (20, 60, 180)] == [10, 30, 90]
    assert allowance(100, mine=0, others=500, servers=4) == 25
    assert allowance(100, mine=9, others=0, servers=2) == 100
    assert allowance(1, mine=1, others=1_000, servers=2) == 1


def test_what_is_not_told_is_a_tenth_at_most() -> None:
    """Of all servers together."""
    untold = max(count for count in range(100) if not worth_telling(count, 100, 5))

    assert (untold, untold * 5) == (2, 10)
