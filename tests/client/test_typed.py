"""Typed callers: a handler's function, or a task type with types, instead of a name."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest

from fairlane import Context, Fairlane
from fairlane.client import AsyncClient, Client, ResultUnexpected, TaskType
from fairlane.client.typed import result_of
from fairlane.testing import Engine
from tests.client.scripted import Reply, ScriptedServer

app = Fairlane()


class Text(msgspec.Struct):
    """A payload."""

    text: str


class Counted(msgspec.Struct):
    """A result with a field that JSON has no form of its own for."""

    words: int
    at: datetime


@dataclass
class Length:
    """A result as a dataclass."""

    length: int


class Parts(TypedDict):
    """A result as a TypedDict."""

    parts: list[str]


class Model(pydantic.BaseModel):
    """A result as a pydantic model."""

    words: list[str]
    path: Path


@app.task("COUNT_WORDS")
async def count_words(text: Text) -> Counted:
    """Count."""
    return Counted(len(text.text.split()), datetime(2026, 1, 2, tzinfo=UTC))


@app.task
def length_of(text: Text, context: Context) -> Length:
    """Measure."""
    return Length(len(text.text))


@app.task
def parts_of(text: Text) -> Parts:
    """Split."""
    return {"parts": text.text.split()}


@app.task
def words_of(text: Text) -> list[str]:
    """Split."""
    return text.text.split()


@app.task
async def model_of(text: Text) -> Model:
    """Split."""
    return Model(words=text.text.split(), path=Path("/a"))


@app.task
def longest_of(text: Text) -> str | None:
    """Return None for an empty text."""
    return max(text.text.split(), key=len, default=None)


@app.task
def anything(text: Text):
    """Return something."""
    return [1]


def test_a_result_has_the_type_that_the_handler_returns() -> None:
    """Struct, dataclass, TypedDict, pydantic model; lists and None are taken out of their object, with a hint."""
    engine = Engine(app)
    with engine:
        acme = engine.organization("acme")
        text = Text("to be or")
        found = [
            _run(engine, acme, task, text)
            for task in (count_words, length_of, parts_of, words_of, model_of, longest_of, anything)
        ]
        nothing = _run(engine, acme, longest_of, Text(""))

    assert found == [
        Counted(3, datetime(2026, 1, 2, tzinfo=UTC)), Length(8), {"parts": ["to", "be", "or"]}, ["to", "be", "or"],
        Model(words=["to", "be", "or"], path=Path("/a")), "to", {"result": [1]},
    ]  # fmt: skip
    assert nothing is None


def _run(engine: Engine, acme: Client, task: Any, payload: object) -> Any:
    """What run returns, on the engine's clock."""
    from fairlane.client.typed import name_of

    submitted = acme.submit(name_of(task), payload)
    engine.run()
    response = acme.task(submitted).response
    assert response is not None
    return result_of(task, response)


COMPLETED = json.loads((Path(__file__).parents[1] / "wire" / "task_completed.json").read_text()) | {
    "response": {"words": 3, "at": "2026-01-02T00:00:00Z"}
}
KEY = "sk_live_1234567890abcdef1234567890abcdef"


async def test_run_takes_a_function_or_a_type_in_both_clients() -> None:
    """The name is sent, and the result converted."""
    other = TaskType[Text, dict[str, Any]]("COUNT_WORDS")
    with ScriptedServer([Reply(201, COMPLETED)] * 3) as server:
        with Client(server.address, KEY) as client:
            counted = client.run(count_words, Text("to be or"))
            plain = client.run(other, Text("to be or"))
        async with AsyncClient(server.address, KEY) as asynchronous:
            again = await asynchronous.run(count_words, Text("to be or"))

    assert counted == again == Counted(3, datetime(2026, 1, 2, tzinfo=UTC))
    assert plain == COMPLETED["response"]


def test_a_result_of_another_type_is_told() -> None:
    """With the task type and the place, as when the server runs an older version of the handler."""
    with pytest.raises(ResultUnexpected, match=r"the result of COUNT_WORDS is not of its type: .*`int`.*words"):
        result_of(count_words, {"words": "three", "at": "2026-01-02T00:00:00Z"})
    with pytest.raises(ResultUnexpected, match="MODEL_OF"):
        result_of(model_of, {"words": 3})
    with pytest.raises(ResultUnexpected, match="WORDS_OF"):
        result_of(words_of, {"result": 3})


def test_a_function_without_one_name_is_refused() -> None:
    """Before anything is sent."""
    one = Fairlane()

    @one.task("A")
    @one.task("B")
    def twice(text: Text) -> None: ...

    with Client("http://127.0.0.1:9", KEY, retries=0) as client:
        functions: tuple[Any, ...] = (twice, len)
        for function in functions:
            with pytest.raises(TypeError, match=r"is not registered under one name: decorate it with @app\.task"):
                client.run(function, Text(""))
