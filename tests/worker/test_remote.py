"""Workers away from their server: over TCP, with a key, and with more than one server to turn to."""

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trustme

from fairlane.worker.supervisor import Supervisor, any_order
from tests.worker.conftest import a_supervisor, eventually
from tests.worker.fake_server import FakeServer, Listener

KEY = "wk_live_0123456789abcdef0123456789abcdef"

Served = Callable[..., object]


@asynccontextmanager
async def tcp(fake: FakeServer, **options: object) -> AsyncIterator[Listener]:
    """The fake server, also on a TCP port."""
    listener = Listener(fake, tcp=True, **options)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop()


@asynccontextmanager
async def joined(fake: FakeServer, *servers: str, key: str | None = KEY) -> AsyncIterator[Supervisor]:
    """A supervisor of one worker for these servers, to be tried in this order."""
    supervisor = a_supervisor(fake, servers=servers, key=key, wait_seconds=1.0, order=tuple)
    await supervisor.start()
    try:
        yield supervisor
    finally:
        await supervisor.stop()


@pytest.fixture
def fake(tmp_path: Path) -> FakeServer:
    """What two servers on one database have in common; the unix socket is not listened on."""
    made = FakeServer(tmp_path / "unused.sock")
    made.key = KEY
    return made


def said(caplog: pytest.LogCaptureFixture) -> str:
    """Why the supervisor got no answer, as its log says."""
    records = [record for record in caplog.records if record.message == "session.unopened"]
    return "\n".join(record.__dict__["cause"] for record in records)


async def run(fake: FakeServer, *leases: str) -> None:
    """Until these attempts were reported."""
    await fake.changed()
    await eventually(lambda: all(lease in fake.reports for lease in leases), seconds=20)


async def test_remote_worker_shows_its_key_and_is_not_local(fake: FakeServer) -> None:
    """A worker joined over TCP runs what it is given, and never claims to hold the server's lock."""
    async with tcp(fake) as listener, joined(fake, f"http://127.0.0.1:{listener.port}"):
        lease = fake.put("ADD", {"n": 1})

        await run(fake, lease)

    assert [registration.local for registration in fake.registered.values()] == [False]
    assert fake.reports[lease].outcome == "completed"


async def test_child_of_a_server_is_local(server: FakeServer) -> None:
    """The control: over the unix socket the session says that it is the server's own."""
    async with joined(server, f"unix:{server.socket_path}", key=None) as supervisor:
        await asyncio.wait_for(supervisor.ready(), 20)

    assert [registration.local for registration in server.registered.values()] == [True]


async def test_refused_key_ends_the_supervisor_with_a_message(fake: FakeServer) -> None:
    """A wrong key is not tried for ever: the supervisor says who refused it, and starts no further process."""
    async with tcp(fake) as listener, joined(fake, f"http://127.0.0.1:{listener.port}", key="wrong") as supervisor:
        await eventually(lambda: supervisor.broken is not None, seconds=20)

    assert supervisor.broken is not None
    assert "the server refuses this worker" in supervisor.broken
    assert "401" in supervisor.broken
    assert not fake.registered


async def test_worker_turns_to_the_next_server_when_one_dies(fake: FakeServer) -> None:
    """The death of one of two servers on one database costs nothing: the session and its leases go on at the other."""
    async with AsyncExitStack() as stack:
        first = Listener(fake, tcp=True)
        await first.start()
        second = await stack.enter_async_context(tcp(fake))
        addresses = [f"http://127.0.0.1:{listener.port}" for listener in (first, second)]
        await stack.enter_async_context(joined(fake, *addresses))
        before = fake.put("ADD", {"n": 1})
        await run(fake, before)
        assert {port for port, _ in fake.asked} == {first.port}

        await first.stop()
        after = [fake.put("ADD", {"n": n}) for n in range(20)]
        await run(fake, *after)

    assert len(fake.registered) == 1, "the session went on"
    assert second.port in {port for port, path in fake.asked if path.endswith("exchange")}
    assert all(fake.reports[lease].outcome == "completed" for lease in after)


