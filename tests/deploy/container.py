"""``make container``: build the image of deploy/ for real, and follow the steps of "Containers" in what it starts.

It needs Debian's buildah, and root. Where the image named in the Containerfile cannot be had, a base is made from
Debian's packages by mmdebstrap, with this machine's certificates and pip settings. Nothing is published. A container
engine's networks are not tried: every container uses this machine's network.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from tests.cli.harness import ROOT
from tests.debian import TAKEN_ALONG, make_tree
from tests.deploy.compose import SERVERS, STEPS, Processes
from tests.deploy.proxy import NGINX, Proxy, free_port
from tests.deploy.test_material import DEPLOY

CACHE = ROOT / ".cache" / "container"
BASE, IMAGE, TRY = "localhost/fairlane-base", "localhost/fairlane-app", "fairlane-try"
SMALL = """import humanize

from fairlane import Fairlane

app = Fairlane()


@app.task("SAY_SIZE")
def say_size(task: dict[str, int]) -> dict[str, str]:
    return {"size": humanize.naturalsize(task["bytes"])}
"""
"""An application with a requirement of its own."""
RELEASE = "trixie"
"""Of Debian; with Python 3.13, as the image named in the Containerfile."""
USER = 10_001
WANTED = 180
"""The most MiB that the image may add to its base."""


class Unfit(Exception):
    """The image is not what the page says."""


def buildah(*words: str, cwd: Path = ROOT) -> str:
    """Run a command of buildah; return what it prints."""
    ran = subprocess.run(["buildah", *words], cwd=cwd, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise Unfit(f"buildah {' '.join(words)}\n{ran.stdout[-2_000:]}{ran.stderr[-4_000:]}")
    return ran.stdout.strip()


def end(process: "subprocess.Popen[bytes]") -> None:
    """Send SIGTERM to the program in the container, as an engine does; ``buildah run`` would pass on only a kill."""
    for below in _below(process.pid):
        if Path(f"/proc/{below}/cmdline").read_bytes().startswith(b"/opt/fairlane/bin/python"):
            os.kill(below, signal.SIGTERM)
            return
    raise Unfit("no program runs in the container")


def _below(parent: int) -> list[int]:
    """Return the processes below this one, parents before children."""
    threads = Path(f"/proc/{parent}/task").glob("*/children")  # each thread has its own
    found = [int(pid) for path in threads for pid in path.read_text().split()]
    return found + [deeper for pid in found for deeper in _below(pid)]


def take_base() -> tuple[str, str]:
    """Return the name of the base, and a word on where it is from."""
    named = re.findall(r"^ARG BASE=(\S+)", (DEPLOY / "Containerfile").read_text("utf-8"), re.MULTILINE)[0]
    pulled = subprocess.run(["buildah", "pull", "-q", named], capture_output=True, text=True, check=False)
    if pulled.returncode == 0:
        return named, f"{named}, as the Containerfile says"
    tree = CACHE / f"{RELEASE}.tar"
    make_tree(RELEASE, tree, "python3", "python3-venv", "ca-certificates")
    container = buildah("from", "scratch")
    buildah("add", "-q", container, str(tree), "/")
    for path in TAKEN_ALONG:
        if Path(path).exists():
            buildah("copy", "-q", container, path, path)
    buildah("commit", "-q", "--rm", container, BASE)
    return BASE, f"{named} cannot be had here; made from Debian's packages instead"


def build(base: str, application: str, image: str, context: Path = ROOT) -> str:
    """Build an image; return how much it adds to its base."""
    buildah(
        "bud", "-q", "--layers", "--format", "docker", "-f", str(DEPLOY / "Containerfile"),
        "--build-arg", f"BASE={base}", "--build-arg", f"APPLICATION={application}", "-t", image, ".",
        cwd=context,
    )  # fmt: skip
    sizes = [_size(name) for name in (image, base)]
    added = (sizes[0] - sizes[1]) / 2**20
    if added > WANTED:
        raise Unfit(f"the image adds {added:.0f} MiB to its base; {WANTED} are allowed")
    return f"{image}: {sizes[0] / 2**20:.0f} MiB, {added:.0f} more than its base"


def _size(image: str) -> int:
    container = buildah("from", image)
    try:
        root = Path(buildah("mount", container))
        return sum(path.lstat().st_size for path in root.rglob("*"))
    finally:
        buildah("rm", container)


def look_inside() -> str:
    """Not root, nothing of the clone but the application, no compiler's leftovers, the health check is kept."""
    asked = [
        "id -u; touch /opt/fairlane/x 2>/dev/null && echo writable; ls -d /build /application 2>/dev/null",
        "find /srv /var/lib/fairlane -name '*.env' -o -name .git -o -name tests; ls -A /srv/fairlane",
    ]
    user, *rest = buildah("run", TRY, "--", "sh", "-c", "; ".join(asked)).splitlines()
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    if user != str(USER) or rest != ["examples"]:
        raise Unfit(f"user {user}; {rest}")
    if "readyz" not in str(config.get("Healthcheck")) or config["User"] != "fairlane":
        raise Unfit(str(config))
    return f"runs as {user}; /srv/fairlane has {rest[0]}"


