"""``fairlane status``, ``slots``, ``wait``, ``why``, ``cancel``: an organization's view of its queue and tasks."""

import sys
import time
from asyncio import Semaphore, gather, sleep
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from fairlane.cli.commands import Commands
from fairlane.cli.customer import KeyFile, Url, plain, with_client
from fairlane.cli.filters import (
    CodeOption,
    GroupOption,
    KeyPrefixOption,
    PriorityOption,
    SinceOption,
    StatusOption,
    TypeOption,
    UntilOption,
    moment_of,
)
from fairlane.cli.options import AsJson
from fairlane.cli.output import moment, print_json, print_json_line
from fairlane.cli.tables import print_fields, print_table
from fairlane.client import AsyncClient, NotFound, Progress, Slot, Status, Task, TaskConditions, Why
from fairlane.terminal import redraws

commands = Commands()


BAR_CELLS = 20
ERRORS_AT_ONCE = 10
"""Requests at once for the errors of a list of tasks."""

References = Annotated[list[str], typer.Argument(metavar="TASK", help="Ids or idempotency keys of tasks.")]


@commands.command(epilog="Example: fairlane status --watch")
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Show it again and again, until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, metavar="SECONDS", help="How often to show it with --watch.")] = 2.0,
    verify: Annotated[bool, typer.Option("--verify", help="Recount the rows, too, and show differences.")] = False,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the queue and the slots of an organization.

    How many tasks wait, how many run, and how many slots are used: the answer of the API for the organization of the
    key. With --watch on a terminal the picture is redrawn in place; elsewhere it is a line each time. With --verify the
    exit code is 1 if a count differs from its rows.
    """
    if verify and watch:
        raise typer.BadParameter("--verify checks once: leave out --watch")

    async def look(client: AsyncClient) -> None:
        if not watch:
            now = await client.status(verify=verify)
            _show(now, as_json=as_json)
            if now.verification is not None and now.verification.drift:
                raise typer.Exit(1)
            return
        await _show_again(_looks(client, every), as_json=as_json)

    _until_interrupted(lambda: with_client(url, key_file, look))


@commands.command(epilog="Example: fairlane slots")
def slots(
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most to show.")] = 1_000,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show which tasks and calls hold the slots. The oldest is first, with the progress that handlers report."""

    async def some(client: AsyncClient) -> list[Slot]:
        found: list[Slot] = []
        async for slot in client.slots():
            found.append(slot)
            if len(found) == limit:
                break
        return found

    found = with_client(url, key_file, some)
    if as_json:
        print_json([plain(slot) for slot in found])
        return
    rows = [
        [one.kind, one.id, one.task_type, one.priority, f"{one.attempt}/{one.attempts}", moment(_ms(one.started_at)),
         _progress(one.progress)]
        for one in found
    ]  # fmt: skip
    columns = ["KIND", "ID", "TYPE", "PRIORITY", "ATTEMPT", "STARTED", "PROGRESS"]
    print_table(columns, rows, empty="No slot is in use.")


@commands.command(epilog="Example: fairlane wait hamlet-3-1 --timeout 60")
def wait(
    tasks: References,
    *,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, metavar="SECONDS", help="Give up after this time; exit code 7.", show_default=False),
    ] = None,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Wait until tasks have ended.

    Exit code 1 if one of them failed, 7 if one had not ended in time.
    """

    async def all_of_them(client: AsyncClient) -> list[Task]:
        give_up_at = None if timeout is None else time.monotonic() + timeout
        ended = []
        for reference in tasks:
            left = None if give_up_at is None else max(0.0, give_up_at - time.monotonic())
            ended.append(await client.wait(reference, timeout_seconds=left))
            if as_json:
                print_json_line(plain(ended[-1]))
        return ended

    ended = with_client(url, key_file, all_of_them)
    if not as_json:
        _show_tasks(ended)
    if any(task.status == "FAILED" for task in ended):
        raise typer.Exit(1)


@commands.command(epilog="Example: fairlane why hamlet-3-1")
def why(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its id or idempotency key.")],
    *,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Show why a task waits. The reason, how many tasks are ahead, and when it may start."""

    async def one(client: AsyncClient) -> Why:
        return await client.why(task)

    found = with_client(url, key_file, one)
    if as_json:
        print_json(plain(found))
        return
    ahead, estimate = found.tasks_ahead, found.estimate
    print_fields(
        [
            ("Task", found.task_id),
            ("Type", found.task_type),
            ("Status", found.status),
            ("Reason", f"{found.reason}: {found.explanation}"),
            ("Until", None if found.until is None else moment(_ms(found.until))),
            ("Progress", _progress(found.progress) or None),
            ("Tasks ahead", f"{ahead} or more" if found.tasks_ahead_bounded else ahead),
            (
                "Starts within",
                None
                if estimate is None
                else f"{estimate.p50_seconds:g} s (half of the time), {estimate.p90_seconds:g} s (nine times of ten)",
            ),
        ]
    )


