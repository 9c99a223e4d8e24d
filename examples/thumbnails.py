"""Thumbnails of PNG images, in pure Python. Serve it with ``fairlane serve examples/thumbnails.py:app``.

That is slow, so it is a good example: each attempt has its own process (``isolation="process"``), which delays neither
other attempts nor the worker's renewals, and which is killed alone past its timeout. For real use call an imaging
library instead.
"""

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any

import msgspec

from fairlane import Context, Fail, Fairlane

app = Fairlane()

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}
"""Bytes of a pixel by color type: grey, RGB, grey with alpha, RGBA."""
PIXELS_MOST = 4_000_000


class Image(msgspec.Struct, forbid_unknown_fields=True):
    """What a caller sends as ``payload``."""

    png: bytes
    """A PNG in base64, with eight bits for each channel, no palette, not interlaced."""
    width: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 128


@app.task("THUMBNAIL", timeout=60, attempts=2, isolation="process", cost=3)
def thumbnail(image: Image, context: Context) -> dict[str, Any]:
    """Return the image at this width, or unchanged if it is narrower. Each new pixel is the mean of those it covers."""
    try:
        width, height, channels, packed = parts_of(image.png)
        new_width = min(image.width, width)
        new_height = max(1, height * new_width // width)
        rows = shrink(
            lines_of(packed, width, height, channels), width, height, channels, new_width, new_height, context
        )
        small = png_of(rows, new_width, new_height, channels)
    except (ValueError, struct.error, zlib.error, IndexError) as error:
        raise Fail("IMAGE_UNREADABLE", f"this is no PNG that can be read here: {error}") from error
    return {"width": new_width, "height": new_height, "png": base64.b64encode(small).decode()}


def parts_of(png: bytes) -> tuple[int, int, int, bytes]:
    """Return width, height, bytes of a pixel, and the compressed lines. Raise ValueError for other formats."""
    if not png.startswith(SIGNATURE):
        raise ValueError("it does not begin like one")
    header, packed = b"", b""
    for kind, data in chunks(png):
        if kind == b"IHDR":
            header = data
        elif kind == b"IDAT":
            packed += data
    width, height, depth, color, _, _, interlace = struct.unpack(">IIBBBBB", header)
    if depth != 8 or color not in CHANNELS or interlace:
        raise ValueError(f"depth {depth}, color type {color}, interlace {interlace} are not supported")
    # Checked before anything is decompressed: a few bytes may declare an image of a billion pixels.
    if not 0 < width * height <= PIXELS_MOST:
        raise ValueError(f"{width} x {height} pixels; at most {PIXELS_MOST:,} are read")
    return width, height, CHANNELS[color], packed


def chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield each chunk's kind and data. Raise ValueError for a damaged chunk."""
    at = len(SIGNATURE)
    while at < len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        data = png[at + 8 : at + 8 + length]
        if struct.unpack_from(">I", png, at + 8 + length)[0] != binascii.crc32(kind + data):
            raise ValueError(f"the chunk {kind.decode('latin-1')} is damaged")
        yield kind, data
        at += 12 + length


def lines_of(packed: bytes, width: int, height: int, channels: int) -> Iterator[bytes]:
    """Yield the lines from top to bottom, with their filters undone."""
    line_bytes = width * channels
    raw = zlib.decompressobj().decompress(packed, height * (line_bytes + 1))
    above = bytes(line_bytes)
    for number in range(height):
        start = number * (line_bytes + 1)
        line = bytearray(raw[start + 1 : start + 1 + line_bytes])
        if len(line) < line_bytes:
            raise ValueError(f"it ends in line {number}")
        unfilter(raw[start], line, above, channels)
        above = bytes(line)
        yield above


def unfilter(kind: int, line: bytearray, above: bytes, step: int) -> None:
    """Undo one line's filter in place: 0 none, 1 left, 2 above, 3 mean of both, 4 Paeth's choice."""
    if kind > 4:
        raise ValueError(f"there is no filter {kind}")
    for at in range(len(line)) if kind else ():
        left = line[at - step] if at >= step else 0
        up, corner = above[at], above[at - step] if at >= step else 0
        match kind:
            case 1:
                guess = left
            case 2:
                guess = up
            case 3:
                guess = (left + up) // 2
            case _:
                guess = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
        line[at] = (line[at] + guess) & 0xFF


def shrink(
    lines: Iterator[bytes], width: int, height: int, channels: int, new_width: int, new_height: int, context: Context
) -> Iterator[bytes]:
    """Compute the mean of each new pixel's rectangle, and report the progress."""
    edges = [column * width // new_width for column in range(new_width + 1)]
    for row in range(new_height):
        first, last = row * height // new_height, (row + 1) * height // new_height
        band = [next(lines) for _ in range(last - first)]
        new = bytearray()
        for left, right in pairwise(edges):
            count = (right - left) * len(band)
            for channel in range(channels):
                cells = slice(left * channels + channel, right * channels, channels)
                new.append(sum(sum(line[cells]) for line in band) // count)
        context.progress(row + 1, new_height, "lines")
        yield bytes(new)


def png_of(rows: Iterator[bytes], width: int, height: int, channels: int) -> bytes:
    """Return the lines as a PNG, unfiltered."""
    color = next(color for color, count in CHANNELS.items() if count == channels)
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows))
    made = SIGNATURE
    for kind, data in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        made += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", binascii.crc32(kind + data))
    return made
