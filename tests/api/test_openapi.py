"""``/openapi.json`` as it is served, and the payload types in it."""

import dataclasses
import json
from typing import Annotated, Any, NotRequired, TypedDict

import attrs
import jsonschema
import msgspec
import pydantic
import pytest
from pydantic.dataclasses import dataclass as pydantic_dataclass

from fairlane import Fairlane
from fairlane.api.customers import customer_routes
from fairlane.api.openapi import document
from fairlane.errors import ValidationRefused
from fairlane.payloads import schema_of
from tests.api.house import House


def test_the_description_is_served_to_everybody(shared: House) -> None:
    """Without a key, as JSON, valid; and it names the application's types."""
    from openapi_spec_validator import OpenAPIV31SpecValidator  # large: not for every process of a run

    with shared.client() as client:
        answer = client.get("/openapi.json")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    described = answer.json()
    OpenAPIV31SpecValidator(described).validate()
    assert set(described["components"]["schemas"]["Submission"]["discriminator"]["mapping"]) == {"PAGE", "ANY", "OTHER"}


def test_who_has_the_description_is_not_sent_it_again(shared: House) -> None:
    """304 without a body to the tag it had, 200 to another."""
    with shared.client() as client:
        tag = client.get("/openapi.json").headers["etag"]
        same = client.get("/openapi.json", headers={"if-none-match": tag})
        listed = client.get("/openapi.json", headers={"if-none-match": f'"other", W/{tag}'})
        other = client.get("/openapi.json", headers={"if-none-match": '"other"'})

    for unchanged in (same, listed):
        assert (unchanged.status_code, unchanged.content) == (304, b"")
        assert unchanged.headers["etag"] == tag
        assert "content-type" not in unchanged.headers
    assert other.status_code == 200


class Struct(msgspec.Struct, forbid_unknown_fields=True):
    """A Struct's docstring."""

    url: Annotated[str, msgspec.Meta(min_length=1)]
    depth: int = 1


class One(msgspec.Struct, tag="one"):
    """Part of a union."""

    url: str


class Two(msgspec.Struct, tag="two"):
    """Part of a union."""

    more: list[Struct]


@dataclasses.dataclass
class Data:
    """A dataclass."""

    url: str
    depth: int = 1


class Typed(TypedDict):
    """A TypedDict."""

    url: str
    depth: NotRequired[int]


@attrs.define
class Attrs:
    """An attrs class, recursive."""

    url: str
    more: list["Attrs"] = attrs.Factory(list)


class Inner(pydantic.BaseModel):
    """Part of a model."""

    depth: Annotated[int, pydantic.Field(gt=0)] = 1


class Model(pydantic.BaseModel):
    """A pydantic model."""

    url: str
    inner: Inner | None = None


@pydantic_dataclass
class PydanticData:
    """A pydantic dataclass."""

    url: str
    inner: Inner | None = None


class Unspeakable(pydantic.BaseModel):
    """A model that reads JSON and has no JSON Schema."""

    url: str

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        raise pydantic.errors.PydanticInvalidForJsonSchema("there is none")


PAYLOADS: list[tuple[Any, list[Any], list[Any]]] = [
    (
        Struct,
        [{"url": "a"}, {"url": "a", "depth": 2}],
        [{}, {"url": ""}, {"url": "a", "depth": "2"}, {"url": "a", "b": 1}],
    ),
    (
        One | Two,
        [{"type": "one", "url": "a"}, {"type": "two", "more": [{"url": "a"}]}],
        [{}, {"type": "two", "url": "a"}],
    ),
    (Data, [{"url": "a"}, {"url": "a", "depth": 2}], [{}, {"url": 1}]),
    (Typed, [{"url": "a"}, {"url": "a", "depth": 2}], [{}, {"depth": 1}]),
    (Attrs, [{"url": "a", "more": [{"url": "b"}]}], [{}, {"url": "a", "more": [{}]}]),
    (Model, [{"url": "a"}, {"url": "a", "inner": {"depth": 1}}], [{}, {"url": "a", "inner": {"depth": 0}}]),
    (PydanticData, [{"url": "a", "inner": None}], [{}, {"url": "a", "inner": 1}]),
    (dict, [{}, {"a": [1]}], [[], 1, "a"]),
    (dict[str, Any], [{}, {"a": [1]}], [[], None]),
    (dict[str, int], [{"a": 1}], [{"a": "1"}]),
]


@pytest.mark.parametrize(("hint", "good", "bad"), PAYLOADS, ids=[str(row[0]) for row in PAYLOADS])
def test_a_payload_type_is_described_as_it_is_read(hint: Any, good: list[Any], bad: list[Any]) -> None:
    """What the schema takes, the decoder takes, and what one refuses the other refuses."""
    app = Fairlane()

    @app.task("PAGE")
    def page(payload):
        return {}

    page.__annotations__["payload"] = hint
    described = document(customer_routes(app.task_types), app.task_types)
    usual = document(customer_routes({}), {})["components"]["schemas"]
    for name, schema in described["components"]["schemas"].items():
        if usual.get(name) != schema:
            jsonschema.Draft202012Validator.check_schema(schema)
    decode = app.task_types["PAGE"].decode

    for payload in good:
        _validate(described, payload)
        decode(json.dumps(payload))
    for payload in bad:
        with pytest.raises(jsonschema.ValidationError):
            _validate(described, payload)
        if isinstance(payload, dict):
            with pytest.raises(ValidationRefused):
                decode(json.dumps(payload))


def test_a_type_without_a_schema_is_described_as_an_object(caplog: pytest.LogCaptureFixture) -> None:
    """The server starts all the same, and says so in its log."""
    schema, parts = schema_of(Unspeakable, "#/{name}")

    assert (schema, parts) == ({"type": "object"}, {})
    assert [record.message for record in caplog.records] == ["payload.undescribed"]


def test_types_of_one_name_do_not_mix() -> None:
    """Two task types whose payload classes are named alike keep their own schemas."""
    app = Fairlane()

    def registered(name: str, field: str) -> None:
        @app.task(name)
        def handler(payload):
            return {}

        handler.__annotations__["payload"] = msgspec.defstruct("Same", [(field, int)])

    registered("ONE", "a")
    registered("TWO", "b")

    schemas = document(customer_routes(app.task_types), app.task_types)["components"]["schemas"]

    assert [*schemas["Payload.ONE"]["properties"]] == ["a"]
    assert [*schemas["Payload.TWO"]["properties"]] == ["b"]


def _validate(described: Any, payload: Any) -> None:
    schema = {"components": described["components"], "$ref": "#/components/schemas/Submission"}
    jsonschema.validate({"taskType": "PAGE", "payload": payload}, schema, jsonschema.Draft202012Validator)
