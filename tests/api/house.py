"""Builders for the API's tests: a real server in a thread of its own, organizations with keys, workers' requests."""

import asyncio
import itertools
import shutil
import ssl
import sys
import threading
import time
import traceback
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import msgspec

from fairlane.app import Server
from fairlane.handlers import Fairlane
from fairlane.loops import new_event_loop
from fairlane.settings import Settings
from tests.store.databases import prepared_file
from tests.watching import SERVER_THREAD

Result = TypeVar("Result")
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares every client the reading of all root certificates."""
END_SECONDS = 20.0
_names = itertools.count(1)


class Page(msgspec.Struct, forbid_unknown_fields=True):
    """The payload of PAGE."""

    url: str
    depth: int = 1
    tags: list[str] = []


def an_application() -> Fairlane:
    """Three task types. Their handlers are never run by these tests."""
    app = Fairlane()

    @app.task("PAGE", cost=3, attempts=2, path="/v1/monitor/pages/read")
    def page(payload: Page) -> dict[str, str]:
        return {"url": payload.url}

    @app.task("ANY")
    def anything(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    @app.task("OTHER", path=None)
    def other(payload: dict[str, Any]) -> dict[str, Any]:
        return payload

    return app


class Seconds:
    """A steady clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def eventually(look: Callable[[], Result], *, seconds: float = 10.0) -> Result:
    """What ``look`` returns once that is truthy."""
    give_up_at = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < give_up_at, f"not within {seconds} s"
        threading.Event().wait(0.005)
    return found


class House:
    """A running server, and ways to talk to each of its listeners."""

    def __init__(self, folder: Path, *, application: Fairlane | None = None, **settings: Any) -> None:
        file = folder / "fairlane.db"
        if "database" not in settings and not file.exists():
            shutil.copy(prepared_file(), file)
        chosen: dict[str, Any] = {"port": 0, "workers": 0, "database": f"sqlite:///{file}"} | settings
        self.settings = Settings(**chosen)
        self.server = Server(self.settings, application or an_application())
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        self._thread = threading.Thread(target=self._run, name=f"{SERVER_THREAD}-{folder.name}", daemon=True)
        self._stopping: asyncio.Event | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None
        self._clients: list[httpx2.Client] = []

    def __enter__(self) -> "House":
        self._thread.start()
        self._started.wait(20)
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        self.admin = self.client(self.server.admin_socket)
        self.worker = self.client(self.server.worker_socket)
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(END_SECONDS)
        assert not self._thread.is_alive(), f"the server does not end: {self._stands_at()}"

    def _stands_at(self) -> str:
        """Where each of its tasks, and each thread of ours, is."""
        tasks = [task for task in asyncio.all_tasks(self._loop) if not task.done()]
        threads = [one for one in threading.enumerate() if one.name.startswith("fairlane")]
        frames = sys._current_frames()
        places = [(task.get_name(), task.get_stack()) for task in tasks]
        places += [(one.name, [frames[one.ident]]) for one in threads if one.ident in frames]
        return "\n".join(f"{name}: {''.join(traceback.format_stack(stack[-1]))}" for name, stack in places if stack)

    def _run(self) -> None:
        with self._runner:
            self._runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        try:
            await self.server.start()
        except BaseException as error:
            self._failure = error
            return
        finally:
            self._started.set()
        await self._stopping.wait()
        await self.server.stop()

    @property
    def store(self) -> Any:
        """The server's own store; use it through :meth:`call`."""
        return self.server.store

    def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def soon(self, work: Callable[[], object]) -> None:
        """Run a function on the server's loop, and wait for it."""

        async def once() -> None:
            work()

        self.call(once())

    def client(self, socket: Path | None = None, **headers: str) -> httpx2.Client:
        """A client of the TCP listener, or of a unix socket."""
        if socket is None:
            client = httpx2.Client(
                base_url=self.server.address, headers=headers, timeout=20, verify=NO_TLS, trust_env=False
            )
        else:
            transport = httpx2.HTTPTransport(uds=str(socket), verify=NO_TLS)
            client = httpx2.Client(transport=transport, base_url="http://fairlane", timeout=20, trust_env=False)
        self._clients.append(client)
        return client

    def customer(self, **limits: Any) -> "Customer":
        """A new organization with a key."""
        name = f"organization-{next(_names)}"
        made = self.admin.post("/admin/v1/organizations", json={"name": name} | limits)
        assert made.status_code == 200, made.text
        key = self.admin.post(f"/admin/v1/organizations/{name}/keys", json={}).json()
        return Customer(self, name, key)

    def session(self, *types: str, places: int = 5) -> "Session":
        """A registered worker process."""
        body = {"name": "tests/1", "types": list(types or ("ANY",)), "places": places}
        answer = self.worker.post("/worker/v1/sessions", json=body)
        assert answer.status_code == 200, answer.text
        return Session(self, answer.json()["session"])


