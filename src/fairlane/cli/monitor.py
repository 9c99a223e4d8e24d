"""``fairlane monitor``: checks an organization's status until a threshold is exceeded for a while, and reports it."""

import os
import time
from asyncio import sleep
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import typer
from msgspec import Struct, to_builtins
from msgspec.json import encode

from fairlane.cli.commands import Commands
from fairlane.cli.customer import KeyFile, Url, with_client
from fairlane.cli.options import AsJson, seconds_of
from fairlane.cli.outbox import Outbox
from fairlane.cli.output import note, print_json_line
from fairlane.client import AsyncClient, Status
from fairlane.errors import CommandFailed, ValidationRefused
from fairlane.rules.alerts import judge
from fairlane.webhooks.signing import is_secret

commands = Commands()


class Alerted(CommandFailed):
    """A threshold was exceeded for the given time."""

    exit_code: ClassVar[int] = 8


class Thresholds(Struct, frozen=True, kw_only=True):
    """The thresholds; None if a value is not checked."""

    queued_above: int | None
    utilization_above: float | None

    def exceeded(self, now: Status) -> list[str] | None:
        """Return in words which thresholds are exceeded now, or None if the slots are unreliable and that is
        unknown."""
        reasons = []
        if self.queued_above is not None and now.queued_tasks > self.queued_above:
            reasons.append(f"{now.queued_tasks:,} tasks are queued, more than {self.queued_above:,}")
        if self.utilization_above is not None:
            slots = now.concurrency
            if slots is None:
                return reasons or None
            if slots.utilization > self.utilization_above:
                used = f"{slots.used} of {slots.max} slots are taken"
                reasons.append(f"{used}, {slots.utilization:.0%} and more than {self.utilization_above:.0%}")
        return reasons


class ThresholdWatch:
    """Turns checks into at most one alert and one recovery per incident, by the rule of the server's alerts."""

    def __init__(self, lasting_seconds: float) -> None:
        self._needed_ms = round(lasting_seconds * 1_000)
        self._since: int | None = None
        self._firing = False

    def look(self, exceeded: bool | None, now: float) -> Literal["alert", "recovered"] | None:
        """Return the change that one check causes; ``exceeded`` is None if that is unknown."""
        before, now_ms = self._firing, round(now * 1_000)
        self._firing, self._since = judge(
            exceeded, firing=before, since=self._since, needed_ms=self._needed_ms, now=now_ms
        )
        if self._firing == before:
            return None
        return "alert" if self._firing else "recovered"


class _MonitorMessage(Struct, rename="camel"):
    event: str
    reasons: list[str]
    queued_tasks: int
    processing_tasks: int
    utilization: float | None
    at: str


@commands.command(epilog="Example: fairlane monitor --queued-above 1000 --utilization-above 0.8 --for 5m")
def monitor(
    *,
    queued_above: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="More queued tasks than this.", show_default=False)
    ] = None,
    utilization_above: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="A larger share of slots in use, 0 to 1.", show_default=False),
    ] = None,
    lasting: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long a threshold must be exceeded: 90s, 5m, 1h.")
    ] = "5m",
    every: Annotated[str, typer.Option(metavar="TIME", help="How often to check.")] = "30s",
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Post alerts and recoveries to this URL and continue.", show_default=False),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            show_default=False,
            help="A file with the secret that signs the messages. Default: the variable FAIRLANE_MONITOR_SECRET.",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Check once; --for has no effect.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Watch an organization's queue and slots.

    Without --webhook it ends with exit code 8 on the first alert. With --webhook it continues, and posts one message
    when a threshold has been exceeded for the time of --for, and one when none has been exceeded for that time. A
    message that the webhook does not accept is posted again at each check, in order, until it is. Messages are posted
    like those of the server: any 2xx answer accepts, and redirects and proxies are not used. With a secret they are
    signed, too.
    """
    if queued_above is None and utilization_above is None:
        raise typer.BadParameter("give --queued-above or --utilization-above")
    thresholds = Thresholds(queued_above=queued_above, utilization_above=utilization_above)
    lasting_seconds = 0.0 if once else seconds_of(lasting, "--for")
    every_seconds = max(0.1, seconds_of(every, "--every"))
    outbox = None if webhook is None else _outbox(webhook, secret_file)

    async def watch_it(client: AsyncClient) -> None:
        watch = ThresholdWatch(lasting_seconds)
        while True:
            now = await client.status()
            reasons = thresholds.exceeded(now)
            event = watch.look(None if reasons is None else bool(reasons), time.monotonic())
            if event is not None:
                _tell(_message(event, reasons or [], now), outbox, as_json=as_json)
                if event == "alert" and outbox is None:
                    raise Alerted("; ".join(reasons or []))
            if outbox is not None:
                await outbox.send()
            if once:
                if outbox is not None and outbox.owed:
                    raise CommandFailed("the webhook did not accept the message")
                return
            await sleep(every_seconds)

    try:
        with_client(url, key_file, watch_it)
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


def _tell(message: _MonitorMessage, outbox: Outbox | None, *, as_json: bool) -> None:
    if as_json:
        print_json_line(to_builtins(message))
    elif outbox is not None:
        note(f"{message.event}: {'; '.join(message.reasons) or 'no threshold is exceeded any more'}")
    if outbox is not None:
        outbox.put(encode(message))


def _outbox(url: str, secret_file: Path | None) -> Outbox:
    try:
        return Outbox(url, _secret(secret_file))
    except ValidationRefused as refused:
        raise typer.BadParameter(refused.details[0]["message"], param_hint="--webhook") from None


def _secret(file: Path | None) -> str | None:
    try:
        secret = os.environ.get("FAIRLANE_MONITOR_SECRET") if file is None else file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandFailed(f"cannot read the secret file {file}: {error}") from error
    if secret is not None and not is_secret(secret):
        raise CommandFailed("the webhook's secret must be whsec_ and 1 to 250 printable characters")
    return secret


def _message(event: str, reasons: list[str], now: Status) -> _MonitorMessage:
    slots = now.concurrency
    return _MonitorMessage(
        event,
        reasons,
        now.queued_tasks,
        now.processing_tasks,
        None if slots is None else slots.utilization,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
