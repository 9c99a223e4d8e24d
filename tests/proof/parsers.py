"""Everything that reads bytes of strangers, fed with changed pieces of what it knows and with noise.

A reader either returns something or refuses with its own kind of error: any other exception is a fault, and so is an
accepted text that another reader understands differently. JSON is compared with Python's own reader.

    python -m tests.proof.parsers 200000 --seed 1     that many inputs for each reader
    python -m tests.proof.parsers --replay json 1234  one input of one reader
"""

import argparse
import json
import random
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fairlane.api.http import Request
from fairlane.api.keys import KEY_LENGTH_MOST, SHAPES, KeyGuard, key_digest
from fairlane.api.pages import read_cursor, read_number
from fairlane.api.reader import INTEGER_LEAST, INTEGER_MOST, read_json
from fairlane.client import WebhookInvalid, verify
from fairlane.errors import KeyMalformed, KeyMissing, Refusal, ValidationRefused
from fairlane.model.keys import Caller, KeyKind
from fairlane.rules.deliveries import ASKED_WAIT_MS_MAX, asked_wait_ms
from fairlane.store.effects import read_payload
from fairlane.store.lease_rows import lease_id, lease_place
from fairlane.webhooks.addresses import is_public
from fairlane.webhooks.answers import AnswerReader, NotHttp
from fairlane.webhooks.guard import Reach, check_url
from fairlane.wire.values import read_moment


class Different(Exception):
    """A reader accepted what it must refuse, or understood something else than another reader."""


@dataclass(frozen=True)
class Reader:
    """One function that reads what strangers send."""

    read: Callable[[bytes], object]
    """Reads one input, and compares; raises Different."""
    refuses_with: tuple[type[BaseException], ...]
    known: Sequence[bytes]
    """Inputs that others are made from."""


def read_document(body: bytes) -> None:
    """JSON: accepted bytes have one meaning, which Python's reader finds, too."""
    found = read_json(body)
    if found != json.loads(body.decode(), object_pairs_hook=_without_repetition, parse_constant=_no_constant):
        raise Different("Python reads another value")
    if written := _unwritable(found):
        raise Different(written)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise Different("an object has the same key twice")
    return dict(pairs)


def _no_constant(name: str) -> None:
    raise Different(f"{name} is not JSON")


def _unwritable(value: Any) -> str | None:
    """Return why other readers may not read this value, or None if all do."""
    match value:
        case bool() | None:
            return None
        case int():
            return None if INTEGER_LEAST <= value <= INTEGER_MOST else "an integer beyond 64 bits"
        case float():
            return None if value - value == 0 else "a number that is none"
        case str():
            return "NUL or half a pair" if "\0" in value or re.search("[\ud800-\udfff]", value) else None
        case list():
            return next(filter(None, map(_unwritable, value)), None)
        case _:
            return next((why for pair in value.items() for one in pair if (why := _unwritable(one))), None)


class _Digests:
    """Keeps the digests that a guard looks up."""

    def __init__(self) -> None:
        self.keys = self
        self.found: list[str] = []

    async def caller(self, digest: str) -> Caller:
        self.found.append(digest)
        return Caller("key", 1, None)


async def _nothing() -> Any:
    return {}


def read_bearer(header: bytes) -> None:
    """A Bearer header: what is looked up is the digest of a key of the right shape that stands in the header."""
    store = _Digests()
    request = Request({"headers": [(b"authorization", header)]}, _nothing, id="")
    guarding = KeyGuard(store)(request)  # type: ignore[arg-type]  # it looks a caller up and does nothing else
    try:
        guarding.send(None)
    except StopIteration:
        value = header.decode("latin-1").partition(" ")[2].strip()
        if store.found != [key_digest(value)] or len(value) > KEY_LENGTH_MOST:
            raise Different("another key was looked up") from None
        if SHAPES[KeyKind.ORGANIZATION].fullmatch(value) is None:
            raise Different("a value that is no key was looked up") from None


