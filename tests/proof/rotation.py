"""``python -m tests.proof.rotation``: every secret of an installation is replaced, while customers go on.

Two servers and a worker on a PostgreSQL that asks for a password. Customers submit and read without a break; a request
that a server does not answer goes to the other, as a proxy would send it. Meanwhile their key, the worker's key, the
secret that signs webhooks, the key that encrypts it, and the database's password are rotated as the pages for operators
say. No request may fail, every webhook is signed with a secret that its receiver was told, and what was revoked is
refused by every server within five seconds.
"""

import argparse
import contextlib
import secrets
import sys
import threading
import time
from functools import partial
from typing import Any

import httpx2

from fairlane.client import WebhookInvalid, verify
from tests.api.house import NO_TLS
from tests.chaos.parties import Installation, Party, installed
from tests.chaos.witness import Witness
from tests.postgres import at_once, execute
from tests.proof.receiver import Receiver, Try

CUSTOMERS = 3
PAUSE_SECONDS = 0.02
CALM_SECONDS = 2.0
"""Between two steps, so that every customer sends requests in each state."""
REVOKED_SECONDS = 5.0
DRAIN_SECONDS = 60.0
ORGANIZATION, DATABASE, ROLE = "rotation", "rotation", "app"
ASKS = "local {database} {role} scram-sha-256\n"
"""The line of pg_hba.conf that makes PostgreSQL ask this role for its password."""
OPEN = "SELECT count(*) FROM task AS t LEFT JOIN outcome AS o ON o.task_id = t.id WHERE o.task_id IS NULL"
UNSENT = "SELECT count(*) FROM delivery WHERE due_at IS NOT NULL"


