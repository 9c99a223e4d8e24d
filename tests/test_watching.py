"""The control of tests/watching.py: each way in which a secret can come out fails the test that it came out of."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fairlane.api.keys import new_key
from fairlane.model.keys import KeyKind
from tests.architecture.sources import REPOSITORY
from tests.watching import SERVER_THREAD, SHARED_THREAD

TELLS = """
import logging, subprocess, sys
from pathlib import Path
import httpx2
from fairlane.api.keys import new_key
from fairlane.model.keys import KeyKind
from fairlane.webhooks.signing import new_secret
from tests.cluster import PASSWORD

key = new_key(KeyKind.ORGANIZATION)
log = logging.getLogger("fairlane.anything")

def answer(request):
    return httpx2.Response(200, stream=httpx2.ByteStream(new_secret().encode()))

def test_a_field_of_a_debug_record():
    log.debug("key.presented", extra={"value": key})

def test_an_answer():
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        client.get("http://fairlane/v1/async/status")

def test_an_argument():
    subprocess.run(["true", new_key(KeyKind.WORKER)], check=True)

def test_the_output_of_a_program():
    subprocess.run([sys.executable, "-c", f"print('{PASSWORD}')"], capture_output=True, check=True)

def test_the_file_of_a_program(tmp_path):
    with (tmp_path / "log").open("w") as file:
        subprocess.run(["sh"], stdout=file, input=f"echo {new_key(KeyKind.ADMIN)}", text=True, check=True)

def test_its_own_output():
    print(key)

def test_nothing():
    log.info("key.presented", extra={"key_id": key[-4:]})
    subprocess.run(["echo", "sk_live_1234"], capture_output=True, check=True)
"""
WAYS = 6


def test_a_secret_that_comes_out_fails_its_test(tmp_path: Path) -> None:
    """In a run of tests that each show one; the test that shows none passes."""
    (tmp_path / "test_tells.py").write_text(TELLS, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "tests.watching", "-p", "no:cacheprovider"]

    ran = subprocess.run(
        [*command, "-c", "/dev/null", "--rootdir", str(tmp_path), "--show-capture=no", str(tmp_path)],
        cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert f"{WAYS + 1} passed, {WAYS} errors" in ran.stdout, ran.stdout + ran.stderr
    assert "test_nothing" not in ran.stdout
    assert ran.stdout.count("secrets were shown") >= WAYS
    assert new_key(KeyKind.ORGANIZATION)[:8] in ran.stdout


@pytest.mark.parametrize(("name", "seen"), [(f"{SHARED_THREAD}0", []), (f"{SERVER_THREAD}-own", ["it is late"])])
def test_the_shared_server_is_not_in_the_log_of_a_test_without_it(
    name: str, seen: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """It retries deliveries of tests before; what else runs is in the log."""
    thread = threading.Thread(target=lambda: logging.getLogger("fairlane").warning("it is late"), name=name)
    thread.start()
    thread.join()

    assert [record.getMessage() for record in caplog.records] == seen
