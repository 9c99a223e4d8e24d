"""``python -m tests.proof.disk_faults``: a server on a real file system that fills up, is slow, or turns read-only.

A file system of 32 MiB in a file, mounted for this run; where mounting is not allowed, the run says so and ends well.
The server is a process of its own and is driven over HTTP. What it acknowledged is looked up again after each fault.
"""

import argparse
import contextlib
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from tests.api.house import NO_TLS, eventually
from tests.chaos.parties import Party, free_port

DISK_BYTES = 32 * 1024 * 1024
START_SECONDS = 120.0
"""How long a start may take on a busy machine; no promise is about it."""
BACK_SECONDS = 1.0
"""How soon after there is room again, or the disk can be written again, the server is ready."""
BUSY_SECONDS = 1.5
"""What a busy machine may add."""
ANSWER_SECONDS = 2.0
SYNC_SECONDS = 0.2
STORE_BROKEN = 9
"""The exit code of a server after its disk failed."""
DATABASE_UNUSABLE = 4
"""The exit code of a server that cannot open its database."""
REFUSALS = 3
"""A disk is full once this many small submits in a row were refused."""
PRESSED_MOST = 60
SETTINGS = {
    "FAIRLANE_PUBLIC_ADMIN": "1",
    "FAIRLANE_PUBLIC_WORKERS": "1",
    "FAIRLANE_FREE_DISK_FLOOR_BYTES": "0",
    "FAIRLANE_RATE_LIMIT": "1000000",
    "FAIRLANE_LOG_LEVEL": "WARNING",
    "FAIRLANE_LEASE_SECONDS": "3600",
    "FAIRLANE_RENEW_SECONDS": "1000",
    "FAIRLANE_SWEEP_SECONDS": "1",
}


class NotAllowed(Exception):
    """This machine does not let the run mount a file system."""


