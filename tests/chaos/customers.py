"""The customers of a run: they submit, cancel and call through any server, and log what was acknowledged."""

import random
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import httpx2

TYPES = ("LOOP", "LOOP", "THREAD", "LIMITED")
LONG_PART = 0.02
"""The part of tasks that run for longer than a lease."""
WEBHOOK_PART = 0.3


@dataclass
class Ledger:
    """What customers know: each acknowledgement, and each key that was ever sent."""

    tasks: dict[str, str] = field(default_factory=dict)
    """Acknowledged task ids, and the organizations they were acknowledged to."""
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    """(organization, idempotency key) of acknowledged submits, and the task id; empty: only a 409 said so."""
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    """Keys that were acknowledged with two task ids."""
    cancels_asked: set[str] = field(default_factory=set)
    """Tasks that a cancel request was sent for, answered or not."""
    canceled: set[str] = field(default_factory=set)
    """Tasks whose cancel was acknowledged."""
    called: list[str] = field(default_factory=list)
    """Leases of calls that were answered with a result."""
    calls: dict[int, int] = field(default_factory=dict)
    """Answers to calls by status; 0: none came."""
    unanswered: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledged(self, organization: str, task_id: str, key: str | None) -> None:
        """A 200 came."""
        with self.lock:
            self.tasks[task_id] = organization
            if key is not None:
                before = self.keys.get((organization, key))
                if before:
                    self.duplicates.append((organization, key))
                self.keys[organization, key] = task_id

    def exists(self, organization: str, key: str) -> None:
        """A 409 came: an earlier send had been accepted."""
        with self.lock:
            self.keys.setdefault((organization, key), "")

    def answered(self, status: int) -> None:
        """Count an answer to a submit; 0: none came."""
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def called_with(self, status: int, lease: str | None) -> None:
        """Count an answer to a call, and note the lease that its result names."""
        with self.lock:
            self.calls[status] = self.calls.get(status, 0) + 1
            if lease is not None:
                self.called.append(lease)

    def pick(self, chance: random.Random) -> tuple[str, str] | None:
        """One of the latest acknowledged tasks and its organization, or None."""
        with self.lock:
            latest = list(islice(reversed(self.tasks.items()), 200))
        return chance.choice(latest) if latest else None


class Customer(threading.Thread):
    """Submits, cancels and calls for random organizations until told to end."""

    def __init__(
        self,
        number: int,
        addresses: list[str],
        keys: dict[str, str],
        ledger: Ledger,
        *,
        seed: int,
        rate: float,
        webhook_url: str,
    ) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._chance = random.Random(seed * 1_000 + number)
        self._addresses = addresses
        self._keys = keys
        self._ledger = ledger
        self._pause = 1 / rate
        self._webhook_url = webhook_url
        self._number = number
        self._sent = 0
        self.over = threading.Event()

    def run(self) -> None:
        """Send one request after the other."""
        with httpx2.Client(timeout=10) as client:
            while not self.over.is_set():
                organization = self._chance.choice(list(self._keys))
                act = self._chance.choices((self._submit, self._cancel, self._call), (8, 1, 1))[0]
                act(client, organization)
                self.over.wait(self._chance.expovariate(1 / self._pause))

    def _cancel(self, client: httpx2.Client, _: str) -> None:
        picked = self._ledger.pick(self._chance)
        if picked is None:
            return
        task_id, organization = picked
        self._ledger.cancels_asked.add(task_id)
        headers = {"authorization": f"Bearer {self._keys[organization]}"}
        try:
            answer = client.delete(f"{self._chance.choice(self._addresses)}/v1/async/task/{task_id}", headers=headers)
        except httpx2.TransportError:
            return
        if answer.status_code == 200:
            self._ledger.canceled.add(task_id)
        elif answer.status_code not in (409, 503):
            raise AssertionError(f"cancel of an acknowledged task: {answer.status_code}: {answer.text}")

    def _call(self, client: httpx2.Client, organization: str) -> None:
        headers = {"authorization": f"Bearer {self._keys[organization]}"}
        address = self._chance.choice(self._addresses)
        payload = {"seconds": round(self._chance.uniform(0.005, 0.2), 3)}
        try:
            answer = client.post(f"{address}/v1/monitor/loop", json=payload, headers=headers)
        except httpx2.TransportError:
            self._ledger.called_with(0, None)
            return
        if answer.status_code not in (200, 429, 500, 503):
            raise AssertionError(f"call: {answer.status_code}: {answer.text}")
        lease = answer.json()["result"]["lease"] if answer.status_code == 200 else None
        self._ledger.called_with(answer.status_code, lease)

    def _submit(self, client: httpx2.Client, organization: str) -> None:
        count = self._chance.choice((1, 1, 1, 5, 20))
        bodies = [self._body() for _ in range(count)]
        keyed = all("idempotencyKey" in body for body in bodies)
        # With keys the request is repeated until an answer comes. Without keys a repetition could submit twice.
        for _ in range(60 if keyed else 1):
            address = self._chance.choice(self._addresses)
            try:
                answer = self._post(client, address, organization, bodies)
            except httpx2.TransportError:
                self._ledger.answered(0)
            else:
                self._ledger.answered(answer.status_code)
                if answer.status_code < 500:
                    self._note(organization, bodies, answer)
                    return
            time.sleep(0.25)
        self._ledger.unanswered += 1

    def _body(self) -> dict[str, Any]:
        self._sent += 1
        seconds = self._chance.uniform(2, 5) if self._chance.random() < LONG_PART else self._chance.uniform(0.005, 0.3)
        body: dict[str, Any] = {
            "taskType": self._chance.choice(TYPES),
            "payload": {"seconds": round(seconds, 3)},
            "priority": self._chance.choice((1, 1, 5, 10)),
        }
        if self._chance.random() < WEBHOOK_PART:
            body["webhook"] = {"url": self._webhook_url}
        if self._number % 2:
            body["idempotencyKey"] = f"{self._number}-{self._sent}"
        return body

    def _post(self, client: httpx2.Client, address: str, organization: str, bodies: list[Any]) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self._keys[organization]}"}
        if len(bodies) == 1:
            return client.post(f"{address}/v1/async/task", json=bodies[0], headers=headers)
        return client.post(f"{address}/v1/async/task/batch", json=bodies, headers=headers)

    def _note(self, organization: str, bodies: list[Any], answer: httpx2.Response) -> None:
        document = answer.json()
        results = document.get("results", [document])
        for body, result in zip(bodies, results, strict=True):
            key = body.get("idempotencyKey")
            if result["success"]:
                self._ledger.acknowledged(organization, result["task"]["id"], key)
            elif result["error"]["code"] == "RESOURCE_ALREADY_EXISTS":
                self._ledger.exists(organization, key)
            else:
                raise AssertionError(f"{answer.status_code}: {result}")