class Customers:
    """Threads that submit and read, each request with the key of that moment."""

    def __init__(self, addresses: list[str], webhook: str) -> None:
        self.key = ""
        self.answered = 0
        self.passed_on = 0
        """Requests that one server did not answer, and the other did."""
        self.failed: list[str] = []
        self._addresses = addresses
        self._webhook = webhook
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin."""
        for number in range(CUSTOMERS):
            thread = threading.Thread(target=self._go, args=(number,), name=f"customer-{number}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def end(self) -> None:
        """Send nothing more."""
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _go(self, number: int) -> None:
        with httpx2.Client(timeout=20, verify=NO_TLS) as client:
            count = 0
            while not self._over.wait(PAUSE_SECONDS):
                count += 1
                body = {
                    "taskType": "LOOP",
                    "payload": {"seconds": 0},
                    "idempotencyKey": f"{number}-{count}",
                    "webhook": {"url": self._webhook},
                }
                self._send(client, number + count, "POST", "/v1/async/task", body)
                self._send(client, number + count, "GET", "/v1/async/status", None)

    def _send(self, client: httpx2.Client, turn: int, method: str, path: str, body: Any) -> None:
        key, told = self.key, []
        for place in range(len(self._addresses)):
            address = self._addresses[(turn + place) % len(self._addresses)]
            try:
                answer = client.request(method, address + path, json=body, headers={"authorization": f"Bearer {key}"})
            except httpx2.TransportError as error:
                told.append(type(error).__name__)
                continue
            if answer.status_code == 200:
                self.answered += 1
                self.passed_on += place > 0
                return
            told.append(str(answer.status_code))
        self.failed.append(f"{method} {path}: {', '.join(told)}")


class Rotation:
    """One run."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._password = secrets.token_hex(16)
        self._sealing = secrets.token_hex(32)
        self.receiver = Receiver()
        self.customers = Customers(installation.addresses, self.receiver.url)
        self._key: dict[str, Any] = {}
        self._worker_key: dict[str, Any] = {}
        self.signing: list[tuple[float, str]] = []
        """When each secret was told to the receiver."""
        self._valid_until: dict[str, float] = {}
        """By secret, since when nothing may be signed with it alone."""
        self.refused_after: dict[str, float] = {}
        """What was revoked, and after how long every server refused it."""
        self.problems: list[str] = []
        self.steps: list[str] = []

    def prepare(self) -> None:
        """Make the database and its role, start the programs, create an organization."""
        cluster = self._installation.cluster
        assert cluster is not None
        self._execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self._password}'")
        self._execute(f"CREATE DATABASE {DATABASE} OWNER {ROLE}")
        access = cluster.folder / "data" / "pg_hba.conf"
        access.write_text(ASKS.format(database=DATABASE, role=ROLE) + access.read_text())
        self._execute("SELECT pg_reload_conf()")
        self._installation.environment |= self._variables()
        for server in self._installation.servers:
            server.environment |= self._variables()
        self._installation.prepare()
        with self._installation.operator() as operator:
            _read(operator.post("/admin/v1/organizations", json={"name": ORGANIZATION}))
            self._key = _read(operator.post(f"/admin/v1/organizations/{ORGANIZATION}/keys", json={}))
            self._worker_key = _read(operator.post("/admin/v1/keys", json={"kind": "worker", "name": "first"}))
        self._sign_anew()
        self.customers.key = self._key["value"]
        self._installation.add_workers(self._worker_key["value"])
        self._installation.workers[0].start()

    def go(self) -> None:
        """Rotate one secret after the other under load."""
        self.customers.start()
        for step in (self.key, self.worker_key, self.webhook_secret, self.encryption_key, self.password):
            self.customers_go_on()
            before = len(self.customers.failed), self.customers.answered
            began = time.monotonic()
            step()
            self.customers_go_on()
            failed, answered = len(self.customers.failed) - before[0], self.customers.answered - before[1]
            after = self.refused_after.get(step.__name__)
            told = "" if after is None else f", refused everywhere after {after:.2f} s"
            name = step.__name__.replace("_", " ")
            self.steps.append(
                f"  {name:<16}{answered:>7} requests {failed:>4} failed, {time.monotonic() - began:.0f} s{told}"
            )
        self.customers.end()
        self.problems += [f"a request failed: {one}" for one in self.customers.failed]

    def customers_go_on(self) -> None:
        """Let requests pass in the state of now."""
        threading.Event().wait(CALM_SECONDS)

    # Steps, as the pages for operators say --------------------------------------------------------------------------

    def key(self) -> None:
        """A second key; customers change to it; the first is revoked."""
        with self._installation.operator() as operator:
            new = _read(operator.post(f"/admin/v1/organizations/{ORGANIZATION}/keys", json={}))
            old, self._key, self.customers.key = self._key, new, new["value"]
            self.customers_go_on()
            _read(operator.delete(f"/admin/v1/keys/{old['id']}"))
        self._await_refusal("key", old["value"], "/v1/async/status")

    def worker_key(self) -> None:
        """A second key and a second worker; the first worker ends; its key is revoked."""
        first, second, *_ = self._installation.workers
        with self._installation.operator() as operator:
            new = _read(operator.post("/admin/v1/keys", json={"kind": "worker", "name": "second"}))
            second.environment |= {"FAIRLANE_WORKER_KEY": new["value"]}
            second.start()
            self.customers_go_on()
            if (code := first.end()) != 0:
                self.problems.append(f"the first worker ended with {code}")
            _read(operator.delete(f"/admin/v1/keys/{self._worker_key['id']}"))
        self._worker_key = new

    def webhook_secret(self) -> None:
        """A second secret; both sign until the first is revoked."""
        self._sign_anew()
        self.customers_go_on()
        self._revoke_older()

    def encryption_key(self) -> None:
        """Servers learn the new key beside the old one, secrets are made anew with it, servers forget the old one."""
        old, self._sealing = self._sealing, secrets.token_hex(32)
        new = self._sealing
        self._restart(FAIRLANE_SECRET_KEY=f"{new},{old}")
        if self._starts_with(new):
            self.problems.append("a server started although its key decrypts no secret")
        self._sign_anew()
        self.customers_go_on()
        self._revoke_older()
        self._restart(FAIRLANE_SECRET_KEY=new)

    def password(self) -> None:
        """The role gets another password; servers are started again with it, one by one."""
        self._password = secrets.token_hex(16)
        self._execute(f"ALTER ROLE {ROLE} PASSWORD '{self._password}'")
        self.customers_go_on()
        self._restart(**self._variables())

    # Their parts ----------------------------------------------------------------------------------------------------

    def _restart(self, **variables: str) -> None:
        for server, address in zip(self._installation.servers, self._installation.addresses, strict=True):
            server.environment |= variables
            if (code := server.end()) != 0:
                self.problems.append(f"{server.name} ended with {code}")
            server.start()
            self._installation.seconds_until_ready([address])

    def _starts_with(self, sealing: str) -> bool:
        """Return whether a further server starts with this key alone, which it must not."""
        last = self._installation.servers[-1]
        folder = self._installation.folder / "r9"
        folder.mkdir(mode=0o700)
        more = {"FAIRLANE_SECRET_KEY": sealing, "XDG_RUNTIME_DIR": str(folder)}
        command = ["serve", "tests/chaos/app.py:app", "--port", "0", "--workers", "0"]
        server = Party("server-9", command, self._installation.folder, last.environment | more)
        server.start()
        give_up_at = time.monotonic() + DRAIN_SECONDS
        while server.running and time.monotonic() < give_up_at:
            time.sleep(0.05)
        started = server.running
        if started:
            server.kill()
        return started

    def _sign_anew(self) -> None:
        with self._installation.operator() as operator:
            path = f"/admin/v1/organizations/{ORGANIZATION}/webhook-secrets"
            made = _read(operator.post(path, json={}))
        self.signing.append((time.time(), made["value"]))

    def _revoke_older(self) -> None:
        path = f"/admin/v1/organizations/{ORGANIZATION}/webhook-secrets"
        with self._installation.operator() as operator:
            _, *older = _read(operator.get(path))["webhook_secrets"]
            for one in older:
                _read(operator.delete(f"{path}/{one['id']}"))
        for _, secret in self.signing[:-1]:
            self._valid_until.setdefault(secret, time.time())

    def _await_refusal(self, name: str, key: str, path: str) -> None:
        """Ask every server until all refuse the key; note how long it took."""
        began = time.monotonic()
        headers = {"authorization": f"Bearer {key}"}
        with httpx2.Client(timeout=10, verify=NO_TLS, headers=headers) as client:
            while time.monotonic() < began + 2 * REVOKED_SECONDS:
                if all(client.get(one + path).status_code == 401 for one in self._installation.addresses):
                    break
                time.sleep(0.05)
        self.refused_after[name] = time.monotonic() - began
        if self.refused_after[name] > REVOKED_SECONDS:
            self.problems.append(f"a revoked {name} was accepted {self.refused_after[name]:.1f} s later")

    def _variables(self) -> dict[str, str]:
        cluster = self._installation.cluster
        assert cluster is not None
        address = f"postgresql://{ROLE}:{self._password}@/{DATABASE}?host={cluster.folder}"
        return {"FAIRLANE_DATABASE": address, "FAIRLANE_SECRET_KEY": self._sealing}

    def _execute(self, sql: str) -> None:
        cluster = self._installation.cluster
        assert cluster is not None
        at_once(partial(execute, cluster.address, sql))

    # What came ------------------------------------------------------------------------------------------------------

    def judge(self) -> str:
        """Let everything end; check each message's signature. Return a line for the table."""
        cluster = self._installation.cluster
        assert cluster is not None
        witness = Witness(cluster.database(DATABASE))
        give_up_at = time.monotonic() + DRAIN_SECONDS
        while any(left := [int(witness.ask(one)[0][0]) for one in (OPEN, UNSENT)]) and time.monotonic() < give_up_at:
            time.sleep(0.2)
        if any(left):
            self.problems.append(f"{left[0]} tasks did not end, {left[1]} messages were not delivered")
        tries = [one for came in self.receiver.tries.values() for one in came]
        both = 0
        for one in tries:
            good = signed_with(one, [secret for _, secret in self.signing])
            both += len(good) > 1
            if not good:
                self.problems.append("a message has no signature of a known secret")
            elif all(self._valid_until.get(secret, one.at) + REVOKED_SECONDS < one.at for secret in good):
                self.problems.append("a message is signed with revoked secrets alone")
        with self._installation.operator() as operator:
            drift = _read(operator.get("/admin/v1/drift"))["drift"]
        if drift:
            self.problems.append(f"counts drifted: {drift}")
        if not both:
            self.problems.append("no message had the signatures of two secrets: the rotation was not seen")
        return f"  {len(tries)} messages, {both} of them signed with two secrets"

    def close(self) -> None:
        """End the receiver."""
        self.receiver.close()

    def control(self) -> int:
        """Revoke the key that customers use; return how many requests fail then."""
        late = Customers(self._installation.addresses, self.receiver.url)
        late.key = self._key["value"]
        late.start()
        self.customers_go_on()
        with self._installation.operator() as operator:
            _read(operator.delete(f"/admin/v1/keys/{self._key['id']}"))
        self.customers_go_on()
        late.end()
        return len(late.failed)


