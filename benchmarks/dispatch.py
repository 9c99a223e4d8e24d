"""How soon an idle worker starts: from sending the submit to the first line of the handler, one task at a time."""

import json
import random
import time

from benchmarks.filling import Party, fill
from benchmarks.homes import Home
from benchmarks.load import Connection, percentile, request_bytes
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane

BODY = b'{"taskType":"STAMP","payload":{}}'
PARTY = Party("acme", slots=10)
WARM_UP = 10
PAUSE_SECONDS = 0.015
TRIES = 200


class Dispatch:
    """One database for all rounds."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._database = home.database("dispatch")
        self._scale = scale

    def prepare(self) -> None:
        """Make the organization."""
        fill(self._database, [PARTY])

    def measure(self, turn: int) -> Figures:
        """Submit, wait, ask when it started; the pauses are uneven so that no period of ours is met."""
        started: list[float] = []
        answered: list[float] = []
        with Fairlane(self._database, workers=1) as server, Connection(server.address) as connection:
            server.startup_seconds()
            for _ in range(WARM_UP + self._scale.dispatches):
                to_start, to_answer = started_after(connection)
                started.append(to_start)
                answered.append(to_answer)
                time.sleep(random.uniform(0, PAUSE_SECONDS))
        return {
            "dispatch.started_p50_ms": percentile(started[WARM_UP:], 0.50),
            "dispatch.started_p99_ms": percentile(started[WARM_UP:], 0.99),
            "dispatch.answered_p50_ms": percentile(answered[WARM_UP:], 0.50),
        }


def started_after(connection: Connection) -> tuple[float, float]:
    """Milliseconds from sending to the handler's start, and to the answer."""
    sent_at = time.monotonic_ns()
    status, body = connection.ask(request_bytes("POST", "/v1/async/task", key=PARTY.key, body=BODY))
    answered_at = time.monotonic_ns()
    if status != 200:
        raise RuntimeError(f"dispatch: {status} {body.decode()}")
    path = f"/v1/async/task/{json.loads(body)['task']['id']}"
    for _ in range(TRIES):
        # Looked at only after a pause: the question must not disturb what it asks about.
        time.sleep(PAUSE_SECONDS)
        task = json.loads(connection.ask(request_bytes("GET", path, key=PARTY.key))[1])
        if task["task"]["status"] == "COMPLETED":
            return (task["response"]["startedAt"] - sent_at) / 1e6, (answered_at - sent_at) / 1e6
    raise RuntimeError("dispatch: a task was not completed in time")
