"""How often a login may be tried, from where it comes, and that no login is locked out by others for long."""

from typing import Any

import pytest

from fairlane.api.http import Request
from fairlane.dashboard import tries
from fairlane.dashboard.tries import BURST, REFILL_SECONDS, Tries, caller_address
from fairlane.errors import LoginLimited
from fairlane.settings import Settings, read_settings


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The clock of ``door``."""
    return Clock()


@pytest.fixture
def door(clock: Clock) -> Tries:
    """A fresh one: no login was tried yet."""
    return Tries(clock=clock)


def allowed(door: Tries, address: str = "203.0.113.9", digest: str = "wrong", *, most: int = 100) -> int:
    """How many failing tries are looked up before the first that is not."""
    for number in range(most):
        try:
            door.begin(address, digest)
        except LoginLimited:
            return number
        door.fail(address, digest)
    return most


def test_one_try_comes_back_every_few_seconds(door: Tries, clock: Clock) -> None:
    """Not a moment earlier, and after a while without tries the whole burst: a count is no lock."""
    assert allowed(door) == BURST

    clock.at += REFILL_SECONDS - 0.01
    early = allowed(door)
    clock.at += 0.01
    one = allowed(door)
    clock.at += BURST * REFILL_SECONDS

    assert (early, one, allowed(door)) == (0, 1, BURST)


def test_a_key_accepted_lately_is_not_locked_out_by_its_neighbours(door: Tries) -> None:
    """Behind one address, while another never stops trying: the known key is looked up, an unknown key is not."""
    door.begin("203.0.113.9", "right")
    door.open("203.0.113.9", "right")

    allowed(door)

    door.begin("203.0.113.9", "right")
    door.open("203.0.113.9", "right")
    assert allowed(door, digest="another") == 0


def test_a_key_that_was_revoked_is_a_stranger_again(door: Tries) -> None:
    """Its first try fails; from then on it counts."""
    door.begin("203.0.113.9", "revoked")
    door.open("203.0.113.9", "revoked")
    allowed(door)

    door.begin("203.0.113.9", "revoked")
    door.fail("203.0.113.9", "revoked")

    assert allowed(door, digest="revoked") == 0


def test_logins_that_succeed_use_up_no_tries(door: Tries) -> None:
    """An office behind one address logs in in the morning."""
    for number in range(3 * BURST):
        door.begin("203.0.113.9", f"key {number}")
        door.open("203.0.113.9", f"key {number}")

    assert allowed(door) == BURST


def test_tries_at_the_same_time_share_what_is_left(door: Tries) -> None:
    """Each counts before its key is looked up, so that a thousand at once are no thousand lookups."""
    for _ in range(BURST):
        door.begin("203.0.113.9", "wrong")

    with pytest.raises(LoginLimited):
        door.begin("203.0.113.9", "wrong")


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many addresses and keys there are; the least recently used is dropped first."""
    monkeypatch.setattr(tries, "NAMES_MOST", 100)
    door = Tries(clock=lambda: 0.0)
    allowed(door, "busy")

    for number in range(1_000):
        door.begin(f"address {number}", f"key {number}")
        door.open(f"address {number}", f"key {number}")
        assert allowed(door, "busy") == 0

    assert [len(door.failed.paid_until), len(door.opened.paid_until), len(door.trusted)] == [100] * 3


# From where it comes -------------------------------------------------------------------------------------------------


def a_request(peer: str | None, *forwarded: str) -> Request:
    """A request of this peer with these headers."""
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope: dict[str, Any] = {"type": "http", "client": None if peer is None else (peer, 1), "headers": headers}
    return Request(scope, None, id="x")  # type: ignore[arg-type]


PROXIES = "127.0.0.1, ::1, 10.0.0.0/8"


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("203.0.113.9", (), "203.0.113.9"),
        ("203.0.113.9", ("198.51.100.7",), "203.0.113.9"),  # a stranger's own word
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("127.0.0.1", ("198.51.100.7, 203.0.113.9",), "203.0.113.9"),  # what was there before our proxy wrote
        ("127.0.0.1", ("198.51.100.7", "203.0.113.9"), "203.0.113.9"),
        ("10.1.1.1", ("203.0.113.9, 10.2.2.2",), "203.0.113.9"),  # two of our proxies
        ("10.1.1.1", ("10.3.3.3, 10.2.2.2",), "10.3.3.3"),  # a caller inside
        ("127.0.0.1", ("203.0.113.9, unknown",), "127.0.0.1"),
        ("127.0.0.1", ("",), "127.0.0.1"),
        ("127.0.0.1", ("127.0.0.1," * 2_000,), "127.0.0.1"),
        ("::ffff:127.0.0.1", ("203.0.113.9",), "203.0.113.9"),
        ("::1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        ("2001:db8:1:2::7", (), "2001:db8:1:2::/64"),
        ("uid=1000", ("203.0.113.9",), "uid=1000"),
        (None, ("203.0.113.9",), ""),
    ],
)
def test_the_address_is_the_last_that_a_proxy_of_ours_saw(
    peer: str | None, forwarded: tuple[str, ...], address: str
) -> None:
    """What a caller may write itself is never believed; of IPv6 the network counts."""
    assert caller_address(a_request(peer, *forwarded), Settings(trusted_proxies=PROXIES).proxies()) == address


def test_without_proxies_no_header_is_believed() -> None:
    """An empty setting trusts not even this machine."""
    none = read_settings({}, {"FAIRLANE_TRUSTED_PROXIES": ""}).proxies()

    assert caller_address(a_request("127.0.0.1", "203.0.113.9"), none) == "127.0.0.1"


@pytest.mark.parametrize("value", ["localhost", "10.0.0.1/8", "10.0.0.0/33"])
def test_proxies_are_addresses_and_networks(value: str) -> None:
    """Anything else ends the start."""
    with pytest.raises(ValueError, match="trusted_proxies must be addresses or networks"):
        Settings(trusted_proxies=value)