class Disk:
    """A file system of 32 MiB in a file."""

    def __init__(self, folder: Path) -> None:
        self._image = folder / "disk.img"
        self.root = folder / "disk"
        self._filler = self.root / "filler"

    @contextlib.contextmanager
    def mounted(self) -> Iterator["Disk"]:
        """Make and mount it until the end of the block. Raises NotAllowed."""
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(DISK_BYTES)
        _system("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=0", str(self._image))
        self._mount()
        try:
            yield self
        finally:
            subprocess.run(["umount", str(self.root)], check=False)

    def _mount(self) -> None:
        _system("mount", "-o", "loop,errors=remount-ro", str(self._image), str(self.root))

    def fill(self) -> None:
        """Leave no byte free."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (1 << 20, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while filler.write(bytes(size)):
                        pass

    def clear(self) -> None:
        """Make room again."""
        self._filler.unlink(missing_ok=True)

    def break_off(self) -> None:
        """Let the file system turn read-only, as the kernel does when it meets an error."""
        device = subprocess.run(
            ["findmnt", "-n", "-o", "SOURCE", str(self.root)], capture_output=True, text=True, check=True
        )
        Path(f"/sys/fs/ext4/{Path(device.stdout.strip()).name}/trigger_fs_error").write_text("1")

    def repair(self) -> None:
        """Unmount it, check it, and mount it again."""
        _system("umount", str(self.root))
        subprocess.run(["e2fsck", "-p", str(self._image)], capture_output=True, check=False)
        self._mount()


def _system(*command: str) -> None:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotAllowed(f"{command[0]}: {error.strerror}") from error
    if ran.returncode:
        raise NotAllowed(f"{command[0]}: {ran.stderr.strip()}")


@dataclass
class Told:
    """What the server acknowledged."""

    tasks: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)


class Place:
    """A server process on this disk, one organization and one worker, by HTTP."""

    def __init__(self, folder: Path, database: Path, **environment: str) -> None:
        runtime = Path(tempfile.mkdtemp(dir=folder, prefix="r"))
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("FAIRLANE_")},
            **SETTINGS,
            **environment,
            "FAIRLANE_DATABASE": f"sqlite:///{database}",
            "XDG_RUNTIME_DIR": str(runtime),
        }
        command = ["serve", "tests/proof/app.py:app", "--port", str(port), "--workers", "0"]
        self.server = Party(f"server-{port}", command, folder, self.environment)
        self.log = folder / f"server-{port}.log"
        self.told = Told()
        self.problems: list[str] = []
        self.slowest = 0.0

    def begin(self) -> None:
        """Start the server, create the keys, an organization and a session."""
        self.server.start()
        self.await_ready(START_SECONDS)
        runtime = Path(self.environment["XDG_RUNTIME_DIR"])
        [socket] = eventually(lambda: list(runtime.glob("*/admin.sock")))  # its listener begins after the customers'
        admin = "ak_live_" + secrets.token_hex(16)
        transport = httpx2.HTTPTransport(uds=str(socket), verify=NO_TLS)
        with httpx2.Client(transport=transport, base_url="http://fairlane", verify=NO_TLS) as local:
            local.post("/admin/v1/keys", json={"kind": "admin", "name": "proof", "value": admin})
        self._admin = httpx2.Client(
            base_url=self.url, headers={"authorization": f"Bearer {admin}"}, timeout=30, verify=NO_TLS
        )
        self._admin.post("/admin/v1/organizations", json={"name": "proof", "slots": 1_000})
        key = self._admin.post("/admin/v1/organizations/proof/keys", json={}).json()["value"]
        worker = self._admin.post("/admin/v1/keys", json={"kind": "worker", "name": "proof"}).json()["value"]
        self._clients = {
            name: httpx2.Client(
                base_url=self.url, headers={"authorization": f"Bearer {value}"}, timeout=20, verify=NO_TLS
            )
            for name, value in (("customer", key), ("worker", worker))
        }
        self.session = self.registered()

    def await_ready(self, most: float) -> float:
        """Wait until ``/readyz`` says yes; return the seconds."""
        began = time.monotonic()
        while not self.ready():
            if time.monotonic() > began + most:
                self.problems.append(f"not ready within {most:.0f} s")
                return most
            time.sleep(0.01)
        return time.monotonic() - began

    def ready(self) -> bool:
        """Return what ``/readyz`` says."""
        with contextlib.suppress(httpx2.TransportError):
            return httpx2.get(f"{self.url}/readyz", timeout=5, verify=NO_TLS).status_code == 200
        return False

    def ask(self, caller: str, method: str, path: str, body: Any = None, *, known: tuple[int, ...] = ()) -> Any:
        """Send a request; return its answer, or None if none came. Only 200, 503 and ``known`` are no problem."""
        began = time.monotonic()
        try:
            answer = self._clients[caller].request(method, path, json=body)
        except httpx2.TransportError:
            return None
        self.slowest = max(self.slowest, time.monotonic() - began)
        if answer.status_code == 503:
            if "retry-after" not in answer.headers:
                self.problems.append(f"{method} {path}: 503 without Retry-After")
        elif answer.status_code not in (200, *known):
            self.problems.append(f"{method} {path}: {answer.status_code}: {answer.text[:200]}")
        return answer

    def submit(self, size: int = 10) -> int:
        """Submit a task; return the status, 0 if there was no answer."""
        answer = self.ask("customer", "POST", "/v1/async/task", {"taskType": "WORK", "payload": {"x": "x" * size}})
        if answer is None:
            return 0
        if answer.status_code == 200:
            self.told.tasks.append(answer.json()["task"]["id"])
        return int(answer.status_code)

    def registered(self) -> str:
        """Return a new session."""
        body = {"name": "proof/1", "types": ["WORK"], "places": 1_000}
        answer = self.ask("worker", "POST", "/worker/v1/sessions", body)
        return str(answer.json()["session"]) if answer is not None and answer.status_code == 200 else ""

    def exchange(self, places: int, *reports: dict[str, Any]) -> Any:
        """Send an exchange; return its answer. If the session has ended, which a full disk allows, begin another."""
        body = {"session": self.session, "id": secrets.token_hex(8), "places": places, "reports": list(reports)}
        answer = self.ask("worker", "POST", "/worker/v1/exchange", body | {"wait_seconds": 0}, known=(410,))
        if answer is not None and answer.status_code == 410:
            self.session = self.registered() or self.session
        return answer

    # Once there is room ----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Look up what was acknowledged, run what is left, and compare the counts with the rows."""
        for task_id in self.told.tasks:
            answer = self.ask("customer", "GET", f"/v1/async/task/{task_id}", known=(404,))
            if answer is None or answer.status_code != 200:
                self.problems.append(f"the acknowledged task {task_id} is lost")
            elif task_id in self.told.ended and answer.json()["task"]["status"] == "QUEUED":
                self.problems.append(f"the end of {task_id} is lost")
        self.ask("worker", "DELETE", f"/worker/v1/sessions/{self.session}", {"reason": "lost"}, known=(410,))
        self.session = self.registered()
        give_up_at = time.monotonic() + 30
        while time.monotonic() < give_up_at:
            answer = self.exchange(200)
            if answer is None or answer.status_code != 200:
                self.problems.append("no exchange at the end")
                return
            leases = answer.json()["leases"]
            self.exchange(0, *({"lease": one["lease"], "outcome": "completed", "result": {}} for one in leases))
            status = self.ask("customer", "GET", "/v1/async/status").json()
            if not leases and (status["queuedTasks"], status["processingTasks"]) == (0, 0):
                break
            if not leases:
                time.sleep(0.05)
        else:
            self.problems.append(f"work is left: {status}")
        drift = self._admin.get("/admin/v1/drift").json()["drift"]
        if drift:
            self.problems.append(f"counts drifted: {drift}")
        if " 500" in self.log.read_text() or "Traceback" in self.log.read_text():
            self.problems.append(f"the log has a traceback: {self.log.read_text()[-600:]}")

    def end(self) -> None:
        """End the server in order."""
        if self.server.running and (code := self.server.end()):
            self.problems.append(f"the server ended with {code}")


