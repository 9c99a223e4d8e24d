"""The demo's own client is a good citizen: it comes back when the server says so."""

import asyncio

import httpx2
import pytest

from fairlane.demo import client as demo_client
from fairlane.demo.client import ApiRefused, Client


def client_of(*answers: httpx2.Response) -> tuple[Client, list[httpx2.Request]]:
    """A client whose server gives these answers one after the other, and what it was asked."""
    asked: list[httpx2.Request] = []
    left = iter(answers)

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        return next(left)

    client = Client("http://fairlane", "sk_live_x")
    client._http = httpx2.AsyncClient(base_url="http://fairlane", transport=httpx2.MockTransport(answer))
    return client, asked


def test_a_request_too_many_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """As often as the server says, and no further; a 429 without a time is final."""
    monkeypatch.setattr(demo_client, "WAITS_MOST", 3)
    busy = httpx2.Response(429, headers={"retry-after": "0"}, json={})
    client, asked = client_of(busy, busy, httpx2.Response(200, json={"task": {}}))
    refused, tried = client_of(busy, busy, busy, busy)
    full, once = client_of(httpx2.Response(429, json={}))

    assert asyncio.run(client.task("x")) == {"task": {}}
    for one in (refused, full):
        with pytest.raises(ApiRefused, match="429"):
            asyncio.run(one.task("x"))

    assert [len(requests) for requests in (asked, tried, once)] == [3, 3, 1]
