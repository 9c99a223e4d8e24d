"""A server that does not answer: one line when it falls silent, one with a count when one answers again."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from fairlane.protocol import ExchangeRequest, Renew
from fairlane.worker.server import ServerClient, ServerSilent
from tests.worker.fake_server import FakeServer, Listener

KEY = "wk_live_0123456789abcdef0123456789abcdef"
TRIES = 12


@pytest.fixture
def fake(short_path: Path) -> FakeServer:
    """What the servers of a test have in common."""
    return FakeServer(short_path / "worker.sock")


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """What ends with the test."""
    async with AsyncExitStack() as stack:
        yield stack


async def a_listener(stack: AsyncExitStack, fake: FakeServer, *, tcp: bool) -> tuple[str, Listener]:
    """A server and its address."""
    listener = Listener(fake, tcp=tcp)
    await listener.start()
    stack.push_async_callback(listener.stop)
    return f"http://127.0.0.1:{listener.port}" if tcp else f"unix:{fake.socket_path}", listener


async def ask(server: ServerClient, *, exchanges: bool) -> bool:
    """Whether a renewal or an exchange is answered."""
    try:
        if exchanges:
            await server.exchange(ExchangeRequest(id="one", session="session-1", places=1, wait_seconds=0.0))
        else:
            await server.renew("session-1", Renew(leases=[], exchanges=[]))
    except ServerSilent:
        return False
    return True


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The events of servers."""
    return [one.getMessage() for one in caplog.records if one.getMessage().startswith("server.")]


@pytest.mark.parametrize("exchanges", [True, False])
@pytest.mark.parametrize("tcp", [True, False])
async def test_a_silent_server_is_logged_once_and_counted(
    stack: AsyncExitStack, fake: FakeServer, tcp: bool, exchanges: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Of a local worker and of a remote one, for exchanges and renewals; the next silence is logged again."""
    fake.key = KEY if tcp else None
    address, _ = await a_listener(stack, fake, tcp=tcp)
    server = ServerClient([address], key=fake.key)
    stack.push_async_callback(server.close)

    assert await ask(server, exchanges=exchanges)
    fake.silent = True
    assert not any([await ask(server, exchanges=exchanges) for _ in range(TRIES)])
    assert logged(caplog) == ["server.silent"]
    fake.silent = False
    assert all([await ask(server, exchanges=exchanges) for _ in range(2)])
    assert logged(caplog) == ["server.silent", "server.answered"]
    fake.silent = True
    await ask(server, exchanges=exchanges)

    assert logged(caplog) == ["server.silent", "server.answered", "server.silent"]
    began, ended = (vars(one) for one in caplog.records[:2])
    assert (began["server"], ended["server"], ended["count"]) == (address, address, TRIES)
    assert "status 503" in began["cause"]


async def test_servers_that_are_all_silent_are_each_left_once(
    stack: AsyncExitStack, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """However often a worker turns from one to the other; one that answers and falls silent again is left again."""
    (first, one), (second, _) = [await a_listener(stack, fake, tcp=True) for _ in range(2)]
    server = ServerClient([first, second])
    stack.push_async_callback(server.close)

    await one.stop()
    fake.silent = True
    assert not any([await ask(server, exchanges=False) for _ in range(TRIES)])
    left = ["server.left", "server.silent", "server.left"]
    assert logged(caplog) == left
    fake.silent = False
    assert [await ask(server, exchanges=False) for _ in range(3)][-2:] == [True, True]
    assert logged(caplog) == [*left, "server.answered"]
    fake.silent = True
    await ask(server, exchanges=False)

    assert logged(caplog) == [*left, "server.answered", "server.left", "server.silent"]


async def test_servers_that_all_drain_are_each_left_once(
    stack: AsyncExitStack, fake: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Also beside one that is silent: the answer of a draining server is no end of its silence."""
    (first, one), (second, two), (third, three) = [await a_listener(stack, fake, tcp=True) for _ in range(3)]
    server = ServerClient([first, second, third])
    stack.push_async_callback(server.close)
    fake.draining = {one.port, two.port}
    await three.stop()

    answered = [await ask(server, exchanges=True) for _ in range(TRIES)]

    assert answered == [True, True, False] * (TRIES // 3)
    assert logged(caplog) == ["server.left"] * 3 + ["server.silent"]
