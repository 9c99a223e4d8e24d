"""Root file systems from Debian's packages: the base of the container, and other Pythons to run the tests on."""

import subprocess
from pathlib import Path

TAKEN_ALONG = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf")
"""Files of this machine without which pip may not reach its packages."""


def make_tree(release: str, tree: Path, *packages: str) -> None:
    """Write a small Debian of this release with these packages into a tar file, by mmdebstrap, unless it is there."""
    if tree.exists():
        return
    tree.parent.mkdir(parents=True, exist_ok=True)
    unfinished = tree.with_suffix(".unfinished.tar")
    subprocess.run(
        [
            "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(packages)}",
            # A mirror that is not renewed has lists that have expired; they are signed all the same.
            '--aptopt=Acquire::Check-Valid-Until "false"',
            release, str(unfinished),
        ],
        check=True,
    )  # fmt: skip
    unfinished.rename(tree)
