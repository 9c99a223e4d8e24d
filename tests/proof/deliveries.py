"""``python -m tests.proof.deliveries``: webhooks to receivers of every manner, while the server that sends is killed.

Each organization has a receiver that answers its first tries badly in one manner, and well later; one answers well at
once, one never, and one shows a certificate that is not trusted. At the end the tries that came are compared with the
rows.
"""

import argparse
import contextlib
import random
import secrets
import ssl
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx2
import trustme

from fairlane.client import WebhookInvalid, verify
from fairlane.model.webhooks import INTERRUPTED
from tests.api.house import NO_TLS
from tests.chaos.parties import Installation, installed
from tests.chaos.witness import Witness, run_down
from tests.proof.receiver import Manner, Receiver
from tests.proof.run import SLOW, worst

PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)
TIMEOUT_SECONDS = 2.0
TRIES_MOST = len(PAUSES_SECONDS) + 1
BAD_TRIES = 2
"""How many tries of each message a receiver answers badly."""
KILL_SECONDS = (4.0, 8.0)
DRAIN_SECONDS = 150.0
"""For how long the messages that are left may get no fewer. The claim of a server that was killed while it sent runs
out after half a minute."""
DELAY_SECONDS = 1.0
"""How late the message to a good receiver may be because of others."""
EARLY = 0.9
"""Chance may shorten a pause by a tenth."""
SUBMITTERS = 4
PAUSE_SECONDS = 0.03
GOOD, DEAD, UNTRUSTED = "good", "dead", "untrusted"
TAKEN = (Manner.TAKE, Manner.HUGE, Manner.RESET_AFTER, Manner.SLOW)
"""Manners that tell the sender that the message was received."""
OUTCOMES = "SELECT task_id, finished_at FROM outcome"
DELIVERIES = "SELECT task_id, id, tries, due_at, delivered_at FROM delivery"
RECORDED = "SELECT delivery_id, number, error FROM delivery_try"
UNSENT = "SELECT count(*) FROM delivery WHERE due_at IS NOT NULL"


def scripts() -> dict[str, Callable[[str, int], Manner]]:
    """Return the script of each receiver: by a task and the number of its try."""

    def bad_first(manner: Manner) -> Callable[[str, int], Manner]:
        return lambda task_id, number: manner if number <= BAD_TRIES else Manner.TAKE

    found = {manner.name.lower(): bad_first(manner) for manner in Manner if manner is not Manner.TAKE}
    return found | {GOOD: lambda task_id, number: Manner.TAKE, DEAD: lambda task_id, number: Manner.FAIL}


