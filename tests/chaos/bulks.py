"""Bulks of a run: all failed tasks of one organization are run again, while servers die in the middle of it."""

import random
import time
from collections.abc import Callable
from typing import Any

import httpx2

ORGANIZATION = "bulks"
FAILED = 1_000
"""Tasks that fail each time: ten steps of a bulk."""
BATCH = 250
BEGUN_SECONDS = 20.0
"""How long an act looks for a bulk that has made a step."""
LAST_SECONDS = 120.0

Ask = Callable[[str], list[tuple[Any, ...]]]
"""Returns the rows of one statement."""

REPEATED = "SELECT retry_of FROM task WHERE retry_of IS NOT NULL GROUP BY retry_of HAVING count(*) > 1"
DONE = "SELECT CAST(coalesce(sum(done), 0) AS BIGINT) FROM bulk WHERE kind = 'retry'"
AGAIN = "SELECT count(*) FROM task WHERE retry_of IS NOT NULL"
OPEN = "SELECT id FROM bulk WHERE state <> 'DONE'"
ENDS = """
SELECT count(*)
FROM task AS t
WHERE t.task_type = 'DOOMED'
  AND NOT EXISTS (SELECT 1 FROM task AS r WHERE r.retry_of = t.id)
"""


class Bulks:
    """The bulks of one run, begun through any server."""

    def __init__(self, addresses: list[str], key: str, *, seed: int) -> None:
        self._addresses = addresses
        self._headers = {"authorization": f"Bearer {key}"}
        self._chance = random.Random(seed + 2)
        self._number = 0
        self.within = 0
        """Bulks in the middle of which the servers were killed."""

    def submit(self) -> None:
        """Submit the tasks that fail."""
        for start in range(0, FAILED, BATCH):
            batch = [
                {"taskType": "DOOMED", "payload": {}, "idempotencyKey": f"doomed-{number}"}
                for number in range(start, start + BATCH)
            ]
            self._until_answered("POST", "/v1/async/task/batch", batch)

    def begin(self) -> bool:
        """Begin a bulk; return True while it runs and has made a step, or False if it ended before that was seen."""
        path = f"/v1/async/tasks/bulk/{self._begun()}"
        give_up_at = time.monotonic() + BEGUN_SECONDS
        while time.monotonic() < give_up_at:
            bulk = self._until_answered("GET", path)["bulk"]
            if bulk["state"] != "RUNNING":
                return False
            if bulk["done"]:
                self.within += 1
                return True
        return False

    def finish(self) -> int:
        """Run once more what failed, after everything has ended; return how many tasks that were."""
        path = f"/v1/async/tasks/bulk/{self._begun()}"
        give_up_at = time.monotonic() + LAST_SECONDS
        while (bulk := self._until_answered("GET", path)["bulk"])["state"] == "RUNNING":
            if time.monotonic() > give_up_at:
                break
            time.sleep(0.1)
        return int(bulk["done"])

    def _begun(self) -> str:
        self._number += 1
        body = {"type": "DOOMED", "idempotencyKey": f"bulk-{self._number}"}
        return str(self._until_answered("POST", "/v1/async/tasks/retry", body)["bulk"]["id"])

    def _until_answered(self, method: str, path: str, body: Any = None) -> Any:
        with httpx2.Client(timeout=10, headers=self._headers) as client:
            while True:
                try:
                    answer = client.request(method, self._chance.choice(self._addresses) + path, json=body)
                except httpx2.TransportError:
                    time.sleep(0.1)
                    continue
                if answer.status_code in (200, 202):
                    return answer.json()
                if answer.status_code < 500 and answer.status_code != 429:
                    raise AssertionError(f"{path}: {answer.status_code}: {answer.text}")
                time.sleep(0.1)


def repeated(ask: Ask) -> list[str]:
    """Return the tasks that were run again more than once."""
    return [task_id for (task_id,) in ask(REPEATED)]


def untrue(ask: Ask) -> int:
    """Return by how much the numbers of all bulks differ from the tasks that they made."""
    return abs(int(ask(DONE)[0][0]) - int(ask(AGAIN)[0][0]))


def unended(ask: Ask) -> list[str]:
    """Return the bulks that did not come to their end."""
    return [bulk_id for (bulk_id,) in ask(OPEN)]


def left_out(ask: Ask, last: int) -> int:
    """Return how many tasks that failed are missing in the last bulk, or are in it without a reason.

    Each of the first tasks began a chain, and each chain has one end, which the last bulk made.
    """
    return abs(int(ask(ENDS)[0][0]) - FAILED) + abs(last - FAILED)