# A full disk ---------------------------------------------------------------------------------------------------------


def submit(place: Place) -> int:
    """One small task."""
    return place.submit()


def batch(place: Place) -> int:
    """A hundred tasks."""
    bodies = [{"taskType": "WORK", "payload": {}} for _ in range(100)]
    answer = place.ask("customer", "POST", "/v1/async/task/batch", bodies)
    if answer is not None and answer.status_code == 200:
        place.told.tasks += [one["task"]["id"] for one in answer.json()["results"]]
    return 0 if answer is None else int(answer.status_code)


def cancel(place: Place) -> int:
    """A cancel request for an acknowledged task."""
    task_id = random.choice(place.told.tasks)
    answer = place.ask("customer", "DELETE", f"/v1/async/task/{task_id}", known=(409,))
    if answer is not None and answer.status_code == 200:
        place.told.ended.append(task_id)
    return 0 if answer is None else int(answer.status_code)


def exchange(place: Place) -> int:
    """An exchange that claims and one that reports."""
    answer = place.exchange(2)
    if answer is None or answer.status_code != 200:
        return 0 if answer is None else int(answer.status_code)
    leases = answer.json()["leases"]
    reports = [{"lease": one["lease"], "outcome": "completed", "result": {}} for one in leases]
    answer = place.exchange(0, *reports)
    if answer is not None and answer.status_code == 200:
        verdicts = answer.json()["verdicts"]
        place.told.ended += [one["task"] for one, said in zip(leases, verdicts, strict=True) if said == "accepted"]
    return 0 if answer is None else int(answer.status_code)


