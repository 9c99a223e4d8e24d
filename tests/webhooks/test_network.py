"""No webhook reaches an address that is not public: not by a literal, a name, a second answer, or a redirect."""

import asyncio
import socket
import threading
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

import dnslib
import dnslib.server
import pytest
from ssrfguard.resolvers import UdpResolver

from fairlane.webhooks import network
from fairlane.webhooks.addresses import Address
from fairlane.webhooks.guard import Reach
from fairlane.webhooks.network import SystemLookup, is_this_machine
from fairlane.webhooks.poster import Outgoing, Poster
from tests.tables import each
from tests.webhooks.receiver import Dialled, Listen, Receiver, answer, names, post
from tests.webhooks.vectors import FORBIDDEN_ADDRESSES, REFUSED_URLS

PUBLIC = Reach()
SOMEWHERE = "93.184.215.14"
ELSEWHERE = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


@each("url", REFUSED_URLS)
async def test_a_url_that_slipped_in_is_not_sent_to(url: str, dialled: Dialled) -> None:
    """The URL is checked again at each try: it may be older than a rule, or written past the API."""
    reach = Reach(own_hosts=frozenset({"fairlane.example"}))

    result = await post(url, reach=reach, lookup=names(ok=[SOMEWHERE]))

    assert (result.error, result.http_status, dialled) == ("refused_by_policy", None, [])


@each("address", FORBIDDEN_ADDRESSES)
async def test_a_name_of_a_forbidden_address_is_not_connected_to(
    address: str, dialled: Dialled, listen: Listen
) -> None:
    """Alone, or before or after any number of public ones."""
    local = await listen()

    for answers in ([address], [SOMEWHERE, address], [address, ELSEWHERE], [SOMEWHERE] * 9 + [address]):
        result = await post(f"http://receiver.example:{local.port}/", reach=PUBLIC, lookup=names(receiver=answers))
        assert (result.delivered, result.error, result.http_status) == (False, "refused_by_policy", None)

    assert dialled == []
    assert local.connections == 0


