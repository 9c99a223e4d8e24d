"""What the address guard says to a URL when a task is submitted."""

from ipaddress import ip_address

import pytest

from fairlane.errors import ValidationRefused
from fairlane.webhooks.addresses import is_public
from fairlane.webhooks.guard import (
    BAD_HOST,
    BAD_PORT,
    BAD_SHAPE,
    DEFAULT_PORTS,
    Reach,
    WebhookTarget,
    are_allowed,
    check_url,
    read_ports,
)
from tests.tables import each
from tests.webhooks.vectors import ALLOWED_URLS, FORBIDDEN_ADDRESSES, PUBLIC_ADDRESSES, REFUSED_URLS

MESSAGES = {"shape": BAD_SHAPE, "host": BAD_HOST, "port": BAD_PORT}
PUBLIC = Reach(own_hosts=frozenset({"fairlane.example", "8.8.4.4"}))


def refusal(url: str, reach: Reach = PUBLIC) -> str:
    """The message with which this URL is refused."""
    with pytest.raises(ValidationRefused) as caught:
        check_url(url, reach)
    [place] = caught.value.details
    assert place["field"] == "webhook.url"
    return place["message"]


@each("url, reason", REFUSED_URLS.items())
def test_a_bad_url_is_refused_with_its_classs_message(url: str, reason: str) -> None:
    """Three messages for everything; none tells what we know about the host."""
    assert refusal(url) == MESSAGES[reason]


@each("address", [a for a in FORBIDDEN_ADDRESSES if "%" not in a])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_literal_that_is_not_public_is_refused(scheme: str, address: str) -> None:
    """In brackets or not, in lower or upper case."""
    host = f"[{address}]" if ":" in address else address

    assert refusal(f"{scheme}://{host}/") == BAD_HOST
    assert refusal(f"{scheme}://{host.upper()}:8443/") == BAD_HOST


@each("address", PUBLIC_ADDRESSES)
def test_the_neighbours_of_what_is_forbidden_are_public(address: str) -> None:
    """The table ends where it says."""
    assert is_public(ip_address(address))


@each("address", FORBIDDEN_ADDRESSES)
def test_a_forbidden_address_is_not_public(address: str) -> None:
    """The same table answers for names that resolve to it."""
    assert not is_public(ip_address(address))


@each("url", ALLOWED_URLS)
def test_a_good_url_is_accepted(url: str) -> None:
    """Nothing is refused for looking unusual."""
    check_url(url, PUBLIC)


def test_a_url_is_taken_apart_once_and_exactly() -> None:
    """What is connected to and asked for is what was checked."""
    assert check_url("HTTPS://Ok.Example:8443?x=A&y=%2f", PUBLIC) == WebhookTarget(
        secure=True, host="ok.example", address=None, port=8443, authority="ok.example:8443", path="/?x=A&y=%2f"
    )
    assert check_url("http://[2606:4700::1]/Hook", PUBLIC) == WebhookTarget(
        secure=False,
        host="2606:4700::1",
        address=ip_address("2606:4700::1"),
        port=80,
        authority="[2606:4700::1]",
        path="/Hook",
    )
    assert check_url("https://ok.example", PUBLIC).path == "/"


def test_our_own_hosts_are_refused() -> None:
    """By name and by literal address."""
    assert refusal("https://fairlane.example/v1") == BAD_HOST
    assert refusal("https://8.8.4.4/v1") == BAD_HOST
    check_url("https://docs.fairlane.example/", PUBLIC)


def test_ports_are_a_setting() -> None:
    """An operator may allow fewer; database ports are above 1,023 and allowed unless he does."""
    only_web = Reach(ports=(range(443, 444), range(8443, 8444)))

    for port in (80, 442, 444, 5432, 6379, 8442, 8444):
        assert refusal(f"https://ok.example:{port}/", only_web) == BAD_PORT
    check_url("https://ok.example:8443/", only_web)
    check_url("https://ok.example:5432/", PUBLIC)


def test_ports_are_read_from_text() -> None:
    """As the setting is written."""
    assert read_ports("80,443,1024-65535") == DEFAULT_PORTS
    assert read_ports(" 443 ") == (range(443, 444),)
    assert read_ports("1-65535") == (range(1, 65_536),)


@each("text", ["", "http", "80,", "0", "65536", "1-65536", "90-80", "-80", "80-", "8O", "１", "1_0"])
def test_what_is_not_a_list_of_ports_is_refused(text: str) -> None:
    """The operator learns of it at the start."""
    with pytest.raises(ValueError, match=r"port|between"):
        read_ports(text)


@pytest.mark.parametrize(
    ("addresses", "public", "private"),
    [
        (["93.184.216.34"], True, True),
        (["93.184.216.34", "10.0.0.1"], False, True),
        (["10.0.0.1"], False, True),
        ([], False, False),
    ],
)
def test_one_forbidden_address_forbids_a_name(addresses: list[str], public: bool, private: bool) -> None:
    """A name without an address may not be connected to in any case."""
    found = [ip_address(address) for address in addresses]

    assert are_allowed(found, PUBLIC) is public
    assert are_allowed(found, Reach(private=True)) is private


@each("host", ["localhost", "redis", "127.0.0.1", "[::1]", "10.0.0.1", "printer.local"])
def test_private_hosts_are_allowed_where_the_operator_says_so(host: str) -> None:
    """One machine, one private network, tests; what else runs on fairlane's own host included."""
    check_url(f"http://{host}:8080/", Reach(private=True, own_hosts=frozenset({host})))


@each("host", ["2130706433", "0x7f.1", "127.1", "localhost.", "a_b", "ok@localhost"])
def test_private_hosts_must_be_spelled_properly_too(host: str) -> None:
    """The shape of a URL is not the operator's choice."""
    assert refusal(f"http://{host}:8080/", Reach(private=True)) in (BAD_HOST, BAD_SHAPE)


def test_the_field_is_the_callers() -> None:
    """A test event, for one, has its URL elsewhere."""
    with pytest.raises(ValidationRefused) as caught:
        check_url("x", PUBLIC, field="url")

    assert caught.value.details == [{"field": "url", "message": BAD_SHAPE}]