def read_url(url: bytes) -> None:
    """A webhook's URL: what is accepted is plain, and never leads to an address that is not public."""
    text = url.decode("latin-1")
    target = check_url(text, Reach())
    if target.address is not None and not is_public(target.address):
        raise Different("an address that is not public")
    if not re.fullmatch(r"[!-~]+", target.authority + target.path) or "@" in target.authority:
        raise Different("a request line could be split")
    if target.place.lower() not in text.lower() and target.host not in text.lower():
        raise Different("another host")


def read_signed(signature: bytes) -> None:
    """The signature of a webhook: without the secret none is genuine."""
    header = signature.decode("latin-1")
    for name in ("X-Cloro-Signature", "webhook-signature"):
        headers = {"X-Cloro-Timestamp": header[:20], "webhook-timestamp": header[:20], "webhook-id": "a", name: header}
        try:
            verify("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, signature, now=lambda: 1748419260.0)
        except WebhookInvalid:
            continue
        raise Different("a signature without the secret")
    raise WebhookInvalid


def read_answer(data: bytes) -> None:
    """The answer to a webhook, in pieces of every size: the status does not depend on how it is cut."""
    statuses = set()
    for size in (1, 7, len(data) or 1):
        reader = AnswerReader()
        try:
            for start in range(0, len(data), size):
                reader.receive(data[start : start + size])
                if reader.over:
                    break
            statuses.add(reader.status)
        except NotHttp:
            statuses.add(None)
    if len(statuses - {None}) > 1:
        raise Different(f"one answer has the statuses {statuses}")


def read_wait(text: bytes) -> None:
    """``Retry-After`` of a receiver: at most a day, never before now."""
    if not 0 <= asked_wait_ms(text.decode("latin-1"), 1_748_419_260_000) <= ASKED_WAIT_MS_MAX:
        raise Different("a wait beyond a day")


def read_lease(text: bytes) -> None:
    """A lease id of a worker: what is accepted names the place it was made from."""
    given = text.decode("latin-1")
    place = lease_place(given)
    if place is not None and (place[2] != given or not given.endswith(f".{place[1]}.{given.split('.', 2)[2]}")):
        raise Different("another lease")


def read_page(text: bytes) -> None:
    """The query of a list."""
    given = text.decode("latin-1")
    cursor = read_cursor(given, length=36)
    if cursor is None or len(cursor) != 36:
        raise Different("another length")


def read_limit(text: bytes) -> None:
    """A number in a query."""
    if not 1 <= read_number("limit", text.decode("latin-1"), usual=10, most=100) <= 100:
        raise Different("a number out of its range")


def read_run_at(text: bytes) -> None:
    """A moment in a request."""
    if not isinstance(read_moment(text.decode("latin-1"), "runAt"), int):
        raise Different("no moment")


READERS = {
    "json": Reader(read_document, (ValidationRefused,), (
        b'{"taskType":"PAGE","payload":{"url":"https://example.com","n":[1,-0.5e3,true,false,null]}}',
        b'[{"a":"\\u00e9\\ud83d\\ude00\\n\\"\\\\"},{"a":1,"a":2},{}]', b'{"\\u0061":1,"a":2}', b'"\\ud800"', b"-0",
        b"9223372036854775807", b"-9223372036854775809", b"1e400", b"NaN", b"[[[[[[[[]]]]]]]]", b"\xef\xbb\xbf{}",
        '{"ключ":"значение","鍵":"値"}'.encode(), b" \t\r\n[ ]\n",
    )),
    "bearer": Reader(read_bearer, (KeyMissing, KeyMalformed), (
        b"Bearer sk_live_1234567890abcdef1234567890abcdef", b"bearer  sk_test_1234567890abcdef", b"Basic abc",
        b"Bearer wk_live_1234567890abcdef1234567890abcdef", b"Bearer sk_live_" + b"a" * 300,
    )),
    "url": Reader(read_url, (ValidationRefused,), (
        b"https://hooks.example.com:8443/a/b?c=d", b"http://93.184.216.34/", b"https://[2606:2800:220:1::1]/x",
        b"http://127.0.0.1/", b"http://[::ffff:169.254.169.254]/", b"http://0x7f.1/", b"http://ok@127.0.0.1/",
        b"http://[64:ff9b::7f00:1]/", b"https://example.com#@10.0.0.1/", b"http://localhost:5432/",
    )),
    "signature": Reader(read_signed, (WebhookInvalid,), (
        b"1748419200", b"v1=" + b"0" * 64, b"v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=", b"v1, v1,= v1a,AAAA",
    )),
    "answer": Reader(read_answer, (), (
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 503 x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 429 \nRetry-After: 120\n\n", b"HTTP/1.1 101 Switching\r\n\r\n", b"\r\nHTTP/1.1 204\r\n\r\n",
    )),
    "retry-after": Reader(read_wait, (), (
        b"120", b"Wed, 28 May 2025 08:02:00 GMT", b"Wednesday, 28-May-25 08:02:00 GMT", b"99999999999999999999", b"-1",
    )),
    "lease": Reader(read_lease, (), (
        lease_id(7, "01890a5d-ac96-774b-bcce-b302099a8057", "0123456789abcdef").encode(), b"1.2.3", b"--",
    )),
    "cursor": Reader(read_page, (ValidationRefused,), (b"01890a5d-ac96-774b-bcce-b302099a8057", b"")),
    "limit": Reader(read_limit, (ValidationRefused,), (b"50", b"0", b"00000001", b"+5", b"1_0")),
    "runAt": Reader(read_run_at, (Refusal,), (
        b"2025-11-10T15:00:00.000Z", b"2025-11-10T15:00:00+02:00", b"9999-12-31T23:59:60Z",
        b"0001-01-01T00:00:00-23:59",
    )),
    "hints": Reader(lambda text: read_payload(text.decode("latin-1")), (), (
        b'[["s","PAGE"],["e","x"],["c",""]]', b"[]", b"x",
    )),
}  # fmt: skip


def made_up(known: Sequence[bytes], chance: random.Random) -> bytes:
    """Return one of the known inputs with up to eight changes, or now and then nothing but noise."""
    if chance.random() < 0.02:
        return chance.randbytes(chance.randrange(64))
    text = bytearray(chance.choice(known))
    for _ in range(chance.randrange(9)):
        at, other = chance.randrange(len(text) + 1), chance.choice(known)
        end = min(len(text), at + chance.choice((0, 1, 1, 2, 5, 20)))
        match chance.randrange(5):
            case 0:
                text[at:end] = chance.randbytes(1)
            case 1:
                text[at:end] = bytes([chance.choice(b'0123456789"\\{}[]:,.-+eE \t\r\n\0u%@/#?=_;\xff')])
            case 2:
                text[at:end] = text[at:end] * chance.choice((0, 2, 2, 30))
            case 3:
                start = chance.randrange(len(other) + 1)
                text[at:end] = other[start : start + chance.randrange(1, 30)]
            case _:
                text[at:end] = b""
    return bytes(text)


def look(name: str, seed: int) -> str | None:
    """Feed one input; return what is wrong with how it was read, or None."""
    reader = READERS[name]
    text = made_up(reader.known, random.Random(f"{name} {seed}"))
    try:
        reader.read(text)
    except reader.refuses_with:
        return None
    except Exception as error:
        return f"{text[:200]!r}: {type(error).__name__}: {error}"
    return None


def main() -> int:
    """Feed all readers; return 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="?", type=int, default=200_000, help="for each reader")
    parser.add_argument("--seed", type=int, default=1, help="the number of the first input")
    parser.add_argument("--replay", nargs=2, metavar=("READER", "NUMBER"))
    chosen = parser.parse_args()
    if chosen.replay:
        found = look(chosen.replay[0], int(chosen.replay[1]))
        print(found or "nothing")
        return found is not None
    faults = 0
    for name in READERS:
        began, wrong = time.monotonic(), []
        for number in range(chosen.seed, chosen.seed + chosen.inputs):
            if found := look(name, number):
                wrong.append(f"  --replay {name} {number}: {found}")
        print(f"{name:<12} {chosen.inputs} inputs in {time.monotonic() - began:.0f} s, {len(wrong)} faults", flush=True)
        print(*wrong[:10], sep="\n", end="\n" * bool(wrong))
        faults += len(wrong)
    return faults > 0


if __name__ == "__main__":
    sys.exit(main())
