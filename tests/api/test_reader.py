"""The strict reader: what it takes, and every bomb it refuses."""

import time
from typing import Any

import pytest

from fairlane.api.reader import DEPTH_MOST, VALUES_MOST, read_json
from fairlane.errors import ValidationRefused
from tests.tables import each

BOMBS: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"hello",
    "two values": b"{} {}",
    "open string": b'{"a": "b',
    "open object": b'{"a": 1',
    "trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": Infinity}',
    "-Infinity": b'{"a": -Infinity}',
    "1e400": b'{"a": 1e400}',
    "-1e400": b'{"a": -1e400}',
    "2^63": b'{"a": 9223372036854775808}',
    "-2^63-1": b'{"a": -9223372036854775809}',
    "2^64": b'{"a": 18446744073709551616}',
    "4,301 digits": b'{"a": ' + b"1" * 4301 + b"}",
    "key twice": b'{"a": 1, "a": 2}',
    "key twice, escaped": b'{"a": 1, "\\u0061": 2}',
    "key twice, deep": b'{"b": [{"a": 1, "a": 1}]}',
    "NUL in a string": b'{"a": "x\\u0000"}',
    "NUL in a key": b'{"x\\u0000": 1}',
    "raw NUL": b'{"a": "\x00"}',
    "raw line break": b'{"a": "\n"}',
    "high surrogate": b'{"a": "\\ud800"}',
    "low surrogate": b'{"a": "\\udc00x"}',
    "surrogates reversed": b'{"a": "\\udc00\\ud800"}',
    "surrogate in a key": b'{"\\uD83D": 1}',
    "surrogate in UTF-8": b'{"a": "\xed\xa0\x80"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "UTF-16 without mark": '{"a": 1}'.encode("utf-16-le"),
    "UTF-32": '{"a": 1}'.encode("utf-32"),
    "Latin-1": b'{"a": "\xe9"}',
    "depth 65": b"[" * 65 + b"]" * 65,
    "depth 65, mixed": b'{"a":[' * 33 + b"1" + b"]}" * 33,
    "depth 1,025": b"[" * 1025 + b"]" * 1025,
    "depth 5,000": b"[" * 5000 + b"]" * 5000,
    "depth 1,000,000": b"[" * 1_000_000,
    "depth 1,000,000, objects": b'{"a":' * 200_000,
    "depth behind strings": b'["[[[[",' * 65 + b"1" + b"]" * 65,
    "100,001 values": b"[" + b"1," * VALUES_MOST + b"1]",
    "100,001 empty arrays": b"[" + b"[]," * VALUES_MOST + b"[]]",
}


@each("bomb", BOMBS.values())
def test_what_readers_read_differently_is_refused(bomb: bytes) -> None:
    """Each is refused with the field ``body``, quickly, and without another exception."""
    began = time.monotonic()

    with pytest.raises(ValidationRefused) as refused:
        read_json(bomb)

    assert [place["field"] for place in refused.value.details] == ["body"]
    assert time.monotonic() - began < 2


@each(
    "text, value",
    [
        (b"{}", {}),
        (b' {"a": [1, -0, 2.5, 1e3, true, null]} ', {"a": [1, 0, 2.5, 1000.0, True, None]}),
        (b"9223372036854775807", 2**63 - 1),
        (b"-9223372036854775808", -(2**63)),
        (b"1e308", 1e308),
        ('{"é": "\U0001f600"}'.encode(), {"é": "\U0001f600"}),
        (b'"\\ud83d\\ude00 \\\\u0000 \\\\ud800"', "\U0001f600 \\u0000 \\ud800"),
        (b'{"a": 1, "b": {"a": 1}}', {"a": 1, "b": {"a": 1}}),
        (b'"[[[[{{{{"', "[[[[{{{{"),
    ],
)
def test_json_is_read(text: bytes, value: Any) -> None:
    """Right up to the limits."""
    assert read_json(text) == value


def test_the_limits_themselves_are_allowed() -> None:
    """64 levels, 100,000 values, and as many brackets inside strings as one likes."""
    read_json(b"[" * DEPTH_MOST + b"]" * DEPTH_MOST)
    read_json(b"[" + b"1," * (VALUES_MOST - 2) + b"1]")
    read_json(b"[" + b"[],{ }," * (VALUES_MOST // 2 - 1) + b'"a"]')
    # The same beside what the quick looks take for more.
    read_json(b"[[]," + b"[" * (DEPTH_MOST - 1) + b"]" * (DEPTH_MOST - 1) + b"]")
    read_json(b'[",,,",' + b"1," * (VALUES_MOST - 3) + b"1]")
    read_json(b'["' + b"[{" * 100_000 + b'"]')
    read_json(b'["' + b",:" * 100_000 + b'"]')


@pytest.mark.parametrize("quote", [b'"', b'\\"', b"\\", b'\\\\"', b'[\\"'])
def test_broken_strings_cost_no_more_than_whole_ones(quote: bytes) -> None:
    """A megabyte of quotes and backslashes is refused in linear time."""
    began = time.monotonic()

    with pytest.raises(ValidationRefused):
        read_json(b"[" * 65 + b'"' + quote * (1_000_000 // len(quote)))

    assert time.monotonic() - began < 2


def test_a_doubled_key_is_shown_short() -> None:
    """The message does not echo a megabyte, nor control characters."""
    key = b"\\u001f" + b"k" * 10_000

    with pytest.raises(ValidationRefused) as refused:
        read_json(b'{"%b": 1, "%b": 2}' % (key, key))

    assert len(refused.value.details[0]["message"]) < 200
    assert "\x1f" not in refused.value.details[0]["message"]
