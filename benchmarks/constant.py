"""The ceiling: fairlane's own listener with an application that always answers the same bytes."""

import asyncio

from fairlane.api.http import Receive, Scope, Send
from fairlane.api.listener import Listener, address_of, bind_tcp
from fairlane.loops import new_event_loop

BODY = b'{"queuedTasks":0,"processingTasks":0,"concurrency":{"used":0,"max":10},"priorityBreakdown":[]}'


async def constant(scope: Scope, receive: Receive, send: Send) -> None:
    """A bare ASGI application with a body of the status answer's size."""
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": BODY})


async def serve() -> None:
    """Serve on a free port until ended; the first line printed is the address."""
    bound = bind_tcp("127.0.0.1", 0)
    listener = Listener(constant, bound=bound)
    await listener.start()
    print(f"constant: ready at {address_of(bound)}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve())
