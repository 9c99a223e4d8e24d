"""The programs that the published page of the cloro status endpoint shows run here after changing only the host.

The page itself is not ours to keep: the programs in ``programs/`` are written from its description in our contract
(what each reads, at which thresholds it warns, how it fails), as a user of it would write them.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlane import Fairlane
from tests.api.house import Customer, House, eventually

HERE = Path(__file__).parent
HOST = "https://api.cloro.dev"
KEY = "sk_live_1234567890abcdef1234567890abcdef"
CACHE = HERE.parents[1] / ".cache" / "node"


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    """An organization of five slots with the literal key of the page, on a server with a type of its own."""
    app = Fairlane()

    @app.task("CHATGPT", cost=5)
    def chatgpt(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    with House(tmp_path, application=app) as house:
        house.admin.post("/admin/v1/organizations", json={"name": "acme", "slots": 5})
        key = house.admin.post("/admin/v1/organizations/acme/keys", json={"value": KEY})
        assert key.status_code == 200, key.text
        yield Customer(house, "acme", key.json())


def queued(customer: Customer, count: int) -> None:
    """So many tasks more wait."""
    for start in range(0, count, 500):
        number = min(500, count - start)
        task = {"taskType": "CHATGPT", "payload": {}}
        answer = customer.client.post("/v1/async/task/batch", json=[task] * number)
        assert answer.json()["summary"]["succeeded"] == number


def moved(program: str, customer: Customer, folder: Path) -> Path:
    """A copy of the program with nothing changed but the host."""
    text = (HERE / "programs" / program).read_text("utf-8")
    assert text.count(HOST) == 1
    copy = folder / program
    copy.write_text(text.replace(HOST, customer.house.server.address), "utf-8")
    return copy


def environment(**more: str) -> dict[str, str]:
    """The key where the programs look for it."""
    return {**os.environ, "API_KEY": KEY, **more}


# curl ----------------------------------------------------------------------------------------------------------------


def test_the_curl_line_answers_the_four_values(customer: Customer) -> None:
    """With the key that is printed in it."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    line = f'curl -X GET {HOST}/v1/async/status -H "Authorization: Bearer {KEY}"'.replace(
        HOST, customer.house.server.address
    )
    customer.submit("CHATGPT")

    ran = subprocess.run(["sh", "-c", f"{line} --silent --show-error --write-out '\n%{{http_code}} %{{content_type}}'"],
                         capture_output=True, text=True, check=True)  # fmt: skip

    body, _, head = ran.stdout.rpartition("\n")
    assert head == "200 application/json"
    assert body == (
        '{"queuedTasks":1,"processingTasks":0,"concurrency":{"used":0,"max":5},'
        '"priorityBreakdown":[{"priority":1,"count":1}]}'
    )


