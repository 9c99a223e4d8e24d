"""The far end of HTTP with a script: a server that answers what a test wants and remembers what it was asked."""

import http.server
import json
import threading
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """One answer. ``status`` 0 closes the connection without one."""

    status: int
    body: Any = None
    headers: dict[str, str] = {}


Script = Callable[[Asked], Reply]


class ScriptedServer:
    """Answers from a script in order, then the last one for ever; or from a function of the request."""

    def __init__(self, script: Iterable[Reply] | Script) -> None:
        self.asked: list[Asked] = []
        self._script = script if callable(script) else _in_order(list(script))
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            """Head and body leave together: apart, the second waits 40 ms for the first to be acknowledged."""

            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
                outer.asked.append(asked)
                reply = outer._script(asked)
                if reply.status == 0:
                    self.close_connection = True
                    return
                body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
                self.send_response(reply.status)
                for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                self.wfile.flush()

            do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the standard library calls them so

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


def _in_order(replies: list[Reply]) -> Script:
    def answer(_: Asked) -> Reply:
        return replies.pop(0) if len(replies) > 1 else replies[0]

    return answer


def refused(code: str, message: str = "no", details: Any = None) -> dict[str, Any]:
    """An error envelope."""
    error = {"code": code, "message": message, "timestamp": "2026-04-09T15:00:00.000Z"}
    return {"success": False, "error": error if details is None else {**error, "details": details}}


def a_task(id: str = "t1", status: str = "QUEUED", key: str | None = None, **more: Any) -> dict[str, Any]:
    """A task as the API shows it."""
    task = {
        "id": id, "taskType": "ANY", "status": status, "priority": 1, "createdAt": "2026-04-09T15:00:00.000Z",
        "latencyMs": None, "idempotencyKey": key,
    }  # fmt: skip
    return {"task": task, "credits": {"creditsToCharge": 1, "creditsCharged": None}, **more}


STATUS = {"queuedTasks": 3, "processingTasks": 2, "concurrency": {"used": 2, "max": 5}, "priorityBreakdown": []}