def renew(place: Place) -> int:
    """A renewal."""
    body: dict[str, Any] = {"leases": [], "exchanges": []}
    answer = place.ask("worker", "POST", f"/worker/v1/sessions/{place.session}/renew", body, known=(410,))
    if answer is not None and answer.status_code == 410:
        place.session = place.registered() or place.session
    return 0 if answer is None else int(answer.status_code)


def end(place: Place) -> int:
    """The end of a session, and the registration of the next."""
    path = f"/worker/v1/sessions/{place.session}"
    answer = place.ask("worker", "DELETE", path, {"reason": "lost"}, known=(410,))
    if answer is not None and answer.status_code in (200, 410):
        place.session = place.registered() or place.session
    return 0 if answer is None else int(answer.status_code)


def call(place: Place) -> int:
    """A call that runs to its end."""
    with ThreadPoolExecutor(1) as pool:
        calling = pool.submit(place.ask, "customer", "POST", "/v1/monitor/work", {})
        while not calling.done():
            exchange(place)
            time.sleep(0.01)
        answer = calling.result()
    return 0 if answer is None else int(answer.status_code)


def status(place: Place) -> int:
    """A read of the status, which needs no room."""
    answer = place.ask("customer", "GET", "/v1/async/status")
    if answer is None or answer.status_code != 200:
        place.problems.append("the status cannot be read on a full disk")
    return 0 if answer is None else int(answer.status_code)


OPERATIONS: dict[str, Callable[[Place], int]] = {
    one.__name__: one for one in (submit, batch, cancel, exchange, renew, end, call, status)
}


def full(
    folder: Path, rounds: int, *, operations: Sequence[str] = tuple(OPERATIONS), plant: str = ""
) -> tuple[Place, list[str]]:
    """Fill the disk at each operation, and make room again; return the place, and lines for the table."""
    lines = ["  operation       answers on a full disk                 accepted again    ready again"]
    with Disk(folder).mounted() as disk:
        place = Place(folder, disk.root / "db" / "fairlane.db", PLANT=plant)
        place.begin()
        try:
            for _ in range(20):
                place.submit()
            for name in list(operations) * rounds:
                lines.append(_filled(disk, place, name))
            if not plant:
                lines.append(_started_full(disk, place))
            place.finish()
        finally:
            place.end()
    return place, lines


def _filled(disk: Disk, place: Place, name: str) -> str:
    """Fill the disk, repeat one operation, make room; return its line of the table."""
    disk.fill()
    refused = pressed = 0
    while refused < REFUSALS and pressed < PRESSED_MOST:
        refused = refused + 1 if place.submit(4_000) == 503 else 0
        pressed += 1
    if refused < REFUSALS:
        place.problems.append(f"{name}: the disk was never full")
    answers = [OPERATIONS[name](place) for _ in range(5)]
    disk.clear()
    began = time.monotonic()
    while place.submit() != 200 and time.monotonic() < began + 10:
        time.sleep(0.01)
    accepted = time.monotonic() - began
    ready = accepted + place.await_ready(10)
    for what, took in (("accepts", accepted), ("is ready", ready)):
        if took > BACK_SECONDS + BUSY_SECONDS:
            place.problems.append(f"{name}: the server {what} only {took:.2f} s after there was room")
    if not place.server.running:
        place.problems.append(f"{name}: the server ended")
    counts = ", ".join(f"{status}: {answers.count(status)}" for status in sorted(set(answers)))
    return f"  {name:<16}{counts:<40}{accepted:>11.2f} s  {ready:>12.2f} s"


def _started_full(disk: Disk, place: Place) -> str:
    """Kill the server, start it while the disk is full, and again when there is room; return what came of it."""
    disk.fill()
    place.server.kill()
    place.server.start()
    began = time.monotonic()
    ready = place.ready()
    while place.server.running and not ready and time.monotonic() < began + START_SECONDS:
        ready = place.ready()
    code = place.server.exit_code
    if not ready and code != DATABASE_UNUSABLE:
        place.problems.append(f"a start on a full disk ends with {code}")
    disk.clear()
    place.server.start()
    place.await_ready(START_SECONDS)
    return f"  a start on a full disk {'serves' if ready else f'ends with exit code {code}'}"


