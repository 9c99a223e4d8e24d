"""What viewers see live: one read of the store for all of them, and an end when there is a reason for one."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx2
import pytest

from fairlane.dashboard import live
from fairlane.dashboard.sessions import LIFE_SECONDS
from tests.api.house import House, eventually
from tests.dashboard.test_sessions import log_in


class Watching:
    """A viewer's stream, read on a thread of its own."""

    def __init__(self, browser: httpx2.Client) -> None:
        self.seen: list[Any] = []
        self.comments = 0
        self.over = threading.Event()
        self.browser = browser
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            with self.browser.stream("GET", "/dashboard/events", timeout=20) as answer:
                assert answer.headers["content-type"] == "text/event-stream"
                for line in answer.iter_lines():
                    self.comments += line.startswith(":")
                    if line.startswith("data: "):
                        self.seen.append(json.loads(line.removeprefix("data: ")))
        except httpx2.TransportError:
            pass
        self.over.set()

    @property
    def last(self) -> Any:
        """The newest event; None: there was none."""
        return self.seen[-1] if self.seen else None


@contextmanager
def watching(house: House, key: str) -> Iterator[Watching]:
    """Somebody who watches with this key, until the end of the block."""
    with house.client() as browser:
        log_in(browser, key)
        viewer = Watching(browser)
        eventually(lambda: viewer.last)
        yield viewer


def test_a_viewer_sees_the_status_move(house: House) -> None:
    """The same body as the status call, and the totals, about once a second."""
    customer = house.customer()
    with watching(house, customer.key["value"]) as viewer:
        assert viewer.last["status"] == customer.status()
        customer.accepted()

        eventually(lambda: viewer.last["status"]["queuedTasks"] == 1)
        assert viewer.last["status"] == customer.status()
        assert (viewer.last["submitted"], viewer.last["completed"], viewer.last["failed"]) == (1, 0, 0)


def test_a_viewer_sees_who_holds_the_slots_and_how_far_they_are(house: House) -> None:
    """As the call about slots tells it, from the same read: nobody has to ask beside the stream."""
    customer, session = house.customer(slots=60), house.session("ANY", places=60)
    for _ in range(51):
        customer.accepted()
    with watching(house, customer.key["value"]) as viewer:
        assert (viewer.last["slots"], viewer.last["slotsBounded"]) == ([], False)

        first, *_ = session.claim(50)
        said = {"lease": first["lease"], "done": 3, "total": 12, "note": "pages read"}
        body = {"session": session.id, "id": "p1", "places": 0, "wait_seconds": 0, "progress": [said]}
        assert house.worker.post("/worker/v1/exchange", json=body).status_code == 200

        eventually(lambda: len(viewer.last["slots"]) == 50 and viewer.last["slots"][0]["progress"])
        told = customer.client.get("/v1/async/slots").json()
        assert (viewer.last["slots"], viewer.last["slotsBounded"]) == (told["slots"], False)
        session.claim(1)
        eventually(lambda: viewer.last["slotsBounded"])
        assert viewer.last["slots"] == told["slots"]


def test_a_viewer_sees_its_own_organization_alone(house: House) -> None:
    """Another one's tasks move nothing."""
    mine, other = house.customer(), house.customer()
    with watching(house, mine.key["value"]) as viewer, watching(house, other.key["value"]) as neighbour:
        other.accepted()

        eventually(lambda: neighbour.last["submitted"] == 1)
        seen = len(viewer.seen)
        eventually(lambda: len(viewer.seen) > seen + 1)
        assert viewer.last["submitted"] == 0


def test_many_viewers_cost_one_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many watch, whomever: one read of the store for each moment; and who has left is forgotten."""
    customers = [house.customer() for _ in range(3)]
    reads: list[list[int]] = []
    live = house.store.dashboard.live

    def counted(ids: list[int], **options: bool) -> Any:
        reads.append(ids)
        return live(ids, **options)

    monkeypatch.setattr(house.store.dashboard, "live", counted)
    with ExitStack() as stack:
        viewers = [
            stack.enter_context(watching(house, one.key["value"])) for one in (*customers, customers[0], customers[1])
        ]
        looked, shown = len(reads), len(viewers[-1].seen)
        eventually(lambda: len(viewers[-1].seen) >= shown + 3)

        assert len(reads) - looked <= len(viewers[-1].seen) - shown + 1
        assert all(len(set(ids)) == len(ids) == 3 for ids in reads[looked:])
    eventually(lambda: not house.server.hub.viewers)


def test_a_revoked_key_ends_the_stream(house: House) -> None:
    """Within a look or two."""
    customer = house.customer()
    with watching(house, customer.key["value"]) as viewer:
        house.admin.delete(f"/admin/v1/keys/{customer.key['id']}")

        assert viewer.over.wait(10)


def test_logging_out_ends_the_stream(house: House) -> None:
    """Within a look, without another key's or another session's stream."""
    customer = house.customer()
    with watching(house, customer.key["value"]) as viewer, watching(house, customer.key["value"]) as other:
        assert viewer.browser.delete("/dashboard/session").status_code == 200

        assert viewer.over.wait(10)
        seen = len(other.seen)
        eventually(lambda: len(other.seen) > seen + 1)
        assert not other.over.is_set()


def test_a_session_whose_time_is_over_ends_the_stream(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a look or two, although the key still works."""
    customer, now = house.customer(), house.store.now
    with watching(house, customer.key["value"]) as viewer:
        monkeypatch.setattr(house.store, "now", lambda: now() + LIFE_SECONDS * 1_000 - 60_000)
        seen = len(viewer.seen)
        eventually(lambda: len(viewer.seen) > seen + 1)

        monkeypatch.setattr(house.store, "now", lambda: now() + LIFE_SECONDS * 1_000)

        assert viewer.over.wait(10)


