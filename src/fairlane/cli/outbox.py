"""Messages that ``fairlane monitor`` owes to its webhook.

They are posted by the server's own code, so that a receiver that accepts one accepts both: any 2xx status line means
received, redirects are not followed, no proxy is used, and ``Retry-After`` is honored. Unlike the server, the command
may post to any address, because its user chose it.
"""

import time
import uuid
from collections import deque
from functools import partial

from fairlane.cli.output import note
from fairlane.rules.deliveries import asked_wait_ms
from fairlane.webhooks.guard import Reach, check_url
from fairlane.webhooks.poster import Outgoing, Poster, TryError
from fairlane.webhooks.signing import signatures

WEBHOOK_SECONDS = 10.0
OWED_MOST = 100
"""Most messages that wait for an unreachable webhook; beyond it the oldest are dropped."""
ANYWHERE = Reach(private=True, ports=(range(1, 65_536),))

_FAILURES: dict[TryError, str] = {
    "refused_by_policy": "its host has no address",
    "timeout": f"it did not answer in {WEBHOOK_SECONDS:.0f} s",
    "connection": "no direct connection can be made (proxies are not used)",
    "tls": "its certificate is not trusted, or no TLS connection can be made",
    "bad_answer": "its answer is not HTTP",
}


class Outbox:
    """Messages owed to one webhook, oldest first."""

    def __init__(self, url: str, secret: str | None) -> None:
        """Prepare to post to this URL; sign with the secret if there is one.

        Raises:
            ValidationRefused: the URL is not one that the server would post to.
        """
        check_url(url, ANYWHERE)
        self._url = url
        self._secrets = [] if secret is None else [secret]
        self._poster = Poster(reach=ANYWHERE, timeout_seconds=WEBHOOK_SECONDS)
        self._tries = 0
        """How many times the oldest message was posted."""
        self._not_before = 0.0
        """Until when the receiver asked to wait, by the monotonic clock."""
        self.owed: deque[tuple[str, bytes]] = deque()
        """Messages with their ids, which stay the same at every try."""

    def put(self, body: bytes) -> None:
        """Add one message."""
        if len(self.owed) == OWED_MOST:
            note("the webhook was unreachable for too long: the oldest message is dropped")
            self._drop()
        self.owed.append((str(uuid.uuid4()), body))

    async def send(self) -> None:
        """Post the owed messages, until one is not accepted."""
        while self.owed and time.monotonic() >= self._not_before:
            identity, body = self.owed[0]
            self._tries += 1
            signed = partial(self._headers, identity, body)
            result = await self._poster.post(self._url, body=Outgoing(body), headers=signed)
            if not result.delivered:
                wait_ms = asked_wait_ms(result.retry_after, int(time.time() * 1_000))
                self._not_before = time.monotonic() + wait_ms / 1_000
                note(_reason(result.http_status, result.error))
                return
            self._drop()

    def _drop(self) -> None:
        self.owed.popleft()
        self._tries = 0

    def _headers(self, identity: str, body: bytes) -> dict[str, str]:
        now_ms = int(time.time() * 1_000)
        return dict(signatures(self._secrets, task_id=identity, attempt=self._tries, body=body, now_ms=now_ms))


def _reason(status: int | None, error: TryError | None) -> str:
    """Return why a message was not accepted."""
    if status is not None:
        return f"the webhook answered {status}"
    assert error is not None
    return f"the webhook could not be reached: {_FAILURES.get(error, error)}"
