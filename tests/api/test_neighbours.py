"""One organization's bad requests, among another's good ones, at the same moment."""

import asyncio

import httpx2

from tests.api.house import NO_TLS, Customer, House
from tests.api.test_bombs import FIELDS, TASK, VALUES


async def test_bad_requests_beside_good_ones_harm_only_themselves(shared: House, customer: Customer) -> None:
    """Every bomb in every field from one organization while another submits: the good are accepted, the bad not."""
    stranger = shared.customer()
    bombs = [field % value for field in FIELDS.values() for value in VALUES.values() if len(value) < 100_000]
    address = shared.server.address
    limits = httpx2.Limits(max_connections=32)
    async with httpx2.AsyncClient(base_url=address, timeout=30, verify=NO_TLS, limits=limits) as client:

        async def send(sender: Customer, body: bytes) -> int:
            headers = {"authorization": f"Bearer {sender.key['value']}"}
            return (await client.post("/v1/async/task", content=body, headers=headers)).status_code

        sent = [send(sender, body) for bomb in bombs for sender, body in ((stranger, bomb), (customer, TASK))]
        statuses = await asyncio.gather(*sent)

    assert set(statuses[0::2]) == {400}
    assert set(statuses[1::2]) == {200}
    assert customer.status()["queuedTasks"] == len(bombs)
    with stranger.client:
        assert stranger.status()["queuedTasks"] == 0