@pytest.mark.parametrize("reserve", [2, 0])
async def test_streams_of_organizations_leave_room_for_others(monkeypatch: pytest.MonkeyPatch, reserve: int) -> None:
    """For each one that has none, and for operators. Without a reserve there is none."""
    monkeypatch.setattr(live, "VIEWERS_MOST", 6 + 2 * reserve)
    monkeypatch.setattr(live, "CUSTOMERS_MOST", 6 + reserve)
    monkeypatch.setattr(live, "FURTHER_MOST", 6)
    monkeypatch.setattr(live, "ORGANIZATION_MOST", 4)
    store: Any = None
    hub = live.Hub(store)

    async def allowed() -> bool:
        return True

    async def gone() -> None:
        await asyncio.Event().wait()

    async def opened(organization_id: int | None) -> AsyncGenerator[bytes, None] | None:
        stream = hub.watch(organization_id, session_id="s", allowed=allowed, gone=gone)
        return stream if await anext(stream, None) else None

    streams = [await opened(one) for one in (1, 1, 1, 1, 1, 2, 2, 2)]
    rest = [await opened(one) for one in (3, 4, 5, 3, None, None, None)]

    assert [stream is not None for stream in streams] == [True] * 4 + [False] + [True] * 2 + [False]
    assert [stream is not None for stream in rest] == [reserve > 0] * 2 + [False] * 2 + [reserve > 0] * 2 + [False]
    for stream in filter(None, streams + rest):
        await stream.aclose()
    assert not hub.viewers
    assert not hub._by_organization


def test_an_organization_with_all_its_streams_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, while another one watches."""
    monkeypatch.setattr(live, "ORGANIZATION_MOST", 1)
    customer, other = house.customer(), house.customer()
    with watching(house, customer.key["value"]) as viewer, watching(house, other.key["value"]):
        assert viewer.browser.get("/dashboard/events").status_code == 503


def test_a_draining_server_ends_its_streams(house: House) -> None:
    """Nobody holds the end of a server up by watching it."""
    customer = house.customer()
    with watching(house, customer.key["value"]) as viewer:
        house.soon(house.server.drain)

        assert viewer.over.wait(10)


def test_an_operator_sees_everybody(a_house: Callable[..., House]) -> None:
    """The busiest first, the sums, and no organization's tasks."""
    house = a_house(public_admin=True)
    key = house.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"}).json()["value"]
    quiet, busy = house.customer(), house.customer()
    for _ in range(3):
        busy.accepted()

    with watching(house, key) as viewer:
        eventually(lambda: viewer.last["total"]["queued"] == 3)

        assert [one["name"] for one in viewer.last["busiest"]] == [busy.name, quiet.name]
        assert viewer.last["total"] | {"queued": 3, "organizations": 2, "drifted": 0} == viewer.last["total"]


def test_an_organization_manages_its_own_keys_and_secrets(house: House) -> None:
    """Made, shown once, used, listed, revoked, audited; another organization's key is not there."""
    mine, other = house.customer(), house.customer()
    with house.client() as browser:
        log_in(browser, mine.key["value"])

        made = browser.post("/dashboard/access/keys", json={"name": "second"}).json()
        secret = browser.post("/dashboard/access/webhook-secrets", json={}).json()

        assert house.client(None, authorization=f"Bearer {made['value']}").get("/v1/async/status").status_code == 200
        listed = browser.get("/dashboard/access/keys").json()["keys"]
        assert {key["id"] for key in listed} == {mine.key["id"], made["id"]}
        assert made["value"] not in str(listed)
        assert secret["value"].startswith("whsec_")
        signing = browser.get("/dashboard/access/webhook-secrets").json()["webhook_secrets"]
        assert [one["id"] for one in signing] == [secret["id"]]
        assert browser.delete(f"/dashboard/access/keys/{other.key['id']}").status_code == 404
        assert other.client.get("/v1/async/status").status_code == 200
        assert browser.delete(f"/dashboard/access/keys/{made['id']}").status_code == 200
    actors = {row["actor"] for row in house.admin.get("/admin/v1/audit?limit=3").json()["audit"]}
    assert actors == {f"organization key {mine.key['id']}"}


def test_operators_are_told_only_what_changed(a_house: Callable[..., House]) -> None:
    """While nothing changes, a comment keeps the stream; a later viewer gets the whole at once."""
    house = a_house(public_admin=True)
    customer = house.customer()
    key = house.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"}).json()["value"]
    with watching(house, key) as early:
        eventually(lambda: early.comments >= 2)
        told = len(early.seen)
        with watching(house, key) as late:
            assert late.last["total"] == early.last["total"]
        assert len(early.seen) == told

        customer.accepted()

        eventually(lambda: early.last["total"]["queued"] == 1)


def test_slow_reads_of_all_organizations_are_made_less_often(
    a_house: Callable[..., House], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take a bounded share of the time; the streams of organizations go on each second."""
    house = a_house(public_admin=True)
    customer, read = house.customer(), house.store.dashboard.live
    key = house.admin.post("/admin/v1/keys", json={"kind": "admin", "name": "me"}).json()["value"]
    asked: list[bool] = []

    async def slow(ids: list[int], *, everything: bool, session_ids: list[str]) -> Any:
        asked.append(everything)
        await asyncio.sleep(0.2 if everything else 0)
        return await read(ids, everything=everything, session_ids=session_ids)

    monkeypatch.setattr(house.store.dashboard, "live", slow)
    with watching(house, key), watching(house, customer.key["value"]) as viewer:
        shown = len(viewer.seen)
        eventually(lambda: len(viewer.seen) > shown + 3)

    assert asked.count(True) <= asked.count(False)
