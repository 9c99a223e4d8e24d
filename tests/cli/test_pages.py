"""The commands of the pages run as they stand: in a shell, against the server that the pages speak of.

Only names that a reader replaces are replaced: addresses, and folders that root owns. Every block of commands is run
here, or by a test of its own, or is named with the reason why it is not.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import running
from tests.cli.harness import RunningServer
from tests.docs.blocks import ROOT, Block, all_blocks

BLOCKS = [block for block in all_blocks() if block.language == "sh" and block.mark is None]
CUSTOMER_KEY = "sk_live_1234567890abcdef1234567890abcdef"
ADMIN_KEY = "ak_live_1234567890abcdef1234567890abcdef"

RUN = {
    "docs/guides/monitor-queue-health.md": ["curl"],
    "docs/guides/plan-capacity.md": ["fairlane capacity"],
    "docs/operators/administration.md": ["fairlane plans create", "export FAIRLANE_SERVER"],
    "docs/operators/backup.md": ["fairlane backup"],
    "docs/operators/credits.md": ["fairlane organizations create"],
    "docs/operators/dashboard.md": ["fairlane dashboard"],
    "docs/operators/metrics.md": ["curl"],
    "docs/operators/simulate.md": ["fairlane simulate"],
    "docs/reference/client.md": ["fairlane client generate"],
}
"""The blocks that run here, by page, each by its beginning."""

BY_A_TEST_OF_ITS_OWN = {
    "README.md": "tests/docs/test_readme.py",
    "docs/tutorial.md": "tests/docs/test_tutorial.py",
    "docs/api/": "tests/docs/test_api_pages.py",
    "docs/operators/moving.md": "tests/cli/test_move.py",
    "docs/operators/deployment.md": "tests/worker/test_remote.py",
    "docs/reference/worker-protocol.md": "tests/served/test_node_worker.py",
    "examples/README.md": "tests/served",
}
"""Pages, or folders of pages, with commands that another test starts, with other addresses."""

NOT_RUN = {
    "docs/benchmarks.md": "minutes to hours; the smoke form of every benchmark is a test",
    "docs/proof.md": "minutes to hours; continuous integration runs the short form",
    "docs/reference/cli.md": "synopses and examples of every command, written from the commands and parsed by each",
    "docs/operators/traces.md": "needs a collector of traces",
    "docs/guides/logging-and-debugging.md": "stays until Ctrl-C, as `fairlane serve --reload` in test_reload.py",
    "docs/reference/settings.md": "stays until Ctrl-C, as `fairlane serve` in test_settings.py",
    "docs/guides/monitor-queue-health.md": "`--watch` and `monitor` stay until Ctrl-C, as in test_customer_commands.py",
}
"""Pages with blocks that no test runs, and why."""

ENDED = """fairlane organizations create acme
export key=sk_live_$(printf '%032d' 7); fairlane keys create acme --value - <<<$key
FAIRLANE_API_KEY=$key fairlane submit COUNT_WORDS --payload '{"text": "one"}' --wait
"""
"""What a replay needs: a task that has ended."""


@pytest.fixture
def private_address(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where the private listener will be; the port was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    monkeypatch.setenv("FAIRLANE_ADMIN_PORT", port)
    return f"http://127.0.0.1:{port}"


@pytest.fixture
def server(private_address: str, tmp_path: Path) -> Iterator[RunningServer]:
    """A server of the quick start with a worker and a private listener."""
    yield from running(tmp_path, "--workers", "1")


def test_the_commands_of_the_pages_run_as_they_stand(
    server: RunningServer, tmp_path: Path, private_address: str
) -> None:
    """Each page with an organization of its own; no command fails."""
    shutil.copy(ROOT / "docs" / "api" / "openapi.json", tmp_path)
    (tmp_path / "admin.key").write_text(ADMIN_KEY)
    replaced = {
        "http://127.0.0.1:8000": server.address,
        "http://127.0.0.1:8001": private_address,
        "https://fairlane.internal:8001": private_address,
        "/etc/fairlane": str(tmp_path),
        "/var/backups": str(tmp_path),
    }
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BROWSER": "true",
        "FAIRLANE_URL": server.address,
        "FAIRLANE_API_KEY": CUSTOMER_KEY,
        "ADMIN_KEY": ADMIN_KEY,
    }
    script = ["set -eu", 'curl() { command curl -sS --fail-with-body "$@"; }']
    script += [
        f"fairlane organizations create first && fairlane keys create first --value - <<<{CUSTOMER_KEY}",
        f"fairlane keys create --admin pages --value - <<<{ADMIN_KEY}",
    ]
    for block in _run_here():
        code = block.code
        for theirs, ours in replaced.items():
            code = code.replace(theirs, ours)
        before = ENDED if code.startswith("fairlane simulate") else ""
        script.append(
            f"{before}(echo '# {block}'\n{code})\nfairlane organizations erase acme --yes >>erased 2>&1 || true"
        )

    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip

    assert ran.returncode == 0, (ran.stdout[-2_000:], ran.stderr[-2_000:])
    assert [str(block) for block in _run_here() if f"# {block}\n" not in ran.stdout] == []
    assert {"fairlane-monday.db", "shop_tasks.py"} <= {path.name for path in tmp_path.iterdir()}


def test_every_block_of_commands_is_run_or_says_why_not() -> None:
    """A new block is run here, by a test of its own, or is named with the reason."""
    here = set(_run_here())
    others = [*BY_A_TEST_OF_ITS_OWN, *NOT_RUN]
    left = [str(block) for block in BLOCKS if block not in here and not block.page.startswith(tuple(others))]
    pages = {block.page for block in BLOCKS}

    assert left == []
    assert [one for one in others if not any(page.startswith(one) for page in pages)] == []
    assert [path for path in BY_A_TEST_OF_ITS_OWN.values() if not (ROOT / path).exists()] == []


def _run_here() -> list[Block]:
    """The blocks that run here, in the order of the pages."""
    found = [block for block in BLOCKS if block.code.startswith(tuple(RUN.get(block.page, ["\0"])))]
    assert len(found) == sum(map(len, RUN.values())), [str(block) for block in found]
    return found
