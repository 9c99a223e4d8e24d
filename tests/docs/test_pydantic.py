"""What the page about payload types says is what they do."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pydantic
import pytest

from fairlane.errors import ValidationRefused
from fairlane.payloads import decoder_for
from fairlane.worker.results import encode_result

PAGE = (Path(__file__).parents[2] / "docs" / "guides" / "pydantic.md").read_text("utf-8")
NAMES: dict[str, Any] = {"__name__": "shown"}
for _block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
    exec(_block, NAMES)


def read(hint: Any, text: str) -> Any:
    """A payload of this type."""
    return decoder_for(hint, "here")(text)


def refused(hint: Any, text: str) -> list[str]:
    """The fields that a refusal names."""
    with pytest.raises(ValidationRefused) as refusal:
        read(hint, text)
    return [place["field"] for place in refusal.value.details]


class Lenient(pydantic.BaseModel):
    """A model without settings."""

    number: int = 0
    truth: bool = False
    content: bytes = b""


class Strict(msgspec.Struct):
    """The same fields."""

    number: int = 0
    truth: bool = False
    content: bytes = b""


@pytest.mark.parametrize("name", ["Page", "PageModel"])
def test_unknown_fields_are_refused_where_the_type_says_so(name: str) -> None:
    """And ignored elsewhere."""
    assert refused(NAMES[name], '{"url": "a", "ulr": "b"}') == ["payload.ulr"]
    assert read(Lenient, '{"ulr": "b"}') == Lenient()
    assert read(Strict, '{"ulr": "b"}') == Strict()


@pytest.mark.parametrize("hint", [Lenient, Strict])
@pytest.mark.parametrize(("field", "value"), [("number", '"5"'), ("number", "5.0"), ("truth", "1")])
def test_types_are_strict(hint: Any, field: str, value: str) -> None:
    """In both."""
    assert refused(hint, f'{{"{field}": {value}}}') == [f"payload.{field}"]


def test_bytes_mean_two_things() -> None:
    """Base64, or the text itself; in results, too."""
    sent = '{"content": "aGk="}'

    assert read(Strict, sent).content == b"hi"
    assert read(Lenient, sent).content == b"aGk="
    assert read(NAMES["Upload"], sent).content == b"hi"
    assert encode_result({"content": b"hi"}, limit_bytes=1_000) == b'{"content":"aGk="}'
    written = encode_result({"model": Lenient(content=b"hi")}, limit_bytes=1_000)
    assert isinstance(written, bytes)
    assert b'"content":"hi"' in written
    failure = encode_result(Lenient(content=b"\xff"), limit_bytes=1_000)
    assert getattr(failure, "code", None) == "RESULT_NOT_SERIALIZABLE"


def test_aliases_work_in_and_not_out() -> None:
    """By the names of its fields."""
    person = read(NAMES["Person"], '{"userId": 1}')

    assert encode_result(person, limit_bytes=1_000) == b'{"user_id":1}'


@pytest.mark.parametrize(("value", "written"), [([1], b"[1]"), (None, b"null"), ("a", b'"a"'), (5, b"5")])
def test_a_result_that_is_not_an_object_is_put_into_one(value: Any, written: bytes) -> None:
    """Under the name ``result``."""
    assert encode_result(value, limit_bytes=1_000) == b'{"result":%b}' % written
