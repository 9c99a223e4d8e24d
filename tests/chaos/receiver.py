"""The receiver of a run's webhooks: a small HTTP server that logs each message, and refuses some first tries."""

import json
import random
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

REFUSED_PART = 0.2


class Receiver:
    """Takes messages on a loopback port until it is closed."""

    def __init__(self, seed: int) -> None:
        self.received: set[str] = set()
        """Tasks whose message was answered with 200."""
        self.tries: Counter[str] = Counter()
        self._chance = random.Random(seed)
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(json.loads(body)["task"]["id"]))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def take(self, task_id: str) -> int:
        """Log one try; the status to answer it with."""
        with self._lock:
            self.tries[task_id] += 1
            if self.tries[task_id] == 1 and self._chance.random() < REFUSED_PART:
                return 503
            self.received.add(task_id)
            return 200

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