@each("host", ["127.0.0.1", "[::1]", "localhost", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"])
async def test_this_machines_ports_stay_closed(host: str, dialled: Dialled, listen: Listen) -> None:
    """Something does listen there, and hears nothing."""
    local = await listen()

    result = await post(f"http://{host}:{local.port}/", reach=PUBLIC, lookup=SystemLookup(absolute=True))

    assert result.error == "refused_by_policy"
    assert (local.connections, dialled) == (0, [])


async def test_only_what_was_checked_is_connected_to(dialled: Dialled) -> None:
    """Each address of the one lookup is tried in turn, four at the most, and the name is not asked for again."""
    asked = []
    answers = [ELSEWHERE, SOMEWHERE, "1.1.1.1", "8.8.8.8", "9.9.9.9"]

    async def lookup(host: str) -> Sequence[Address]:
        asked.append(host)
        return [ip_address(answer) for answer in answers]

    result = await post("http://receiver.example/", reach=PUBLIC, lookup=lookup)

    assert asked == ["receiver.example"]
    assert dialled == [(address, 80) for address in answers[:4]]
    assert result.error == "connection"


async def test_a_name_that_moves_between_tries_is_checked_at_each(dialled: Dialled, listen: Listen) -> None:
    """Rebinding with a TTL of 0: public when first asked, this machine from then on."""
    local = await listen()
    asked = []

    async def lookup(host: str) -> Sequence[Address]:
        asked.append(host)
        return [ip_address(SOMEWHERE if len(asked) == 1 else "127.0.0.1")]

    poster = Poster(reach=PUBLIC, lookup=lookup)
    url = f"http://receiver.example:{local.port}/"
    results = [await poster.post(url, body=Outgoing(b"{}"), headers=dict) for _ in range(3)]

    assert [result.error for result in results] == ["connection", "refused_by_policy", "refused_by_policy"]
    assert dialled == [(SOMEWHERE, local.port)]
    assert local.connections == 0


async def test_an_unknown_name_looks_like_a_forbidden_one(dialled: Dialled) -> None:
    """So that nobody learns through us which names our network knows."""
    unknown = await post("http://unknown.example/", reach=PUBLIC)
    private = await post("http://receiver.example/", reach=PUBLIC)

    assert (unknown.error, unknown.cause) == (private.error, private.cause) == ("refused_by_policy", None)
    assert dialled == []


async def test_a_redirect_to_this_machine_is_not_followed(dialled: Dialled, listen: Listen) -> None:
    """Not even where private addresses are allowed: no Location is ever read."""
    local = await listen()
    for status in (301, 302, 303, 307, 308):
        location = f"http://127.0.0.1:{local.port}/"
        script = answer(b"HTTP/1.1 %d Go\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % (status, location.encode()))
        far = await listen(Receiver(script))

        result = await post(f"http://receiver.example:{far.port}/")

        assert (result.delivered, result.error, result.http_status) == (False, "status", status)
    assert local.connections == 0
    assert len(dialled) == 5


async def test_proxies_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, dialled: Dialled, listen: Listen
) -> None:
    """A proxy would look the name up itself."""
    proxy, far = await listen(), await listen()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv(name.lower(), f"http://127.0.0.1:{proxy.port}")

    result = await post(f"http://receiver.example:{far.port}/")

    assert result.delivered
    assert dialled == [("127.0.0.1", far.port)]


async def test_our_own_public_address_is_refused(monkeypatch: pytest.MonkeyPatch, dialled: Dialled) -> None:
    """What listens on this machine may be closed to the internet by a firewall that does not stand in our own way."""
    monkeypatch.setattr("fairlane.webhooks.network.is_this_machine", lambda address: str(address) == SOMEWHERE)

    result = await post("http://receiver.example/", reach=PUBLIC, lookup=names(receiver=[SOMEWHERE]))

    assert (result.error, dialled) == ("refused_by_policy", [])


def test_this_machine_is_known_by_its_addresses() -> None:
    """Found without sending anything."""
    assert is_this_machine(ip_address("127.0.0.1"))
    assert is_this_machine(ip_address("::1"))
    assert not is_this_machine(ip_address("192.0.2.1"))
    assert not is_this_machine(ip_address("2001:db8::1"))


# Real lookups ---------------------------------------------------------------------------------------------------------


class Zone:
    """A hostile name server: TTL 0, another answer each time, chains of aliases, both families."""

    def __init__(self) -> None:
        self.asked = 0

    def resolve(self, request: dnslib.DNSRecord, handler: object) -> dnslib.DNSRecord:
        reply = request.reply()
        name = str(request.q.qname)
        wants_v4 = request.q.qtype == dnslib.QTYPE.A
        if name == "moves.example.":
            self.asked += wants_v4
            if wants_v4:
                reply.add_answer(*dnslib.RR.fromZone(f"{name} 0 A {SOMEWHERE if self.asked == 1 else '127.0.0.1'}"))
        elif name == "alias.example.":
            reply.add_answer(*dnslib.RR.fromZone(f"{name} 0 CNAME next.example.\nnext.example. 0 CNAME inside.corp."))
            if wants_v4:
                reply.add_answer(*dnslib.RR.fromZone("inside.corp. 0 A 10.0.0.7"))
        elif name == "mixed.example.":
            record = f"{name} 0 A {SOMEWHERE}" if wants_v4 else f"{name} 0 AAAA ::1"
            reply.add_answer(*dnslib.RR.fromZone(record))
        else:
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        return reply


@pytest.fixture
def name_server() -> Iterator[UdpResolver]:
    """A resolver that asks a hostile zone on this machine."""
    server = dnslib.server.DNSServer(Zone(), address="127.0.0.1", port=0, logger=dnslib.server.DNSLogger("-pass"))
    port = server.server.server_address[1]
    server.start_thread()
    yield UdpResolver(nameservers=("127.0.0.1",), nameserver_port=port, timeout=5.0)
    server.stop()
    server.server.server_close()


async def test_a_hostile_zone_cannot_lead_us_inside(name_server: UdpResolver, dialled: Dialled, listen: Listen) -> None:
    """Rebinding, alias chains and mixed answers, over the wire."""
    local = await listen()

    async def lookup(host: str) -> Sequence[Address]:
        try:
            found = await asyncio.to_thread(name_server, host, local.port)
        except socket.gaierror:
            return ()
        return [ip_address(address[0]) for *_, address in found]

    poster = Poster(reach=PUBLIC, lookup=lookup)
    errors = [
        (await poster.post(f"http://{name}.example:{local.port}/", body=Outgoing(b"{}"), headers=dict)).error
        for name in ("moves", "moves", "alias", "mixed", "unknown")
    ]

    assert errors == ["connection"] + ["refused_by_policy"] * 4
    assert dialled == [(SOMEWHERE, local.port)]
    assert local.connections == 0


async def test_the_system_finds_this_machine() -> None:
    """The system's resolver is asked, in a thread of its own."""
    found = await SystemLookup(absolute=False)("localhost")

    assert set(found) <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert found


async def test_a_lookup_that_hangs_delays_neither_the_try_nor_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be interrupted; so it is left behind, and later tries join it instead of hanging one more."""
    released = threading.Event()
    asked = []

    def slow(host: bytes, *_: object, **__: object) -> list[tuple]:
        asked.append(host)
        if host == b"hangs.example.":
            released.wait(30)
            return [(socket.AF_INET, 1, 6, "", ("10.0.0.1", 0))]
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    lookup = SystemLookup(absolute=True)
    poster = Poster(reach=PUBLIC, lookup=lookup, timeout_seconds=0.05)

    first = await poster.post("http://hangs.example/", body=Outgoing(b"{}"), headers=dict)
    second = await poster.post("http://hangs.example/", body=Outgoing(b"{}"), headers=dict)
    other = await poster.post("http://other.example/", body=Outgoing(b"{}"), headers=dict)
    joined = asyncio.ensure_future(lookup("hangs.example"))
    await asyncio.sleep(0)
    released.set()

    assert [first.error, second.error, other.error] == ["timeout", "timeout", "refused_by_policy"]
    assert await joined == (ip_address("10.0.0.1"),)
    assert asked == [b"hangs.example.", b"other.example."]


async def test_names_that_hang_leave_look_ups_to_other_organizations(monkeypatch: pytest.MonkeyPatch) -> None:
    """An organization has its share, and beyond the common places each other one has one of the reserve."""
    released = threading.Event()
    asked = []

    def slow(host: bytes, *_: object, **__: object) -> list[tuple]:
        asked.append(host.decode().split(".")[0])
        if host.startswith(b"hangs"):
            released.wait(30)
        return [(socket.AF_INET, 1, 6, "", ("10.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    for name, value in {"LOOKUPS_MAX": 6, "LOOKUPS_RESERVED": 2, "LOOKUPS_OWNER_MAX": 3}.items():
        monkeypatch.setattr(network, name, value)
    lookup = SystemLookup(absolute=True)
    waiting = [
        asyncio.ensure_future(lookup.of(organization)(f"hangs-{organization}-{number}.example"))
        for organization in (1, 2)
        for number in range(4)
    ]
    await asyncio.sleep(0)

    found = await asyncio.wait_for(lookup.of(3)("quick.example"), 10)

    assert found == (ip_address("10.0.0.1"),)
    assert sorted(asked) == ["hangs-1-0", "hangs-1-1", "hangs-1-2", "hangs-2-0", "quick"]
    released.set()
    await asyncio.wait_for(asyncio.gather(*waiting), 10)
    assert len(asked) == 9