async def test_each_process_has_an_order_of_its_own(fake: FakeServer) -> None:
    """Workers that are given the same addresses do not all begin at the first."""
    async with tcp(fake) as first, tcp(fake) as second:
        addresses = [f"http://127.0.0.1:{listener.port}" for listener in (first, second)]
        orders = iter([addresses, addresses, addresses[::-1]])  # the supervisor's, and those of two processes
        supervisor = a_supervisor(
            fake, servers=addresses, key=KEY, count=2, wait_seconds=1.0, order=lambda servers: next(orders)
        )
        await supervisor.start()

        await eventually(lambda: len({port for port, path in fake.asked if path.endswith("exchange")}) == 2, seconds=20)

        await supervisor.stop()


def test_any_order_is_every_order() -> None:
    """Each address comes first now and then, and none is lost."""
    seen = {tuple(any_order(["a", "b", "c"])) for _ in range(500)}

    assert seen == set(itertools.permutations("abc"))


async def test_worker_leaves_a_draining_server(fake: FakeServer) -> None:
    """A server that says it is going away gets no further exchanges while another is there."""
    async with tcp(fake) as first, tcp(fake) as second:
        addresses = [f"http://127.0.0.1:{listener.port}" for listener in (first, second)]
        async with joined(fake, *addresses):
            lease = fake.put("ADD", {"n": 1})
            await run(fake, lease)

            fake.draining = {first.port}
            await eventually(lambda: (second.port, "/worker/v1/exchange") in fake.asked)
            before = len(fake.asked)
            later = [fake.put("ADD", {"n": n}) for n in range(5)]
            await run(fake, *later)

            assert {port for port, path in fake.asked[before:] if path.endswith("exchange")} == {second.port}


async def test_worker_starts_before_its_server(fake: FakeServer, caplog: pytest.LogCaptureFixture) -> None:
    """A worker that finds nobody waits; it needs no start again when the server comes."""
    late = Listener(fake, tcp=True)
    nobody = f"http://127.0.0.1:{late.port}"
    async with joined(fake, nobody) as supervisor:
        await eventually(lambda: said(caplog), seconds=20)
        await late.start()
        await asyncio.wait_for(supervisor.ready(), 20)
    await late.stop()

    assert len(said(caplog).splitlines()) == 1, "it is said once, however often it is tried"
    assert supervisor.broken is None
    assert len(fake.registered) == 1


async def test_worker_begins_at_whoever_is_there(fake: FakeServer) -> None:
    """The first address in its list leads nowhere: the next one does."""
    unused = Listener(fake, tcp=True)
    async with tcp(fake) as listener:
        nobody, somebody = (f"http://127.0.0.1:{one.port}" for one in (unused, listener))
        async with joined(fake, nobody, somebody) as supervisor:
            await asyncio.wait_for(supervisor.ready(), 20)
    unused.socket.close()

    assert supervisor.broken is None
    assert len(fake.registered) == 1


async def test_tls_is_checked_against_the_trusted_roots(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Over https the server's certificate must be one the machine trusts; SSL_CERT_FILE names a root of one's own."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    root, chain, private = (tmp_path / name for name in ("root.pem", "chain.pem", "key.pem"))
    authority.cert_pem.write_to_path(str(root))
    certificate.private_key_pem.write_to_path(str(private))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    async with tcp(fake, ssl_certfile=str(chain), ssl_keyfile=str(private)) as listener:
        address = f"https://127.0.0.1:{listener.port}"

        async with joined(fake, address) as stranger:
            await eventually(lambda: "certificate is not trusted" in said(caplog), seconds=20)
            assert not stranger.children[0].ready.is_set()
        assert not fake.asked, "an unknown root must not be trusted, nor told a key"

        monkeypatch.setenv("SSL_CERT_FILE", str(root))
        assert ssl.get_default_verify_paths().cafile == str(root)
        async with joined(fake, address) as supervisor:
            await asyncio.wait_for(supervisor.ready(), 20)

    assert len(fake.registered) == 1