@commands.command(epilog="Example: fairlane cancel hamlet-3-1")
def cancel(tasks: References, *, url: Url = None, key_file: KeyFile = None, as_json: AsJson = False) -> None:
    """Cancel tasks, queued or running. A queued one ends at once; a running one's handler gets a cancel request."""

    async def all_of_them(client: AsyncClient) -> list[Task]:
        return [await client.cancel(reference) for reference in tasks]

    canceled = with_client(url, key_file, all_of_them)
    if as_json:
        print_json([plain(task) for task in canceled])
    else:
        _show_tasks(canceled)


def mine(
    *,
    status: StatusOption = None,
    task_type: TypeOption = None,
    code: CodeOption = None,
    group: GroupOption = None,
    priority: PriorityOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    key_prefix: KeyPrefixOption = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Most to show.")] = 100,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """List the tasks of the key's organization, newest first; with --key-prefix in the order of their keys."""
    chosen = TaskConditions(
        status=status,
        task_type=task_type,
        code=code,
        group=group,
        priority=priority,
        accepted_from=moment_of(since, "--since"),
        accepted_before=moment_of(until, "--until"),
        key_prefix=key_prefix,
    )

    async def some(client: AsyncClient) -> list[Task]:
        return await _with_errors(client, [task async for task in client.tasks(most=limit, **chosen)])

    found = with_client(url, key_file, some)
    if as_json:
        print_json([plain(task) for task in found])
    else:
        _show_tasks(found)


async def _with_errors(client: AsyncClient, tasks: list[Task]) -> list[Task]:
    """Return the tasks of a list, with the errors of failed ones, which lists leave out."""
    at_once = Semaphore(ERRORS_AT_ONCE)

    async def whole(task: Task) -> Task:
        if task.status != "FAILED":
            return task
        async with at_once:
            try:
                return await client.task(task.id)
            except NotFound:  # Purged after it was listed.
                return task

    return await gather(*[whole(task) for task in tasks])


def _show_tasks(tasks: list[Task]) -> None:
    rows = [[task.id, task.task_type, task.status, task.latency_ms, _error(task)] for task in tasks]
    print_table(["TASK", "TYPE", "STATUS", "MS", "ERROR"], rows, empty="There are no such tasks.")


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1_000)


def _progress(progress: Progress | None) -> str:
    """Return progress in a few words, or an empty text if there is none."""
    if progress is None:
        return ""
    parts = [] if progress.fraction is None else [f"{progress.fraction:.0%}"]
    parts += [] if progress.total is None else [f"({progress.done:g} of {progress.total:g})"]
    parts += [progress.note] if progress.note else []
    return " ".join(parts)


def _error(task: Task) -> str:
    return "" if task.error is None else f"{task.error.code}: {task.error.message}"


async def _looks(client: AsyncClient, every: float) -> AsyncIterator[Status]:
    while True:
        yield await client.status()
        await sleep(every)


async def _show_again(looks: AsyncIterator[Status], *, as_json: bool) -> None:
    if as_json or not redraws(sys.stdout):
        async for now in looks:
            print_json_line(_document(now)) if as_json else print(_line(now), flush=True)
        return

    with Live(auto_refresh=False) as live:
        async for now in looks:
            live.update(_picture(now), refresh=True)


def _show(now: Status, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(now))
        return
    print(_line(now))
    rows = [[level.priority, level.count] for level in now.priority_breakdown]
    if rows:
        print_table(["PRIORITY", "QUEUED"], rows, empty="")
    if now.verification is not None:
        differences = [[one.name, one.kept, one.counted] for one in now.verification.differences]
        print_table(["COUNT", "KEPT", "COUNTED"], differences, empty="Every count equals its rows.")


def _document(now: Status) -> Any:
    document = plain(now)
    if now.verification is None:
        del document["verification"]  # As the API answers without verification.
    return document


def _line(now: Status) -> str:
    slots = now.concurrency
    words = "slots unknown" if slots is None else f"{slots.used}/{slots.max} slots ({slots.utilization:.0%})"
    return f"queued {now.queued_tasks:,}, running {now.processing_tasks:,}, {words}"


def _picture(now: Status) -> Any:
    lines = [Text(_line(now))]
    if now.concurrency is not None:
        lines.append(slot_bar(now.concurrency.used, now.concurrency.max))
    most = max((level.count for level in now.priority_breakdown), default=1)
    for level in now.priority_breakdown:
        cells = max(1, round(BAR_CELLS * level.count / most))
        lines.append(Text.assemble(f"priority {level.priority:>2} ", ("▇" * cells, "cyan"), f" {level.count:,}"))
    return Group(*lines)


def slot_bar(used: int, most: int, cells: int = BAR_CELLS) -> Any:
    """Return slots as blocks, used and free, in at most ``cells`` cells."""
    shown = min(most, cells)
    taken = min(shown, -(-used * shown // max(1, most)))
    return Text.assemble(("■" * taken, "green"), ("□" * (shown - taken), "dim"))


def _until_interrupted(work: Callable[[], None]) -> None:
    """Run until Ctrl-C, which is the normal way to stop watching."""
    try:
        work()
    except KeyboardInterrupt:
        raise typer.Exit(0) from None
