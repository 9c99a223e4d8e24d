"""The client as its users' type checker sees it: checked, never run."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any, assert_type

import msgspec

from fairlane import Context, Fairlane
from fairlane.client import (
    AsyncClient,
    CallResult,
    Client,
    Concurrency,
    Credits,
    NewTask,
    Status,
    Task,
    TaskType,
    Usage,
    Verdict,
    verify,
)

app = Fairlane()


class Text(msgspec.Struct):
    """A payload."""

    text: str


@app.task("COUNT_WORDS")
async def count_words(text: Text) -> dict[str, int]:
    """Run on the worker's loop."""
    return {"words": len(text.text.split())}


@app.task
def words_of(text: Text, context: Context) -> list[str]:
    """Run on a thread, with a context."""
    return text.text.split()


COUNT_WORDS = TaskType[Text, dict[str, int]]("COUNT_WORDS", result=dict[str, int])


def sync(client: Client, tasks: list[NewTask]) -> None:
    """Every operation of the sync client."""
    assert_type(client.status(), Status)
    assert_type(client.status().concurrency, Concurrency | None)
    assert_type(client.submit("PAGE", {"url": "x"}, priority=5, run_at=datetime.now(UTC)), Task)
    assert_type(client.submit_many(tasks, keep_queued_below=None), Iterator[Verdict])
    assert_type(client.wait("id", timeout_seconds=1), Task)
    assert_type(client.as_completed(client.submit_many(tasks)), Iterator[Task])
    assert_type(client.run("PAGE", {}), dict[str, Any])
    assert_type(client.run(count_words, Text("to be")), dict[str, int])
    assert_type(client.run(words_of, Text("to be")), list[str])
    assert_type(client.run(COUNT_WORDS, Text("to be"), priority=5), dict[str, int])
    client.run(count_words, {"text": "to be"})  # type: ignore[arg-type]  # not the handler's payload
    client.run(COUNT_WORDS, 5)  # type: ignore[misc]  # not the type's payload
    assert_type(client.cancel("id"), Task)
    assert_type(client.retry("id"), Task)
    assert_type(client.clear(), int)
    assert_type(client.tasks(status="FAILED"), Iterator[Task])
    assert_type(client.credits(), Credits)
    assert_type(client.call("page", {}), CallResult)
    assert_type(client.usage(step_seconds=60), Usage)
    assert_type(verify("whsec_x", {}, b""), Task)


async def asynchronous(client: AsyncClient, tasks: list[NewTask]) -> None:
    """Every operation of the async client."""
    assert_type(await client.status(), Status)
    assert_type(await client.submit("PAGE", {"url": "x"}), Task)
    assert_type(client.submit_many(tasks), AsyncIterator[Verdict])
    assert_type(await client.wait("id"), Task)
    assert_type(client.as_completed(client.submit_many(tasks)), AsyncIterator[Task])
    assert_type(await client.run("PAGE", {}), dict[str, Any])
    assert_type(await client.run(count_words, Text("to be")), dict[str, int])
    assert_type(await client.run(words_of, Text("to be")), list[str])
    assert_type(await client.run(COUNT_WORDS, Text("to be")), dict[str, int])
    assert_type(await client.cancel("id"), Task)
    assert_type(await client.retry("id"), Task)
    assert_type(await client.clear(), int)
    assert_type(client.tasks(), AsyncIterator[Task])
    assert_type(await client.credits(), Credits)
    assert_type(await client.call("page", {}), CallResult)
