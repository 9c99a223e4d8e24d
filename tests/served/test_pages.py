"""examples/pages.py against a site on this machine."""

import pytest

from fairlane.client import TaskFailed
from tests.client.scripted import Asked, Reply, ScriptedServer
from tests.served.conftest import Serve

PAGE = """<!doctype html><title>A &amp; B</title><style>p {}</style><script>lost()</script>
<p>Read <a href="/next">on</a>, é.</p>""".encode("latin-1")


def test_a_page_is_read(serve: Serve) -> None:
    """Through a redirect; title, text and links, in the page's own encoding. 404 is an answer like any other."""

    def script(asked: Asked) -> Reply:
        if asked.path == "/old":
            return Reply(302, b"", {"Location": "/page"})
        status = 404 if asked.path == "/missing" else 200
        return Reply(status, PAGE, {"Content-Type": "text/html; charset=iso-8859-1"})

    with ScriptedServer(script) as site:
        client = serve("pages.py", PAGES_ALLOW_PRIVATE="1")

        read = client.run("PAGE", {"url": f"{site.address}/old"}, timeout_seconds=30)
        missing = client.run("PAGE", {"url": f"{site.address}/missing"}, timeout_seconds=30)

    assert read == {
        "url": f"{site.address}/page", "status": 200, "title": "A & B", "text": "Read on , é.", "links": ["/next"],
    }  # fmt: skip
    assert missing["status"] == 404


def test_our_own_network_stays_closed(serve: Serve) -> None:
    """Without the variable: the task fails at once, says nothing about the network, and nobody was asked."""
    with ScriptedServer([Reply(200, PAGE)]) as site:
        client = serve("pages.py")
        with pytest.raises(TaskFailed) as raised:
            client.run("PAGE", {"url": site.address}, timeout_seconds=30)

    error = raised.value.task.error
    assert error is not None
    assert (error.code, error.message) == ("URL_REFUSED", "Must name a host on the public internet")
    assert site.asked == []
