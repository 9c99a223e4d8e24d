"""A real server shared by the client's tests, organizations on it, and a worker that ends what they submit."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fairlane.client import Client
from tests.api.house import Customer, House, Session


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One server for all tests of a process."""
    with House(tmp_path_factory.mktemp("client"), webhook_allow_private=True) as house:
        yield house


@pytest.fixture
def customer(shared: House) -> Iterator[Customer]:
    """A new organization."""
    made = shared.customer()
    with made.client:
        yield made


@pytest.fixture
def client(customer: Customer) -> Iterator[Client]:
    """That organization's client, ours."""
    with client_of(customer) as made:
        yield made


@pytest.fixture
def working(shared: House) -> Iterator[Callable[..., "Hands"]]:
    """Start a worker that ends every task at once until the test ends."""
    with ExitStack() as stack:

        def start(*types: str, **options: Any) -> Hands:
            return stack.enter_context(Hands(shared.session(*(types or ("ANY",))), **options))

        yield start


def client_of(customer: Customer, **options: Any) -> Client:
    """A client with this organization's key."""
    return Client(customer.house.server.address, customer.key["value"], **options)


class Hands:
    """A worker's hands: takes tasks one after the other and ends each, with its payload as the result."""

    def __init__(self, session: Session, *, most: int = 10_000) -> None:
        self.taken: list[str] = []
        self._session = session
        self._most = most
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="fairlane-test-hands")

    def __enter__(self) -> "Hands":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(20)
        self._session.end("drained")

    def _work(self) -> None:
        reports: list[dict[str, Any]] = []
        while not self._ending.is_set():
            places = 5 if len(self.taken) < self._most else 0
            leases = self._session.exchange(places, *reports, wait_seconds=0.1).json()["leases"]
            self.taken += [lease["task"] for lease in leases]
            reports = [_report(lease) for lease in leases]
        if reports:
            self._session.exchange(0, *reports)


def _report(lease: dict[str, Any]) -> dict[str, Any]:
    if lease["payload"].get("fail"):
        failure = {"code": "NO_SUCH_PAGE", "message": "there is no such page", "details": {"page": 3}}
        return {"lease": lease["lease"], "outcome": "failed", "cause": "wished", "failure": failure, "retry": False}
    return {"lease": lease["lease"], "outcome": "completed", "result": lease["payload"]}
