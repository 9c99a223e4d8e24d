"""A receiver of webhooks on loopback that does to each try what its script says, and keeps what came."""

import json
import socket
import ssl
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HUGE_BYTES = 8 * 1024 * 1024
RESET = struct.pack("ii", 1, 0)


class Manner(StrEnum):
    """How a try is answered."""

    TAKE = "200"
    FAIL = "503"
    WAIT = "no answer in time"
    SLOW = "a body without end, byte by byte"
    RESET_AFTER = "200, then reset"
    RESET_BEFORE = "reset without an answer"
    HUGE = "200 with a body of 8 MiB"
    REDIRECT = "307 to itself"


@dataclass(frozen=True)
class Try:
    """One request that came, whole."""

    at: float
    headers: dict[str, str]
    body: bytes
    manner: Manner


class Receiver:
    """Takes messages on a loopback port until it is closed."""

    def __init__(
        self,
        script: Callable[[str, int], Manner] = lambda task_id, number: Manner.TAKE,
        *,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``script`` is given a task's id and the number of the try, from 1; it says how that try is answered."""
        self.tries: defaultdict[str, list[Try]] = defaultdict(list)
        self.over = threading.Event()
        self._script = script
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.answer(self, receiver.take({**self.headers}, body))
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def finish_request(self, request: Any, client_address: Any) -> None:
                """Take a request on the connection's own thread, which a handshake may hold up, too."""
                if tls is not None:
                    request.settimeout(5)
                    request = tls.wrap_socket(request, server_side=True)
                super().finish_request(request, client_address)

            def handle_error(self, request: object, client_address: object) -> None:
                """Print nothing of a sender that was killed."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.address = ("127.0.0.1", self._server.server_port)
        self.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def take(self, headers: dict[str, str], body: bytes) -> Manner:
        """Note one try; return how it is answered."""
        task_id = str(json.loads(body)["task"]["id"])
        with self._lock:
            tries = self.tries[task_id]
            manner = self._script(task_id, len(tries) + 1)
            tries.append(Try(time.time(), headers, body, manner))
            return manner

    def answer(self, handler: BaseHTTPRequestHandler, manner: Manner) -> None:
        """Answer a request in this manner."""
        match manner:
            case Manner.TAKE:
                _say(handler, 200)
            case Manner.FAIL:
                _say(handler, 503)
            case Manner.REDIRECT:
                handler.send_response(307)
                handler.send_header("location", self.url)
                handler.send_header("content-length", "0")
                handler.end_headers()
            case Manner.WAIT:
                self.over.wait(30)
            case Manner.SLOW:
                handler.send_response(200)
                handler.send_header("content-length", "1000000")
                handler.end_headers()
                while not self.over.wait(0.2):
                    handler.wfile.write(b".")
            case Manner.HUGE:
                handler.send_response(200)
                handler.send_header("content-length", str(HUGE_BYTES))
                handler.end_headers()
                handler.wfile.write(bytes(HUGE_BYTES))
            case Manner.RESET_AFTER | Manner.RESET_BEFORE:
                if manner is Manner.RESET_AFTER:
                    _say(handler, 200)
                handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                handler.connection.close()

    def close(self) -> None:
        """Stop listening."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


def _say(handler: BaseHTTPRequestHandler, status: int) -> None:
    handler.send_response(status)
    handler.send_header("content-length", "0")
    handler.end_headers()
    handler.wfile.flush()