def signed_with(one: Try, known: list[str]) -> list[str]:
    """Return those of these secrets that signed a message."""
    good = []
    for secret in known:
        with contextlib.suppress(WebhookInvalid):
            verify(secret, one.headers, one.body, now=lambda: one.at)
            good.append(secret)
    return good


def _read(answer: httpx2.Response) -> Any:
    answer.raise_for_status()
    return answer.json() if answer.content else None


def main() -> int:
    """Run; return 0 if every promise held and the control failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args()
    began = time.monotonic()
    with installed("rotation", "postgres") as installation, contextlib.closing(Rotation(installation)) as made:
        made.prepare()
        made.go()
        line = made.judge()
        failed = made.control()
    seconds = time.monotonic() - began
    print(
        f"rotation on postgres: {made.customers.answered} requests, {len(made.customers.failed)} failed, "
        f"{made.customers.passed_on} answered by the other server, {len(made.problems)} problems, {seconds:.0f} s"
    )
    print(*made.steps, line, sep="\n")
    print(f"  control, a key revoked while it is used: {failed} requests failed")
    print(*(f"    BROKEN {one}" for one in made.problems[:10]), sep="\n", end="" if not made.problems else "\n")
    return int(bool(made.problems) or failed == 0)


if __name__ == "__main__":
    sys.exit(main())
