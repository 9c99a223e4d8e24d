"""A small client of the customers' API, as an organization would write it."""

import asyncio
from typing import Any, Self

import httpx2
from msgspec import Struct

from fairlane.errors import FairlaneError

TIMEOUT_SECONDS = 20.0
CONNECTIONS = 16
WAITS_MOST = 60
"""How many times a request is repeated that exceeded the rate limit."""


class ApiRefused(FairlaneError):
    """The API did not answer with success."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """None: there was no answer."""


class Status(Struct, frozen=True, kw_only=True):
    """One answer of ``GET /v1/async/status``."""

    queued: int
    processing: int
    used: int | None
    """None if the answer had no concurrency, and so no limit either."""
    limit: int | None
    priorities: int
    """Sum over the priority breakdown; it must equal ``queued``."""

    @property
    def adds_up(self) -> bool:
        """Return whether the numbers of this answer agree with each other."""
        return self.priorities == self.queued and self.used in (None, self.processing)


class Client:
    """One organization's connection to the API."""

    def __init__(self, address: str, key: str) -> None:
        self._http = httpx2.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=TIMEOUT_SECONDS,
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def submit(self, task_type: str, payload: dict[str, Any], *, idempotency_key: str) -> str:
        """Submit one task and return its id."""
        body = {"taskType": task_type, "payload": payload, "idempotencyKey": idempotency_key}
        answer = await self._ask("POST", "/v1/async/task", body)
        return str(answer["task"]["id"])

    async def status(self) -> Status:
        """Return the organization's queue and slots now."""
        answer = await self.status_body()
        concurrency = answer["concurrency"]
        return Status(
            queued=answer["queuedTasks"],
            processing=answer["processingTasks"],
            used=None if concurrency is None else concurrency["used"],
            limit=None if concurrency is None else concurrency["max"],
            priorities=sum(level["count"] for level in answer["priorityBreakdown"]),
        )

    async def status_body(self) -> dict[str, Any]:
        """Return the status answer exactly as received."""
        return await self._ask("GET", "/v1/async/status")

    async def task(self, task_id: str) -> dict[str, Any] | None:
        """Return one task as the API shows it; None: it was cleared from the queue."""
        try:
            return await self._ask("GET", f"/v1/async/task/{task_id}")
        except ApiRefused as refused:
            if refused.status == 404:
                return None
            raise

    async def clear(self) -> None:
        """Drop everything that is still queued."""
        await self._ask("DELETE", "/v1/async/queue")

    async def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        for _ in range(WAITS_MOST):
            try:
                response = await self._http.request(method, path, json=body)
            except httpx2.TransportError as error:
                raise ApiRefused(f"{method} {path}: no answer ({error!r})") from error
            # The key exceeded its requests per second: the server says when to try again.
            if response.status_code != 429 or "retry-after" not in response.headers:
                break
            await asyncio.sleep(int(response.headers["retry-after"]))
        if response.status_code != 200:
            told = f"{method} {path}: {response.status_code} {response.text[:500]}"
            raise ApiRefused(told, status=response.status_code)
        answer: dict[str, Any] = response.json()
        return answer
