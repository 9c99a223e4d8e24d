"""Payloads of every kind that handlers take are sent as the JSON that the handler reads."""

import asyncio
import dataclasses
import math
from typing import Any, TypedDict

import attrs
import httpx2
import msgspec
import pydantic
import pytest

from fairlane import Fairlane
from fairlane.client import AsyncClient, Client, NewTask, ValidationFailed
from fairlane.testing import Engine

KEY = "sk_live_1234567890abcdef1234567890abcdef"


class OfStruct(msgspec.Struct, rename="camel"):
    page_number: int
    ratio: float = 0.5


@dataclasses.dataclass
class OfDataclass:
    page_number: int
    ratio: float = 0.5


class OfTypedDict(TypedDict):
    page_number: int


@attrs.define
class OfAttrs:
    page_number: int
    ratio: float = 0.5


class OfPydantic(pydantic.BaseModel):
    page_number: int = pydantic.Field(alias="pageNumber")
    ratio: float = 0.5


@pydantic.dataclasses.dataclass
class OfPydanticDataclass:
    page_number: int
    ratio: float = 0.5


app = Fairlane()


@app.task("STRUCT")
def struct(payload: OfStruct) -> int:
    return payload.page_number


@app.task("DATACLASS")
def of_dataclass(payload: OfDataclass) -> int:
    return payload.page_number


@app.task("TYPED_DICT")
def typed_dict(payload: OfTypedDict) -> int:
    return payload["page_number"]


@app.task("ATTRS")
def of_attrs(payload: OfAttrs) -> int:
    return payload.page_number


@app.task("PYDANTIC")
def of_pydantic(payload: OfPydantic) -> int:
    return payload.page_number


@app.task("PYDANTIC_DATACLASS")
def of_pydantic_dataclass(payload: OfPydanticDataclass) -> int:
    return payload.page_number


PAYLOADS: dict[str, Any] = {
    "STRUCT": OfStruct(7),
    "DATACLASS": OfDataclass(7),
    "TYPED_DICT": OfTypedDict(page_number=7),
    "ATTRS": OfAttrs(7),
    "PYDANTIC": OfPydantic(pageNumber=7),
    "PYDANTIC_DATACLASS": OfPydanticDataclass(7),
}


def test_the_handler_gets_what_was_given() -> None:
    """By run, submit, submit_many and call."""
    with Engine(app) as engine:
        acme = engine.organization("acme")
        for task_type, payload in PAYLOADS.items():
            assert acme.run(task_type, payload) == {"result": 7}
        assert acme.call("typed/dict", PAYLOADS["TYPED_DICT"]).result == {"result": 7}
        many = [NewTask(task_type=task_type, payload=payload) for task_type, payload in PAYLOADS.items()]
        ended = list(acme.as_completed(acme.submit_many(many)))

    assert [task.response for task in ended] == [{"result": 7}] * len(PAYLOADS)


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_the_async_client_sends_the_same(payload: Any) -> None:
    """Each operation with a payload, byte for byte."""
    sent: list[bytes] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        sent.append(request.content)
        return httpx2.Response(400, json={})

    async def asynchronous(name: str) -> None:
        async with AsyncClient("http://x", KEY, transport=httpx2.MockTransport(answer)) as client:
            with pytest.raises(ValidationFailed):
                await getattr(client, name)("X", payload, **({} if name == "call" else {"idempotency_key": "k"}))

    with Client("http://x", KEY, transport=httpx2.MockTransport(answer)) as client:
        for name in ("submit", "run", "call"):
            with pytest.raises(ValidationFailed):
                getattr(client, name)("X", payload, **({} if name == "call" else {"idempotency_key": "k"}))
            asyncio.run(asynchronous(name))
            assert sent[-1] == sent[-2]
            assert b"7" in sent[-1]


@pytest.mark.parametrize("kind", [OfStruct, OfDataclass, OfAttrs])
def test_a_number_that_json_has_not_is_named_inside_of_a_model(kind: Any) -> None:
    """Nothing is sent."""
    with Client("http://x", KEY, transport=httpx2.MockTransport(lambda request: pytest.fail("sent"))) as client:
        for payload in (kind(1, math.nan), {"page": kind(1, math.inf)}, OfPydantic(pageNumber=1, ratio=math.nan)):
            with pytest.raises(ValidationFailed, match=r"payload.*ratio must be a finite number"):
                client.submit("X", payload)
        with pytest.raises(ValidationFailed, match=r"payload.page cannot be written as JSON: .*object"):
            client.submit("X", {"page": object()})
