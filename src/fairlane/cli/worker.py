"""``fairlane worker``: workers on another machine than the server, or in another container."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fairlane import __version__, logs
from fairlane.cli.commands import Commands
from fairlane.cli.options import AppReference, AsJson, ConfigFile, DrainSeconds, LogFormat, LogLevel, Places
from fairlane.cli.output import complain
from fairlane.errors import SetupError
from fairlane.settings import read_settings
from fairlane.worker.remote import run
from fairlane.worker.supervisor import Drained, Supervisor, options_of

commands = Commands()


KEY_SOURCES = "--key, --key-file or FAIRLANE_WORKER_KEY"


@commands.command(epilog="Example: fairlane worker shop.tasks:app --server https://api.example --places 20")
def worker(
    app: AppReference,
    *,
    server: Annotated[
        list[str],
        typer.Option(
            metavar="URL",
            help="A server's address, http or https; repeat it for further servers. One that answers is enough.",
            envvar="FAIRLANE_WORKER_SERVERS",
            show_default=False,
        ),
    ],
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="KEY",
            help="The worker key, wk_live_…; better given as the variable or as a file: all users can see arguments.",
            envvar="FAIRLANE_WORKER_KEY",
            show_default=False,
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A file with the worker key.",
            envvar="FAIRLANE_WORKER_KEY_FILE",
            show_default=False,
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    config: ConfigFile = None,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes. Default: 1.", show_default=False)
    ] = None,
    places: Places = None,
    drain_seconds: DrainSeconds = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    as_json: AsJson = False,
) -> None:
    """Run workers for a server on another machine.

    A small supervisor starts the worker processes, keeps their sessions and restarts each when it ends. It tries again
    as long as no server answers, and turns to the next server when the one in use does not answer or drains. Ends in
    order on Ctrl-C or SIGTERM: running attempts may finish, the others are handed back, as the log and --json report; a
    second signal ends it at once. Exit code 3: the application cannot be used, or the server refuses this worker.
    """
    settings = read_settings(
        {
            "workers": workers,
            "places": places,
            "drain_seconds": drain_seconds,
            "log_format": log_format,
            "log_level": log_level,
        },
        config=config,
    )
    if settings.workers < 1:
        raise SetupError("there must be at least 1 worker process (--workers)")
    secret = _key(key, key_file)
    servers = [_address(text) for given in server for text in given.split(",")]
    logs.configure(format=settings.log_format, level=settings.log_level)

    def make_supervisor(on_broken: Callable[[str], None]) -> Supervisor:
        options = options_of(settings, app_reference=app, servers=tuple(servers), key=secret, version=__version__)
        return Supervisor(options, count=settings.workers, on_broken=on_broken, on_trouble=tell)

    def tell(cause: str | None) -> None:
        complain("workers start again" if cause is None else f"no worker can start: {cause}; the log has more")

    def report(drained: Drained) -> None:
        if as_json:
            print(json.dumps({"drained": msgspec.to_builtins(drained)}), flush=True)

    def announce(count: int) -> None:
        if as_json:
            print(json.dumps({"servers": servers, "workers": count, "pid": os.getpid()}), flush=True)
        else:
            print(f"fairlane: {count} worker{'s' * (count > 1)} ready for {', '.join(servers)}", flush=True)

    raise typer.Exit(run(make_supervisor, drain_seconds=settings.drain_seconds, on_ready=announce, on_drained=report))


def _address(text: str) -> str:
    address = text.strip().rstrip("/")
    scheme, separator, host = address.partition("://")
    if scheme not in ("http", "https") or not separator or not host:
        raise typer.BadParameter(f"{text!r} is not an http:// or https:// address", param_hint="--server")
    return address


def _key(key: str | None, file: Path | None) -> str:
    if key is None and file is not None:
        key = file.read_text("utf-8")
    key = (key or "").strip()
    if not (key.isascii() and key.isprintable() and key):
        raise typer.BadParameter(
            "a worker key is needed; make one on the server's machine with `fairlane keys create --worker NAME`",
            param_hint=KEY_SOURCES,
        )
    if not key.startswith("wk_"):
        kind = {"sk_": "an organization's key", "ak_": "an operator's key"}.get(key[:3], "no key of a worker")
        raise typer.BadParameter(
            f"this is {kind}: a worker's begins with wk_; make one with `fairlane keys create --worker NAME`",
            param_hint=KEY_SOURCES,
        )
    return key
