"""What ``fairlane monitor`` posts is accepted by every receiver that accepts the server's webhooks."""

import pytest

from fairlane.cli.outbox import OWED_MOST, Outbox
from fairlane.errors import ValidationRefused
from tests.webhooks.receiver import Receiver, answer

READABLE = (
    b"HTTP/1.1 200 OK\r\nX Bad Name: 1\r\nServer : x\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\nX-Filler: " + b"x" * 70_000 + b"\r\n\r\n",
    b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\nnot chunked",
    b"HTTP/1.0 200\n\n",
    b"HTTP/1.1 200 OK\r\nConte",
)


@pytest.mark.anyio
@pytest.mark.parametrize("text", READABLE, ids=ascii)
async def test_any_2xx_status_line_accepts_a_message(text: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever follows it; a proxy of the environment is not used."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Receiver(answer(text, drain=False)) as receiver:
        outbox = Outbox(f"http://127.0.0.1:{receiver.port}/alerts", None)
        outbox.put(b"{}")
        await outbox.send()

    assert not outbox.owed
    assert receiver.connections == 1


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("text", "again"),
    [
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 60\r\n\r\n", 0),
        (b"HTTP/1.1 429 Busy\r\n\r\n", 1),
        (b"HTTP/1.1 500 Broken\r\nRetry-After: 60\r\n\r\n", 1),
        (b"HTTP/1.1 307 Elsewhere\r\nLocation: /\r\n\r\n", 1),
        (b"SSH-2.0\r\n", 1),
    ],
    ids=ascii,
)
async def test_a_busy_receiver_is_not_posted_to_before_its_time(
    text: bytes, again: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other refusals are posted again at the next check, and each is noted."""
    async with Receiver(answer(text)) as receiver:
        outbox = Outbox(f"http://127.0.0.1:{receiver.port}/alerts", None)
        outbox.put(b"{}")
        await outbox.send()
        await outbox.send()

    assert receiver.connections == 1 + again
    assert len(outbox.owed) == 1
    assert capsys.readouterr().err.count("the webhook ") == 1 + again


@pytest.mark.parametrize("url", ["alerts", "ftp://127.0.0.1/", "http://user:word@host.example/", "http://a b/"])
def test_a_url_that_the_server_would_refuse_is_refused_at_the_start(url: str) -> None:
    """Not at each check, for ever."""
    with pytest.raises(ValidationRefused):
        Outbox(url, None)


def test_an_unreachable_webhook_is_owed_a_bounded_number_of_messages(capsys: pytest.CaptureFixture[str]) -> None:
    """The newest are kept."""
    outbox = Outbox("http://127.0.0.1:1", None)

    for number in range(OWED_MOST + 2):
        outbox.put(b"%d" % number)

    assert [outbox.owed[0][1], outbox.owed[-1][1], len(outbox.owed)] == [b"2", b"%d" % (OWED_MOST + 1), OWED_MOST]
    assert "dropped" in capsys.readouterr().err