# A slow disk, and one that turns read-only ---------------------------------------------------------------------------


def slow(folder: Path, rounds: int) -> tuple[Place, list[str]]:
    """Submit, claim and report by many clients while each sync takes 200 ms."""
    place = Place(folder, folder / "slow" / "fairlane.db", SYNC_SECONDS=str(SYNC_SECONDS))
    place.begin()
    began = time.monotonic()
    try:
        with ThreadPoolExecutor(16) as pool:
            statuses = list(pool.map(lambda _: place.submit(), range(100 * rounds)))
        if statuses.count(200) != len(statuses):
            place.problems.append(f"a slow disk refuses: {sorted(set(statuses))}")
        if place.slowest > ANSWER_SECONDS + BUSY_SECONDS:
            place.problems.append(f"an answer took {place.slowest:.1f} s")
        took = time.monotonic() - began
        place.finish()
    finally:
        place.end()
    return place, [f"  {len(statuses)} submits by 16 clients in {took:.1f} s, the slowest {place.slowest:.2f} s"]


def read_only(folder: Path, rounds: int) -> tuple[Place, list[str]]:
    """Let the file system turn read-only under load; repair it and start the server again."""
    lines = []
    with Disk(folder).mounted() as disk:
        place = Place(folder, disk.root / "db" / "fairlane.db")
        place.begin()
        try:
            for _ in range(rounds):
                for _ in range(20):
                    place.submit()
                exchange(place)
                known = len(place.told.tasks)
                disk.break_off()
                began = time.monotonic()
                statuses = [place.submit()]
                while place.server.running and time.monotonic() < began + 20:
                    statuses.append(place.submit())
                code = place.server.exit_code
                took = time.monotonic() - began
                if code != STORE_BROKEN:
                    place.problems.append(f"the server ended with {code}")
                disk.repair()
                place.server.start()
                started = place.await_ready(START_SECONDS)
                counts = ", ".join(f"{one or 'none'}: {statuses.count(one)}" for one in sorted(set(statuses)))
                lines.append(
                    f"  {known} acknowledged; answers then: {counts}; exit code {code} after {took:.1f} s; "
                    f"ready {started:.1f} s after the next start"
                )
            place.finish()
        finally:
            place.end()
    return place, lines


def careless(folder: Path, rounds: int) -> tuple[Place, list[str]]:
    """The control: the same for a server that takes a commit that failed for done."""
    place, _ = full(folder, 1, operations=["submit"], plant="careless")
    lost = [one for one in place.problems if "is lost" in one]
    place.problems = [] if lost else ["a careless server was not found out"]
    return place, [f"  a server that takes a failed commit for done: {len(lost)} acknowledged tasks lost"]


SCENES: dict[str, Callable[[Path, int], tuple[Place, list[str]]]] = {
    "full": full,
    "slow": slow,
    "read-only": read_only,
    "control": careless,
}


def main() -> int:
    """Run the scenes, print what came of each; return 0 if all held."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--scene", choices=sorted(SCENES), nargs="+", help="only these")
    chosen = parser.parse_args()
    broken = 0
    for name in chosen.scene or SCENES:
        folder = Path(tempfile.mkdtemp(prefix="fairlane-disk-", dir="/tmp"))
        began = time.monotonic()
        try:
            place, lines = SCENES[name](folder, chosen.rounds)
        except NotAllowed as error:
            print(f"{name}: skipped, this machine allows no mounts ({error})")
            continue
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        problems = place.problems
        print(
            f"{name}: {len(place.told.tasks)} tasks and {len(place.told.ended)} ends acknowledged, "
            f"{len(problems)} problems, {time.monotonic() - began:.0f} s"
        )
        print(*lines, *(f"    BROKEN {one}" for one in problems[:10]), sep="\n", flush=True)
        broken += bool(problems)
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
