"""``fairlane --help`` stays quick: what is heavy is imported by the command that needs it."""

import subprocess
import sys

HEAVY = ("httpx2", "rich.console", "rich.progress", "starlette", "apsw", "asyncio.base_events", "fairlane.client")


def test_the_program_imports_nothing_heavy() -> None:
    """Neither HTTP client nor web toolkit, database or tables."""
    script = "import sys, fairlane.cli.program; print(*sys.modules)"

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert [name for name in ran.stdout.split() if name in HEAVY] == []
