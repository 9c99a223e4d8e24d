"""What the webhook tests share: a record of every connection that was tried, and receivers on this machine."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest

from tests.webhooks.receiver import Dialled, Listen, Receiver

_RECORDS: list[Dialled] = []


def _watch(event: str, arguments: tuple) -> None:
    """Record TCP connections while a test asks for it, and let none leave this machine."""
    if event != "socket.connect" or not _RECORDS:
        return
    connection, address = arguments
    if connection.type.name == "SOCK_STREAM" and isinstance(address, tuple):
        _RECORDS[-1].append((address[0], address[1]))
        if address[0] not in ("127.0.0.1", "::1"):
            raise ConnectionRefusedError("tests stay on this machine")


# Hooks cannot be taken out again; this one does nothing but for tests that ask.
sys.addaudithook(_watch)


@pytest.fixture
def dialled() -> Iterator[Dialled]:
    """Every TCP connection this process tries, by address and port; those to other machines fail at once."""
    record: Dialled = []
    _RECORDS.append(record)
    yield record
    _RECORDS.remove(record)


@pytest.fixture
async def listen() -> AsyncIterator[Listen]:
    """Start receivers; they are gone at the end of the test."""
    async with AsyncExitStack() as stack:

        async def start(receiver: Receiver | None = None) -> Receiver:
            return await stack.enter_async_context(receiver or Receiver())

        yield start
