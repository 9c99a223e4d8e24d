"""examples/chat.py against a stand-in for the provider."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from fairlane.client import Client
from tests.cli.harness import eventually
from tests.served.conftest import Serve

WORDS = ["To ", "be, ", "or ", "not ", "to ", "be."]


class Provider:
    """Refuses as often as it is told, then streams; half way it waits until somebody lets it go on."""

    def __init__(self) -> None:
        self.refusals: list[tuple[int, dict[str, str]]] = []
        self.asked: list[tuple[dict[str, str], Any]] = []
        self.go_on = threading.Event()
        self.cut_off = 0
        provider = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                provider.asked.append(
                    ({name.lower(): value for name, value in self.headers.items()}, {"path": self.path} | body)
                )
                if provider.refusals:
                    status, headers = provider.refusals.pop(0)
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(b'{"error": {"message": "no"}}')
                    return
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                for number, word in enumerate(WORDS):
                    if number == 3 and provider.cut_off:
                        provider.cut_off -= 1
                        return
                    if number == 3:
                        provider.go_on.wait(20)
                    self.say({"choices": [{"delta": {"content": word}, "finish_reason": None}]})
                self.say({"choices": [{"delta": {}, "finish_reason": "stop"}]})
                self.wfile.write(b"data: [DONE]\n\n")

            def say(self, event: Any) -> None:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/v1"


@pytest.fixture
def provider() -> Iterator[Provider]:
    """One that is there."""
    made = Provider()
    made.thread.start()
    yield made
    made.go_on.set()
    made.server.shutdown()
    made.thread.join(10)
    made.server.server_close()


@pytest.fixture
def client(serve: Serve, provider: Provider) -> Client:
    """A customer of the example."""
    return serve("chat.py", OPENAI_BASE_URL=provider.address, OPENAI_API_KEY="sk-secret", CHAT_MODEL="small")


SAID = {"messages": [{"role": "user", "content": "Well?"}], "max_tokens": 12}


def test_an_answer_is_streamed_and_its_progress_is_seen(client: Client, provider: Provider) -> None:
    """The caller sees how many pieces there are while the model still writes, and then the whole."""
    task = client.submit("CHAT", SAID)

    def progress() -> Any:
        return client._http.get(f"/v1/async/task/{task.id}/wait").json()["progress"]

    eventually(lambda: (progress() or {}).get("done") == 3)
    seen = progress()
    provider.go_on.set()
    ended = client.wait(task, timeout_seconds=30)

    assert (seen["total"], seen["note"]) == (12, "pieces written")
    assert ended.response == {"content": "To be, or not to be.", "finish_reason": "stop"}
    assert ended.credits_charged == 2
    [(headers, asked)] = provider.asked
    assert headers["authorization"] == "Bearer sk-secret"
    assert asked == {"path": "/v1/chat/completions", "model": "small", "stream": True} | SAID


def test_what_passes_is_tried_again_and_the_rest_is_not(client: Client, provider: Provider) -> None:
    """429, 503, and a stream that breaks off cost an attempt each; 400 ends the task with the provider's words."""
    provider.go_on.set()
    provider.refusals = [(429, {"Retry-After": "0"}), (503, {"Retry-After": "0"})]
    provider.cut_off = 1

    assert client.run("CHAT", SAID, timeout_seconds=40)["content"] == "To be, or not to be."
    assert len(provider.asked) == 4

    provider.refusals = [(400, {})]
    failed = client.wait(client.submit("CHAT", SAID), timeout_seconds=30)
    assert failed.error is not None
    assert (failed.error.code, failed.error.details) == ("PROVIDER_REFUSED", '{"error": {"message": "no"}}')
    assert len(provider.asked) == 5
