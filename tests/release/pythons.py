"""``make pythons``: run the tests on other Pythons, each in a root of its own that is made from Debian's packages.

It needs root and Debian's mmdebstrap. What it made stays in ``.cache/pythons``, so that a second run is quick.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from tests.debian import TAKEN_ALONG, make_tree

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache" / "pythons"
RELEASES = {"3.13": "trixie", "3.14": "sid"}
"""The release of Debian that has each Python."""
PACKAGES = ("python3", "python3-venv", "ca-certificates", "make", "git", "procps")
KEPT = (".tools", ".venv")
"""What ``make`` made in the clone inside a root."""
INSIDE = """
mount --rbind /dev "$0/dev" && mount -t proc proc "$0/proc" && mount -t tmpfs tmpfs "$0/tmp" &&
exec chroot "$0" /bin/sh -c "$1"
"""


def lay_clone(root: Path) -> None:
    """Put today's files of this clone into the root as ``/fairlane``; what ``make`` made there stays."""
    clone = root / "fairlane"
    clone.mkdir(exist_ok=True)
    for path in clone.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (REPOSITORY / name).is_file():
            (clone / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, clone / name)
    for command in (["init", "-q"], ["add", "--all"]):
        subprocess.run(["git", *command], cwd=clone, check=True)


def run_in(root: Path, command: str) -> int:
    """Run a command of the shell in a root, with this machine's network and devices; its processes end with it."""
    given = {name: value for name, value in os.environ.items() if name.endswith(("_CERT", "_CERT_FILE", "_CERT_DIR"))}
    return subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", INSIDE, str(root), command],
        env=given | {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}, check=False,
    ).returncode  # fmt: skip


def run_tests(wanted: str, words: list[str]) -> bool:
    """Run the tests on a Python; say which one it was. Whether they passed."""
    release = RELEASES[wanted]
    root = CACHE / release
    if not (root / "fairlane").exists():
        make_tree(release, CACHE / f"{release}.tar", *PACKAGES)
        root.mkdir(exist_ok=True)
        subprocess.run(["tar", "-xf", str(CACHE / f"{release}.tar"), "-C", str(root), "--exclude=./dev/*"], check=True)
        for path in filter(os.path.exists, (*TAKEN_ALONG, "/etc/resolv.conf", "/etc/hosts")):
            shutil.copy(path, f"{root}{path}")
    lay_clone(root)
    named = shlex.quote(
        f"import sys; print('pythons: ' + sys.version); sys.exit(sys.version_info[:2] != ({wanted.replace('.', ', ')}))"
    )
    asked = f"cd /fairlane && python3 -c {named} && make -s test ARGS={shlex.quote(shlex.join(words))}"
    code = run_in(root, asked)
    print(f"pythons: {wanted}: {'passed' if code == 0 else f'FAILED, exit code {code}'}", flush=True)
    return code == 0


def main() -> int:
    """Run the tests on each Python that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", choices=RELEASES, help="only this one")
    options, words = parser.parse_known_args()
    passed = [run_tests(wanted, words) for wanted in ([options.python] if options.python else RELEASES)]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