# Node ----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def node_modules() -> Path:
    """The folder of axios, installed once by the lock file and kept."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no Node with npm here")
    lock = (HERE / "node" / "package-lock.json").read_text("utf-8")
    kept = CACHE / "node_modules"
    stamp = CACHE / "package-lock.json"

    def is_fresh() -> bool:
        return stamp.is_file() and stamp.read_text("utf-8") == lock

    if is_fresh():
        return kept
    made = CACHE.with_name(f"node-{os.getpid()}")
    shutil.copytree(HERE / "node", made, dirs_exist_ok=True)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        ran = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False, timeout=50)
        if ran.returncode != 0:
            pytest.skip(f"npm cannot install axios here: {ran.stderr.strip().splitlines()[-1:]}")
        if not is_fresh():  # Another process may have been quicker, and its tests use what it installed.
            shutil.rmtree(CACHE, ignore_errors=True)
            made.rename(CACHE)
    except (OSError, subprocess.TimeoutExpired) as error:
        if not is_fresh():
            pytest.skip(f"npm cannot install axios here: {error}")
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return kept


class Poller:
    """The axios script, running."""

    def __init__(self, script: Path, node_modules: Path) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            ["node", "--require", str(HERE / "node" / "fast_timers.js"), str(script)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment(NODE_PATH=str(node_modules)),
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def says(self, *lines: str) -> None:
        """Wait until these lines have come, one after the other, since the last time they were waited for."""
        eventually(lambda: "\n".join(lines) in "\n".join(self.lines), seconds=20)
        self.lines.clear()

    def end(self) -> int:
        """Stop it; its exit code, or minus the signal."""
        self.process.terminate()
        code = self.process.wait(20)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def test_the_axios_script_polls_and_warns(customer: Customer, tmp_path: Path, node_modules: Path) -> None:
    """Poll after poll it prints the numbers as they are; it warns above 100 queued and above 80 % of the slots."""
    session = customer.house.session("CHATGPT")
    poller = Poller(moved("poller.js", customer, tmp_path), node_modules)
    try:
        for _ in range(2):
            poller.says("Queued: 0", "Processing: 0", "Slots: 0/5, available: 5", "Queued: 0")

        queued(customer, 100)
        poller.says("Queued: 100", "Processing: 0", "Slots: 0/5, available: 5", "Queued: 100")
        queued(customer, 1)
        poller.says("Queued: 101", "Processing: 0", "Slots: 0/5, available: 5", "Warning: high queue depth")

        session.claim(4)
        poller.says("Queued: 97", "Processing: 4", "Slots: 4/5, available: 1", "Queued: 97")
        session.claim(1)
        poller.says("Queued: 96", "Processing: 5", "Slots: 5/5, available: 0", "Warning: concurrency nearly used up")
    finally:
        code = poller.end()
    assert code == -15, "it ended by itself"


def test_the_axios_script_ends_with_an_error_when_it_is_refused(
    customer: Customer, tmp_path: Path, node_modules: Path
) -> None:
    """What is not 2xx rejects, is printed, and ends the process: so nothing may answer so without need."""
    customer.house.admin.delete(f"/admin/v1/keys/{customer.key['id']}")
    poller = Poller(moved("poller.js", customer, tmp_path), node_modules)
    try:
        poller.says("Cannot check the queue: Request failed with status code 401")
        assert poller.process.wait(20) == 1
    finally:
        poller.end()


@pytest.mark.parametrize(("slots", "running", "answer"), [(20, 17, "room"), (20, 18, "near capacity"), (5, 0, "room")])
def test_the_capacity_check_never_meets_null(
    customer: Customer, tmp_path: Path, node_modules: Path, slots: int, running: int, answer: str
) -> None:
    """It looks into ``concurrency`` without asking; an organization with no plan of its own has a number there too."""
    customer.change(slots=slots)
    queued(customer, running)
    customer.house.session("CHATGPT", places=20).claim(20)

    ran = subprocess.run(
        ["node", str(moved("capacity.js", customer, tmp_path))],
        capture_output=True, text=True, check=True, env=environment(NODE_PATH=str(node_modules)),
    )  # fmt: skip

    assert ran.stdout.strip() == answer


# Python --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "output"), [(1000, "healthy"), (1001, "queue depth is high: 1001 tasks")])
def test_the_health_check_counts_beyond_a_thousand(customer: Customer, tmp_path: Path, count: int, output: str) -> None:
    """A queue that deep is accepted, and counted exactly."""
    queued(customer, count)

    ran = subprocess.run(
        [sys.executable, str(moved("health.py", customer, tmp_path))],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip

    assert (ran.stdout.strip(), ran.returncode) == (output, 0 if output == "healthy" else 1), ran.stderr


def test_the_health_check_warns_of_full_slots(customer: Customer, tmp_path: Path) -> None:
    """At five of five, not at four."""
    queued(customer, 5)
    session = customer.house.session("CHATGPT")
    said = []
    for places in (4, 1):
        session.claim(places)
        ran = subprocess.run(
            [sys.executable, str(moved("health.py", customer, tmp_path))],
            capture_output=True, text=True, check=False, env=environment(),
        )  # fmt: skip
        said.append(ran.stdout.strip())

    assert said == ["healthy", "slots are nearly used up"]


def test_the_throttle_keeps_the_queue_manageable(customer: Customer, tmp_path: Path) -> None:
    """It submits batches of 500 while fewer than 500 wait: all arrive, and never more than 999 wait at once."""
    customer.change(slots=1000)
    session = customer.house.session("CHATGPT", places=1000)
    copy = moved("throttle.py", customer, tmp_path)
    hurried = f"import runpy, time; sleep = time.sleep; time.sleep = lambda s: sleep(s / 600); runpy.run_path({str(copy)!r}, run_name='__main__')"  # noqa: E501

    with subprocess.Popen([sys.executable, "-c", hurried], stdout=subprocess.PIPE, text=True,
                          env=environment(TASKS="2600")) as process:  # fmt: skip
        reports: list[dict[str, Any]] = []
        while process.poll() is None:
            # The workers take 150 at a time, and only once the queue is deep: so the loop has to wait for them.
            places = 150 if customer.status()["queuedTasks"] >= 500 else 0
            answer = session.exchange(places, *reports).json()
            reports = [{"lease": one["lease"], "outcome": "completed", "result": {}} for one in answer["leases"]]
        assert process.stdout is not None
        accepted, deepest, waits = map(int, process.stdout.read().split())

    assert accepted == 2600
    assert 500 <= deepest <= 999
    assert waits >= 1
    assert customer.status()["queuedTasks"] < 500
