"""The customers of a run: they submit through whichever server answers, and write down what was acknowledged."""

import random
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import httpx2

TYPES = ("LOOP", "LOOP", "THREAD", "LIMITED")


@dataclass
class Ledger:
    """What customers know: each acknowledgement, and each key that was ever sent."""

    tasks: dict[str, str] = field(default_factory=dict)
    """Acknowledged task ids, and the organizations they were acknowledged to."""
    keys: dict[tuple[str, str], str] = field(default_factory=dict)
    """(organization, idempotency key) of acknowledged submits, and the task id; empty: only a 409 said so."""
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    """Keys that were acknowledged with two task ids."""
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
        """Count an answer; 0: none came."""
        with self.lock:
            self.statuses[status] = self.statuses.get(status, 0) + 1


class Customer(threading.Thread):
    """Submits for random organizations until told to end."""

    def __init__(
        self, number: int, addresses: list[str], keys: dict[str, str], ledger: Ledger, *, seed: int, rate: float
    ) -> None:
        super().__init__(name=f"customer-{number}", daemon=True)
        self._chance = random.Random(seed * 1_000 + number)
        self._addresses = addresses
        self._keys = keys
        self._ledger = ledger
        self._pause = 1 / rate
        self._number = number
        self._sent = 0
        self.over = threading.Event()

    def run(self) -> None:
        """One submit after the other."""
        with httpx2.Client(timeout=10) as client:
            while not self.over.is_set():
                organization = self._chance.choice(list(self._keys))
                self._submit(client, organization)
                self.over.wait(self._chance.expovariate(1 / self._pause))

    def _submit(self, client: httpx2.Client, organization: str) -> None:
        count = self._chance.choice((1, 1, 1, 5, 20))
        bodies = [self._body() for _ in range(count)]
        keyed = all("idempotencyKey" in body for body in bodies)
        # With keys a lost answer is asked for again until there is one; without, nobody knows, and nobody may repeat.
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
        body: dict[str, Any] = {
            "taskType": self._chance.choice(TYPES),
            "payload": {"seconds": round(self._chance.uniform(0.005, 0.3), 3)},
            "priority": self._chance.choice((1, 1, 5, 10)),
        }
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