class Customer:
    """One organization's view of the API."""

    def __init__(self, house: House, name: str, key: dict[str, Any]) -> None:
        self.house = house
        self.name = name
        self.key = key
        self.client = house.client(None, authorization=f"Bearer {key['value']}")

    def submit(self, task_type: str = "ANY", payload: Any = None, **options: Any) -> httpx2.Response:
        """Send one task."""
        body = {"taskType": task_type, "payload": {} if payload is None else payload} | options
        return self.client.post("/v1/async/task", json=body)

    def accepted(self, task_type: str = "ANY", payload: Any = None, **options: Any) -> str:
        """Send one task that must be accepted; its id."""
        answer = self.submit(task_type, payload, **options)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["task"]["id"])

    def send(self, body: bytes) -> httpx2.Response:
        """Send any bytes as a task."""
        return self.client.post("/v1/async/task", content=body)

    def find(self, reference: str) -> httpx2.Response:
        """Ask for one task; the reference is put into the path as it is."""
        return self.client.get(f"/v1/async/task/{reference}")

    def status(self) -> dict[str, Any]:
        """The status body."""
        answer = self.client.get("/v1/async/status")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def change(self, **changes: Any) -> None:
        """Change the organization as its operator."""
        answer = self.house.admin.patch(f"/admin/v1/organizations/{self.name}", json=changes)
        assert answer.status_code == 200, answer.text


class Session:
    """One worker process's requests. Each exchange goes through a connection of its own."""

    def __init__(self, house: House, id: str) -> None:
        self.house = house
        self.id = id
        self._numbers = itertools.count(1)

    def exchange(
        self, places: int = 0, *reports: dict[str, Any], wait_seconds: float = 0.0, id: str | None = None
    ) -> httpx2.Response:
        """One turn at the counter."""
        body = {
            "session": self.id,
            "id": id or f"{self.id}-{next(self._numbers)}",
            "places": places,
            "reports": list(reports),
            "wait_seconds": wait_seconds,
        }
        with self.house.client(self.house.server.worker_socket) as client:
            return client.post("/worker/v1/exchange", json=body)

    def claim(self, places: int = 1, *reports: dict[str, Any]) -> list[dict[str, Any]]:
        """The leases of one exchange that does not wait."""
        answer = self.exchange(places, *reports)
        assert answer.status_code == 200, answer.text
        leases: list[dict[str, Any]] = answer.json()["leases"]
        return leases

    def renew(self, leases: list[str], exchanges: list[str]) -> httpx2.Response:
        """Keep the session alive."""
        body = {"leases": leases, "exchanges": exchanges}
        return self.house.worker.post(f"/worker/v1/sessions/{self.id}/renew", json=body)

    def end(self, reason: str, overdue: list[str] | None = None) -> httpx2.Response:
        """End the session."""
        body = {"reason": reason, "overdue": overdue or []}
        return self.house.worker.request("DELETE", f"/worker/v1/sessions/{self.id}", json=body)


def error_of(answer: httpx2.Response) -> dict[str, Any]:
    """The error in an envelope, after checking that it is one, field by field."""
    body = answer.json()
    assert list(body) == ["success", "error"]
    assert body["success"] is False
    error: dict[str, Any] = body["error"]
    assert [*error] == ["code", "message", "details", "timestamp"] or [*error] == ["code", "message", "timestamp"]
    assert answer.headers["content-type"] == "application/json"
    return error


def fields_of(answer: httpx2.Response) -> list[str]:
    """The fields that a refused validation names."""
    return [place["field"] for place in error_of(answer)["details"]]
