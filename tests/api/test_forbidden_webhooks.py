"""No task is accepted whose webhook must not be reached, wherever a URL may stand: the guard's whole table (D.1)."""

import pytest

from tests.api.house import Customer, House, error_of, fields_of
from tests.tables import each
from tests.webhooks.vectors import ALLOWED_URLS, FORBIDDEN_ADDRESSES, REFUSED_URLS

REFUSED_BEFORE_THE_STORE = True

LITERALS = [f"https://{f'[{address}]' if ':' in address else address}/hook" for address in FORBIDDEN_ADDRESSES]
OWN = ("http://fairlane.example/", "http://FairLane.Example/")
"""Refused by a server that is known under that name; this one is known as 127.0.0.1."""
URLS = [url for url in REFUSED_URLS if url not in OWN]
READ_STRICTLY = {url for url in URLS if "\x00" in url}
"""The strict reader refuses the whole body before the guard sees a URL."""


@pytest.mark.parametrize("urls", [URLS[::2], URLS[1::2], LITERALS[::2], LITERALS[1::2]])
def test_a_forbidden_url_is_refused_wherever_it_may_stand(customer: Customer, urls: list[str]) -> None:
    """With a task, in a batch, for a test event; nothing is queued and nothing is owed."""
    each("url", urls)(refused_wherever_it_may_stand)(customer=customer)

    assert customer.status()["queuedTasks"] == 0
    assert customer.client.get("/v1/webhooks/deliveries").json()["deliveries"] == []


def refused_wherever_it_may_stand(customer: Customer, url: str) -> None:
    """By each of the three ways that a webhook can be named."""
    task = {"taskType": "ANY", "payload": {}}
    field = ["body"] if url in READ_STRICTLY else ["webhook.url"]

    one = customer.submit(webhook={"url": url})
    batch = customer.client.post("/v1/async/task/batch", json=[task | {"webhook": {"url": url}}])
    event = customer.client.post("/v1/webhooks/test", json={"url": url})

    assert one.status_code == 400
    assert fields_of(one) == field
    assert (batch.status_code, batch.json()["summary"]["succeeded"]) == (200, 0)
    assert event.status_code == 400
    assert error_of(event)["code"] == "VALIDATION_ERROR"


@pytest.mark.parametrize("url", ALLOWED_URLS, ids=ascii)
def test_an_unusual_url_is_accepted_and_comes_back_unchanged(customer: Customer, url: str) -> None:
    """What it is once the task has ended is what was sent, to the letter."""
    customer.accepted(webhook={"url": url})
    task_id = customer.accepted(webhook={"url": url}, idempotencyKey="one")

    customer.client.delete(f"/v1/async/task/{task_id}")

    assert customer.find("one").json()["webhook"]["url"] == url


def test_the_refusal_says_nothing_of_our_network(customer: Customer) -> None:
    """Every host that may not be reached gets the same words, whether something is there or not."""
    hosts = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "[::1]", "localhost", "redis", "no-such-host")
    messages = {
        error_of(customer.submit(webhook={"url": f"http://{host}/"}))["details"][0]["message"] for host in hosts
    }

    assert len(messages) == 1


def test_the_servers_own_name_is_refused(shared: House) -> None:
    """By the host it listens on."""
    customer = shared.customer()
    with customer.client:
        assert customer.submit(webhook={"url": shared.server.address}).status_code == 400