def serve_and_end() -> str:
    """The image's own command serves on SQLite, keeps its database in the volume, and drains on SIGTERM."""
    port, answers = free_port(), []
    with tempfile.TemporaryDirectory(prefix="fl-volume-", dir="/tmp") as volume:
        os.chown(volume, USER, USER)
        for _ in range(2):
            with tempfile.NamedTemporaryFile("w+") as log:
                command = ["buildah", "run", f"--volume={volume}:/var/lib/fairlane", f"--env=FAIRLANE_PORT={port}", TRY]
                process = subprocess.Popen(
                    [*command, "--", "fairlane", "serve", "examples/quickstart.py:app"],
                    stdout=log, stderr=log,
                )  # fmt: skip
                answers.append(_until_ready(port, process, Path(log.name)))
                end(process)
                ended = process.wait(60)
                log.seek(0)
                if ended or "server.draining" not in log.read():
                    log.seek(0)
                    raise Unfit(f"exit code {ended}\n{log.read()[-3_000:]}")
        kept = sorted(path.name for path in Path(volume).iterdir())
    return f"ready in {answers[0]:.1f} s, again in {answers[1]:.1f} s; the volume has {', '.join(kept)}"


def _until_ready(port: int, process: "subprocess.Popen[bytes]", log: Path) -> float:
    began = time.monotonic()
    while "ready at" not in log.read_text():
        if process.poll() is not None or time.monotonic() - began > 120:
            raise Unfit(f"it does not become ready\n{log.read_text()[-3_000:]}")
        time.sleep(0.1)
    taken = time.monotonic() - began
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=20) as answer:
        if answer.status != 200:
            raise Unfit(f"/readyz answers {answer.status}")
    return taken


def add_requirements(base: str) -> str:
    """Build the image for an application with a requirement of its own, and run it."""
    with tempfile.TemporaryDirectory(prefix="fl-context-", dir="/tmp") as folder:
        context = Path(folder)
        for name in ("src", "requirements"):
            shutil.copytree(ROOT / name, context / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, context)
        (context / "shop").mkdir()
        (context / "shop" / "app.py").write_text(SMALL, "utf-8")
        (context / "shop" / "requirements.txt").write_text("humanize\n", "utf-8")
        build(base, "shop", f"{IMAGE}-more", context)
    container = buildah("from", f"{IMAGE}-more")
    try:
        said = buildah(
            "run", container, "--", "fairlane", "run", "shop/app.py:app", "SAY_SIZE", "--payload", '{"bytes": 3000000}'
        )
    finally:
        buildah("rm", container)
    if "3.0 MB" not in said:
        raise Unfit(said)
    return f"shop/requirements.txt is installed; its task returns {json.dumps(json.loads(said))}"


class Containers(Processes):
    """The services of compose.yaml as containers: each has its own file system, and the network of this machine."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(folder, stack)
        self._made: list[str] = []

    def program(self, name: str) -> list[str]:
        """Return the words that run fairlane in the service's container, which is made at its first command."""
        container = f"fairlane-{name}"
        if container not in self._made:
            buildah("from", "--name", container, IMAGE)
            self._made.append(container)
            self.stack.callback(buildah, "rm", container)
        given = {key: value for key, value in self.environment(name).items() if key.startswith("FAIRLANE_")}
        socket = self.database.partition("host=")[2].partition("&")[0]
        variables = [f"--env={key}={value}" for key, value in given.items()]
        return ["buildah", "run", f"--volume={socket}:{socket}", *variables, container, "--", "fairlane"]

    def end(self, process: "subprocess.Popen[bytes]") -> None:
        """End the program in the container."""
        end(process)


def follow_steps() -> str:
    """Follow the steps of the page "Containers", and send a task through nginx, a server and a worker."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fl-compose-", dir="/tmp")))
        containers = Containers(folder, stack)
        for step in STEPS:
            containers.follow(step)
        if NGINX is None:
            raise Unfit("nginx is not installed (Debian: apt-get install nginx-light)")
        (folder / "nginx").mkdir()
        servers = {f"{name}:8000": f"127.0.0.1:{containers.ports[f'{name}:8000']}" for name in SERVERS}
        proxy = stack.enter_context(Proxy(folder / "nginx", servers, upstream="servers-compose.conf"))
        key = re.findall(r"sk_live_\w+", containers.said[-1])[0]
        with proxy.client(key) as customer:
            task = {"taskType": "COUNT_WORDS", "payload": {"text": "to be or not to be"}}
            names = [f"hamlet-{number}" for number in range(100)]
            accepted = customer.post("/v1/async/task/batch", json=[task | {"idempotencyKey": name} for name in names])
            answers = [customer.get(f"/v1/async/task/{name}", headers={"prefer": "wait=20"}).json() for name in names]
        wrong = [answer for answer in answers if answer.get("task", {}).get("status") != "COMPLETED"]
        if wrong:
            raise Unfit(f"{accepted.status_code} {accepted.text[:500]}\n{wrong[0]}")
    return f"{len(STEPS)} steps; 100 tasks went through nginx, {len(SERVERS)} servers and a worker: COMPLETED"


def main() -> int:
    """Take all steps; stop at the first that finds something."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    if shutil.which("buildah") is None or os.geteuid() != 0:
        print("container: it needs root and buildah (Debian: apt-get install buildah mmdebstrap nginx-light)")
        return 2
    # What works without a container engine, in a container as well as on a bare machine.
    os.environ.update(BUILDAH_ISOLATION="chroot", STORAGE_DRIVER="vfs")
    base = ""
    try:
        base, word = take_base()
        _say("base", word)
        _say("build", build(base, "examples", IMAGE))
        buildah("from", "--name", TRY, IMAGE)
        _say("inside", look_inside())
        _say("serve, SIGTERM, serve again", serve_and_end())
        _say("requirements of an application", add_requirements(base))
        _say("the steps of the page", follow_steps())
    except Unfit as unfit:
        print(f"container: NO\n{unfit}", flush=True)
        return 1
    finally:
        subprocess.run(["buildah", "rm", TRY], capture_output=True, check=False)
    return 0


def _say(step: str, found: str) -> None:
    print(f"container: {step}: yes\n    {found}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
