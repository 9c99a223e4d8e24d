"""Texts of a peer's size are looked through in bounded steps, and seen as a parser sees them."""

import json
import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from fairlane import scanning
from fairlane.api.reader import read_json
from fairlane.errors import ValidationRefused
from fairlane.scanning import have_more_values, is_deeper, items, trimmed
from fairlane.wire import split_batch, submissions

STRINGS = ["", "a", '"', "\\", '\\"', "[{", "],}", " ", "é😀", "\n", '","', "x" * 40, '\\"' * 20]
MEBIBYTE = 2**20


def a_value(chance: random.Random, depth: int = 0) -> Any:
    """Any JSON value, not deep."""
    kind = chance.randrange(8 if depth < 5 else 4)
    if kind >= 6:
        return {chance.choice(STRINGS): a_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    if kind >= 4:
        return [a_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    return [chance.choice(STRINGS), 1, -2.5e3, None][kind]


def values_in(value: Any) -> int:
    """How many values there are, this one included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(values_in(one) for one in inner)


def depth_of(value: Any) -> int:
    """How deep arrays and objects are nested."""
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max((depth_of(one) for one in inner), default=0) if isinstance(value, list | dict) else 0


@pytest.mark.parametrize("seed", range(5))
def test_a_text_is_seen_as_a_parser_sees_it(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Values, depth and the items of an array, wherever the pieces end."""
    chance = random.Random(seed)
    for _ in range(100):
        see(monkeypatch, chance)


def see(monkeypatch: pytest.MonkeyPatch, chance: random.Random) -> None:
    """Compare one text."""
    monkeypatch.setattr(scanning, "PIECE_BYTES", chance.choice([2, 3, 7, 20, 10_000]))
    value = [a_value(chance) for _ in range(1 + chance.randrange(4))]
    text = json.dumps(value, indent=chance.choice([None, 2]), ensure_ascii=chance.random() < 0.5).encode()
    values, depth = values_in(value), depth_of(value)

    assert not have_more_values(text, values)
    assert have_more_values(text, values - 1)
    assert not is_deeper(text, depth)
    assert is_deeper(text, depth - 1)
    found = [trimmed(text, start, end, len(text)) for start, end in items(text, 1)]
    assert [json.loads(item or b"") for item in found] == value


@pytest.mark.parametrize("text", [b"[", b'["', b'["a', b'["\\', b"[1]x", b"[1}", b"[[1]", b'["' + b"a" * 5000, b"[1]]"])
def test_an_array_that_does_not_end_is_refused(text: bytes) -> None:
    """As is one that something follows."""
    with pytest.raises(ValueError, match="end"):
        list(items(text, 1))


def test_a_part_is_trimmed_and_not_copied_when_it_is_large() -> None:
    """Blanks do not count."""
    text = b" " * 200_000 + b"abc" + b"\n" * 200_000

    assert trimmed(text, 0, len(text), 3) == b"abc"
    assert trimmed(text, 0, len(text), 2) is None
    assert trimmed(text, 0, 1000, 0) == b""


def longest_hold_seconds(work: Callable[[], object]) -> float:
    """How much processor time a thread takes for ``work`` while no other thread of the process gets a turn.

    Processor time, not time: a busy machine keeps both threads waiting.
    """
    ready, over = threading.Event(), threading.Event()

    def run() -> None:
        ready.wait()
        try:
            work()
        except ValidationRefused:
            pass
        finally:
            over.set()

    thread = threading.Thread(target=run)
    thread.start()
    assert thread.ident is not None
    clock = time.pthread_getcpuclockid(thread.ident)
    longest = used = 0.0
    ready.set()
    while not over.is_set():
        time.sleep(0.0005)
        before, used = used, time.clock_gettime(clock) if not over.is_set() else used
        longest = max(longest, used - before)
    thread.join()
    return longest


def test_a_short_batch_is_split_as_a_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same items or the same refusal, for whole arrays and for some with a wrong byte."""
    chance = random.Random(5)
    texts = [
        b"",
        b" ",
        b"[]",
        b"{}",
        b"[1",
        b"[1] 2",
        b" [ 1 , [2] ] ",
        b"[1,,2]",
        b'["a',
        b"[\xff,1]",
        b"[%b]" % (b"[" * 5_000),
    ]
    for _ in range(500):
        text = bytearray(json.dumps([a_value(chance) for _ in range(chance.randrange(5))]).encode())
        if chance.random() < 0.4:
            text[chance.randrange(len(text))] = chance.choice(b'{}[],:"\\ 0\xff')
        texts.append(bytes(text))

    def split(text: bytes) -> object:
        try:
            return split_batch(text, 40)
        except ValidationRefused as refusal:
            return refusal.details

    short = [split(text) for text in texts]
    monkeypatch.setattr(submissions, "SHORT_BATCH_BYTES", -1)
    long = [split(text) for text in texts]

    assert short == long
    assert sum(isinstance(one, list) for one in short) > 200


QUOTES, PAIRS, BLANKS = b'\\"', b"\\ud83d\\ude00", b'", "'
STRINGS_ALONE, ARRAYS, OBJECTS = b'","', b'",[[]],"', b'":{},"'


@pytest.mark.parametrize("bomb", [b"a", QUOTES, PAIRS, STRINGS_ALONE, ARRAYS, BLANKS])
def test_no_batch_holds_the_interpreter_for_long(bomb: bytes) -> None:
    """However large: one call over all of it took seconds, and every other request waited for it."""
    assert_short_holds(8 * MEBIBYTE, bomb, lambda text: have_more_values(text, 10**6) or split_batch(text, 10**6))


@pytest.mark.parametrize("bomb", [QUOTES, STRINGS_ALONE, ARRAYS, OBJECTS])
def test_no_task_holds_the_interpreter_for_long(bomb: bytes) -> None:
    """Up to the size that a task may have."""
    assert_short_holds(MEBIBYTE, bomb, read_json)


def assert_short_holds(size: int, bomb: bytes, read: Callable[[bytes], object]) -> None:
    """A thread may be stopped between its turn and its look at the clock, so the best of several tries counts."""
    body = b'["' + bomb * (size // len(bomb)) + b'"]'

    assert any(longest_hold_seconds(lambda: read(body)) < 0.1 for _ in range(5))
