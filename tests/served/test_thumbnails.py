"""examples/thumbnails.py: the pixels are right, and what is no picture does no harm."""

import base64
import binascii
import struct
import zlib
from typing import Any

import pytest

from fairlane.client import Client
from tests.served.conftest import Serve


def png(lines: list[bytes], *, width: int, color: int, header: bytes | None = None) -> str:
    """Lines that begin with their filter's number, as a PNG in base64."""
    parts = [
        (b"IHDR", header or struct.pack(">IIBBBBB", width, len(lines), 8, color, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"".join(lines))),
        (b"IEND", b""),
    ]
    made = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))
        for kind, data in parts
    )
    return base64.b64encode(made).decode()


def pixels(result: dict[str, Any]) -> bytes:
    """The lines of a thumbnail, each with its filter's number before it."""
    made = base64.b64decode(result["png"])
    length = struct.unpack_from(">I", made, 33)[0]
    return zlib.decompress(made[41 : 41 + length])


@pytest.fixture
def client(serve: Serve) -> Client:
    """A customer of the example."""
    return serve("thumbnails.py")


def test_thumbnails_have_the_mean_of_what_they_cover(client: Client) -> None:
    """Colors in four filtered lines, a picture that is narrow already, and pictures that are none."""
    red, blue = b"\xff\0\0", b"\0\0\xff"
    # Each line is red red blue blue, but for the last, which is grey; each is written with another filter.
    lines = [
        b"\0" + red + red + blue + blue,
        b"\1" + red + b"\0\0\0" + b"\1\0\xff" + b"\0\0\0",
        b"\2" + b"\0" * 12,
        b"\4" + b"\x65\x64\x64" + b"\0\0\0" + b"\x64\0\x65" + b"\0\0\0",
    ]
    tasks = [
        client.submit("THUMBNAIL", {"png": png(lines, width=4, color=2), "width": 2}),
        client.submit("THUMBNAIL", {"png": png([b"\0\x01\x02", b"\3\x03\x02"], width=2, color=0), "width": 64}),
        client.submit("THUMBNAIL", {"png": base64.b64encode(b"GIF89a").decode()}),
        client.submit(
            "THUMBNAIL",
            {"png": png([b"\0"], width=1, color=0, header=struct.pack(">IIBBBBB", 100_000, 100_000, 8, 6, 0, 0, 0))},
        ),
        client.submit("THUMBNAIL", {"png": png([b"\0\1"], width=9, color=0)}),
    ]

    colors, narrow, *wrong = [client.wait(task, timeout_seconds=40) for task in tasks]

    assert colors.response is not None
    assert (colors.response["width"], colors.response["height"]) == (2, 2)
    mixed_red, mixed_blue = bytes([(255 * 2 + 100 * 2) // 4, 50, 50]), bytes([50, 50, (255 * 2 + 100 * 2) // 4])
    assert pixels(colors.response) == b"\0" + red + blue + b"\0" + mixed_red + mixed_blue
    assert narrow.response is not None
    assert pixels(narrow.response) == b"\0\x01\x02" + b"\0\x03\x04"
    assert [task.error and task.error.code for task in wrong] == ["IMAGE_UNREADABLE"] * 3
    assert "100000 x 100000 pixels" in str(wrong[1].error)