class Run:
    """One run on one database."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self._installation = installation
        self._chance = random.Random(seed)
        self.receivers = {name: Receiver(script) for name, script in scripts().items()}
        self.receivers[UNTRUSTED] = Receiver(tls=_untrusted())
        self.keys: dict[str, str] = {}
        self.secrets: dict[str, str] = {}
        self.tasks: dict[str, str] = {}
        """Acknowledged tasks, and the organization of each."""
        self.kills: list[tuple[float, float]] = []
        """When servers were away."""
        self.problems: list[str] = []
        self._over = threading.Event()
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Start the servers, and create an organization for each receiver."""
        self._installation.prepare()
        with self._installation.operator() as client:
            for name in self.receivers:
                client.post("/admin/v1/organizations", json={"name": name}).raise_for_status()
                path = f"/admin/v1/organizations/{name}"
                self.keys[name] = client.post(f"{path}/keys", json={}).json()["value"]
                self.secrets[name] = client.post(f"{path}/webhook-secrets", json={}).json()["value"]

    def go(self, deliveries: int) -> None:
        """Submit and cancel this number of tasks while servers are killed; then let all messages be sent."""
        killer = threading.Thread(target=self._kill, name="killer", daemon=True)
        killer.start()
        names = [name for _ in range(deliveries // len(self.keys) + 1) for name in self.keys][:deliveries]
        self._chance.shuffle(names)
        with ThreadPoolExecutor(SUBMITTERS) as pool:
            list(pool.map(self._end_one, names))
        self._over.set()
        killer.join(120)
        self._installation.start()
        self._installation.await_ready()
        witness = Witness(self._installation.database)
        if left := run_down(lambda: witness.ask(UNSENT)[0][0], DRAIN_SECONDS):
            self.problems.append(f"{left} messages were neither delivered nor given up")

    def _kill(self) -> None:
        while not self._over.wait(self._chance.uniform(*KILL_SECONDS)):
            server = self._chance.choice(self._installation.servers)
            began = time.time()
            server.kill()
            server.start()
            self._installation.await_ready()
            self.kills.append((began, time.time()))

    def _end_one(self, name: str) -> None:
        """Submit a task with a webhook, and cancel it, each until it is answered."""
        body = {
            "taskType": "LOOP",
            "payload": {"seconds": 60},
            "webhook": {"url": self.receivers[name].url},
            "idempotencyKey": secrets.token_hex(8),
            "runAt": f"{datetime.now(UTC) + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        }
        self._send(name, "POST", "/v1/async/task", body)
        found = self._send(name, "GET", f"/v1/async/task/{body['idempotencyKey']}").json()["task"]["id"]
        with self._lock:
            self.tasks[found] = name
        self._send(name, "DELETE", f"/v1/async/task/{found}")
        time.sleep(PAUSE_SECONDS)

    def _send(self, name: str, method: str, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {self.keys[name]}"}
        give_up_at = time.monotonic() + 60
        with httpx2.Client(headers=headers, timeout=10, verify=NO_TLS) as client:
            while True:
                with contextlib.suppress(httpx2.TransportError):
                    answer = client.request(method, f"{self._installation.addresses[0]}{path}", json=body)
                    if answer.status_code in (200, 409):
                        return answer
                    if answer.status_code != 503:
                        raise AssertionError(f"{method} {path}: {answer.status_code}: {answer.text}")
                if time.monotonic() > give_up_at:
                    raise AssertionError(f"{method} {path} was not answered")
                time.sleep(0.1)

    # What came -------------------------------------------------------------------------------------------------------

    def judge(self) -> list[str]:
        """Compare what came with the rows; return lines for the table."""
        witness = Witness(self._installation.database)
        rows = {task_id: rest for task_id, *rest in witness.ask(DELIVERIES)}
        recorded = Counter(delivery_id for delivery_id, _, error in witness.ask(RECORDED) if error != INTERRUPTED)
        finished = dict(witness.ask(OUTCOMES))
        lines, delays = [], []
        for name, receiver in self.receivers.items():
            mine = [task_id for task_id, owner in self.tasks.items() if owner == name]
            taken = twice = 0
            for task_id in mine:
                if task_id not in rows:
                    self.problems.append(f"{name}: the message of {task_id} was never written")
                    continue
                delivery_id, tries, _, delivered_at = rows[task_id]
                lost = tries - recorded[delivery_id]
                came = receiver.tries.get(task_id, [])
                good = [one for one in came if one.manner in TAKEN]
                taken += delivered_at is not None
                twice += len(good) > 1
                self._check(name, task_id, tries, lost, delivered_at, came, good)
                if name == GOOD and came and not self._away(finished[task_id] / 1_000, came[0].at):
                    delays.append(came[0].at - finished[task_id] / 1_000)
            tries = sum(len(receiver.tries.get(task_id, [])) for task_id in mine)
            lines.append(f"  {name:<14}{len(mine):>6} messages {tries:>7} tries {taken:>6} delivered {twice:>5} twice")
        late = max(delays, default=99.0)
        lines.append(f"  to the good receiver while no server was away: {len(delays)}, the latest {late:.2f} s")
        if late > DELAY_SECONDS:
            self.problems.append(f"a message to the good receiver came {late:.2f} s after the outcome")
        return lines

    def _check(
        self, name: str, task_id: str, tries: int, lost: int, delivered_at: Any, came: list[Any], good: list[Any]
    ) -> None:
        """Compare the tries of one message with its row. ``lost``: how many a killed server did not record."""
        say = self.problems.append
        if tries > TRIES_MOST + lost or lost > len(self.kills):
            say(f"{name}: {task_id} was tried {tries} times")
        if delivered_at is not None and not good:
            say(f"{name}: {task_id} is recorded as delivered and never came")
        if delivered_at is None and tries < TRIES_MOST:
            say(f"{name}: {task_id} was given up after {tries} tries")
        if name == UNTRUSTED and came:
            say(f"{name}: a message was sent to a certificate that is not trusted")
        numbers = []
        for one in came:
            try:
                verify(self.secrets[name], one.headers, one.body)
            except WebhookInvalid as error:
                say(f"{name}: {task_id}: {error}")
            headers = {key.lower(): text for key, text in one.headers.items()}
            numbers.append(int(headers["x-cloro-webhook-id"].rpartition("-")[2]))
        if len(set(numbers)) != len(numbers):
            say(f"{name}: {task_id} came twice with one number: {numbers}")
        for before, after in pairwise(came):
            # A pause begins when the try before it has ended, so this is its least.
            if after.at - before.at < EARLY * PAUSES_SECONDS[0] - 0.05:
                say(f"{name}: {task_id} was tried again after {after.at - before.at:.2f} s")

    def control(self) -> int:
        """Compare three made-up messages with rows that promise too much; return how many were found out."""
        kept, self.problems = self.problems, []
        receiver = self.receivers[GOOD]
        came = next(tries for tries in receiver.tries.values() if tries)[:1]
        self._check(GOOD, "made-up", 1, 0, 1, [], [])
        self._check(GOOD, "made-up", TRIES_MOST + 1, 0, 1, came, came)
        self._check(GOOD, "made-up", 1, 0, 1, came * 2, came)
        found, self.problems = self.problems, kept
        return sum(any(words in one for one in found) for words in ("never came", "was tried", "with one number"))

    def _away(self, start: float, end: float) -> bool:
        return any(start - 1 < back and gone < end + 1 for gone, back in self.kills)

    def close(self) -> None:
        """End the receivers."""
        for receiver in self.receivers.values():
            receiver.close()


def _untrusted() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


def run(kind: str, deliveries: int, seed: int) -> int:
    """Run on one database; print the result and return an exit code."""
    began = time.monotonic()
    more = {
        "FAIRLANE_WEBHOOK_TIMEOUT_SECONDS": str(TIMEOUT_SECONDS),
        "FAIRLANE_WEBHOOK_PAUSES_SECONDS": ",".join(map(str, PAUSES_SECONDS)),
    }
    with installed("deliveries", kind, more=more) as installation, contextlib.closing(Run(installation, seed)) as made:
        made.prepare()
        made.go(deliveries)
        lines = made.judge()
        found = made.control()
    print(
        f"deliveries on {kind}: {len(made.tasks)} messages, {len(made.kills)} servers killed, "
        f"{len(made.problems)} problems, {time.monotonic() - began:.0f} s, seed {seed}"
    )
    lines.append(f"  control: {found} of 3 rows that promise too much were found out")
    print(*lines, *(f"    BROKEN {one}" for one in made.problems[:10]), sep="\n", flush=True)
    if made.problems or found != 3:
        return 1
    return 0 if made.kills else SLOW


def main() -> int:
    """Run on both databases; return 0 if every promise held, SLOW if no server was killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("deliveries", type=int, nargs="?", default=2_500, help="on each database")
    parser.add_argument("--seed", type=int, default=0, help="repeats the choices, not their timing")
    parser.add_argument("--database", choices=["sqlite", "postgres"], help="only this one")
    chosen = parser.parse_args()
    kinds = [chosen.database] if chosen.database else ["sqlite", "postgres"]
    codes = {run(kind, chosen.deliveries, chosen.seed) for kind in kinds}
    return worst(codes)


if __name__ == "__main__":
    sys.exit(main())
