"""The pages for other frameworks: their programs run, against a real server and with what fairlane really signs."""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from fairlane.handlers import load_app
from fairlane.webhooks.signing import new_secret, signatures
from tests.api.house import House, eventually

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs" / "guides"
BODY = (
    b'{"task":{"id":"t1","taskType":"PAGE","status":"COMPLETED","priority":1,"createdAt":"2025-11-10T15:00:00.000Z"},'
    b'"credits":{"creditsToCharge":1},"response":{"text":"\xc3\xa9"}}'
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("fastapi") is None and not os.environ.get("CI"), reason="`make docs` brings FastAPI"
    ),
]


def program(page: str, heading: str, language: str = "python") -> str:
    """The first block below a heading."""
    text = (GUIDES / page).read_text("utf-8").partition(f"\n## {heading}\n")[2]
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def run(source: str, name: str) -> dict[str, Any]:
    """The names that a program defines."""
    names: dict[str, Any] = {"__name__": name}
    exec(compile(source, name, "exec", dont_inherit=True), names)
    return names


def signed(secret: str, body: bytes = BODY) -> dict[str, str]:
    """The headers of a try of now."""
    headers = signatures([secret], task_id="t1", attempt=1, body=body, now_ms=int(time.time() * 1_000))
    return {**headers, "content-type": "application/json"}


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    """A server of the smallest application, and its address and a key in the environment."""
    with House(tmp_path, application=load_app(f"{ROOT / 'examples' / 'quickstart.py'}:app")) as house:
        monkeypatch.setenv("FAIRLANE_URL", house.server.address)
        monkeypatch.setenv("FAIRLANE_API_KEY", house.customer().key["value"])
        yield house


def complete(house: House) -> None:
    """Do the work of one task."""
    session = house.session("COUNT_WORDS")
    [lease] = session.claim()
    session.claim(0, {"lease": lease["lease"], "outcome": "completed", "result": {"words": 2}})


def test_a_fastapi_application_submits_and_finds(house: House) -> None:
    """While it runs, and what was never submitted is not there."""
    app = run(program("web-frameworks.md", "FastAPI"), "of_fastapi")["app"]

    async def use() -> None:
        transport = httpx2.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=transport, base_url="http://a") as web,
        ):
            begun = await web.post("/reports", json={"text": "to be"})
            waiting = await web.get(f"/reports/{begun.json()['id']}")
            await asyncio.to_thread(complete, house)
            ended = await web.get(f"/reports/{begun.json()['id']}")
            unknown = await web.get("/reports/never")
        assert (begun.status_code, waiting.json()["status"]) == (202, "QUEUED")
        assert ended.json() == {"status": "COMPLETED", "result": {"words": 2}}
        assert unknown.status_code == 404

    asyncio.run(use())


DJANGO = """
import json, sys
from django.conf import settings
settings.configure(ROOT_URLCONF="shown", ALLOWED_HOSTS=["*"], DATABASES={}, DEBUG=False)
import django
django.setup()
from django.test import Client
web = Client()
for line in sys.stdin:
    method, path, headers, body = json.loads(line)
    answer = web.generic(method, path, body, headers.pop("content-type", "application/json"), headers=headers)
    print(json.dumps([answer.status_code, answer.content.decode()]), flush=True)
"""


@pytest.fixture
def django(tmp_path: Path) -> Iterator[Any]:
    """Serve a program's ``urlpatterns`` in a process of its own, because Django has one configuration for a process."""
    running: list[subprocess.Popen[str]] = []

    def serve(source: str) -> Any:
        (tmp_path / "shown.py").write_text(source, "utf-8")
        command = [sys.executable, "-c", DJANGO]
        running.append(
            subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        [process] = running

        def ask(method: str, path: str, body: str = "", **headers: str) -> tuple[int, str]:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps([method, path, headers, body]), file=process.stdin, flush=True)
            status, text = json.loads(process.stdout.readline())
            return status, text

        return ask

    yield serve
    for process in running:
        process.communicate(timeout=30)


def test_a_django_application_submits_and_finds(house: House, django: Any) -> None:
    """While it runs, and what was never submitted is not there."""
    ask = django(program("web-frameworks.md", "Django"))

    status, begun = ask("POST", "/reports", json.dumps({"text": "to be"}))
    complete(house)
    ended = ask("GET", f"/reports/{json.loads(begun)['id']}")

    assert status == 202
    assert (ended[0], json.loads(ended[1])) == (200, {"status": "COMPLETED", "result": {"words": 2}})
    assert ask("GET", "/reports/never")[0] == 404


def test_the_fastapi_receiver_takes_what_is_ours_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second message changes nothing; another body is refused."""
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    names = run(program("webhook-receivers.md", "FastAPI"), "receiver")

    async def use() -> list[int]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(names["app"]), base_url="http://a") as web:
            bodies = (BODY, BODY, BODY + b" ")
            return [(await web.post("/fairlane", content=body, headers=signed(secret))).status_code for body in bodies]

    assert asyncio.run(use()) == [204, 204, 400]
    assert names["results"] == {"t1": {"text": "é"}}


def test_the_django_receiver_takes_what_is_ours_and_nothing_else(monkeypatch: pytest.MonkeyPatch, django: Any) -> None:
    """With the headers as Django has them."""
    secret = new_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    ask = django(program("webhook-receivers.md", "Django"))

    statuses = [ask("POST", "/fairlane", body.decode(), **signed(secret))[0] for body in (BODY, BODY + b" ")]

    assert statuses == [204, 400]
    assert ask("GET", "/fairlane")[0] == 405


@pytest.fixture(scope="module")
def express() -> Path:
    """A folder with Express, which npm brings into the cache."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("there is no Node here")
    folder = ROOT / ".cache" / "express"
    if not (folder / "node_modules" / "express").exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", "express@5.1.0"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=120)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"npm cannot bring Express here: {error}")
    return folder


@pytest.mark.timeout(180)
def test_the_express_receiver_takes_what_is_ours_and_nothing_else(express: Path) -> None:
    """Through a real Express; the port is a free one."""
    secret = new_secret()
    source = program("webhook-receivers.md", "Express", "js").replace(
        '"127.0.0.1");', '"127.0.0.1", function () { console.log(this.address().port); });'
    )
    process = subprocess.Popen(
        ["node", "-e", source], cwd=express, env={**os.environ, "WEBHOOK_SECRET": secret, "PORT": "0"},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = eventually(process.stdout.readline, seconds=60).strip()
        statuses = [
            httpx2.post(f"http://127.0.0.1:{port}/fairlane", content=body, headers=signed(secret)).status_code
            for body in (BODY, BODY, BODY + b" ")
        ]
    finally:
        process.terminate()
        with process:
            process.wait(30)

    assert statuses == [204, 204, 400]
