"""An answer is read byte by byte as it is read at once, and only its status decides."""

import pytest

from fairlane.webhooks.answers import AnswerReader, NotHttp

ANSWERS = {
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok": (200, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok": (200, False),
    b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\nContent-Length: 2\r\n\r\nok": (200, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokay": (200, False),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n": (200, True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n": (200, False),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, True),
    b"HTTP/1.0 503 Oh\n\n": (503, False),
    b"HTTP/1.1 200 ": (200, False),
    b"HTTP/2 201\r\n": (201, False),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 X\r\n": (404, False),
    b"HTTP/1.1 100 Continue\r\n\r\n": (None, False),
    b"HTTP/1.1 100 Continue\r\nX: y": (None, False),
    b"HTTP/1.1 20": (None, False),
    b"\r\n\r\n": (None, False),
}


@pytest.mark.parametrize("answer", ANSWERS, ids=ascii)
def test_an_answer_is_read_in_any_pieces(answer: bytes) -> None:
    """What is known at its end does not depend on where it was cut."""
    known = set()
    for size in (1, 2, 3, 7, len(answer)):
        reader = AnswerReader()
        for start in range(0, len(answer), size):
            reader.receive(answer[start : start + size])
        known.add((reader.status, reader.over))

    assert known == {ANSWERS[answer]}


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 2000 X\r\n",
        b"HTTP/1.1 0200 X\r\n",
        b"HTTP/1.1 OK\r\n",
        b"HTTP/11 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"x" * 65,
        b"HTTP/1.1 101 Switching Protocols\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nSSH-2.0\r\n",
    ],
)
def test_what_has_no_status_line_is_not_http(answer: bytes) -> None:
    """It is refused as soon as it can be nothing else, byte by byte, too."""
    with pytest.raises(NotHttp):
        AnswerReader().receive(answer)
    with pytest.raises(NotHttp):
        reader = AnswerReader()
        for number in range(len(answer)):
            reader.receive(answer[number : number + 1])


def test_what_follows_the_status_is_not_kept() -> None:
    """Neither the headers of interim answers nor a body: the reader's memory does not grow with them."""
    reader = AnswerReader()
    reader.receive(b"HTTP/1.1 100 Continue\r\n")
    for _ in range(100):
        reader.receive(b"X-Filler: x\r\n" * 100)
    interim = len(reader.kept)
    reader.receive(b"\r\nHTTP/1.1 200 OK\r\n\r\n")
    for _ in range(100):
        reader.receive(b"x" * 1_000)

    assert interim < 10
    assert len(reader.kept) < 10


def test_a_frame_without_an_end_is_not_kept() -> None:
    """A receiver that sends one for ever takes no memory, and what came before it is shown."""
    reader = AnswerReader()
    reader.receive(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;")
    for _ in range(100):
        reader.receive(b"x" * 100)
    reader.receive(b"\r\ny\r\n")

    assert reader.beginning() == "ok"


KEPT = {
    b"HTTP/1.1 500 Oh\r\n\r\nno such\r\n\thook": "no such \n\thook",
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nno su\r\n3\r\nch \r\n4\r\nho": "no such ho",
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 300: "x" * 256,
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n12c\r\n" + b"x" * 300 + b"\r\n0\r\n\r\n": "x" * 256,
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n1\r\nx\r\n": "ok",
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\nthis is no chunk\r\n": None,
    b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n": None,
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\nok": None,
    b"HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\n\r\nok": "ok",
    b"HTTP/1.1 200 OK\r\n\r\n": None,
    b"HTTP/1.1 200 OK\r\nX: the head has no end": None,
    b"HTTP/1.1 200 OK\r\n\r\n\x89PNG": None,
    b"HTTP/1.1 200 OK\r\n\r\na\x00\x1b[31mb\xe2\x80\xae": "a  [31mb",
    b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 300: "x" * 256,
    b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 255 + "ü".encode(): "x" * 255,
}


@pytest.mark.parametrize("answer", KEPT, ids=ascii)
def test_the_beginning_of_an_answer_is_kept_as_text(answer: bytes) -> None:
    """Without frames, control characters and what is not text; however it was cut."""
    known = set()
    for size in (1, 7, len(answer)):
        reader = AnswerReader()
        for start in range(0, len(answer), size):
            reader.receive(answer[start : start + size])
        known.add(reader.beginning())

    assert known == {KEPT[answer]}
