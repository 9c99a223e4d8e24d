"""``fairlane submit``: one task, or a file of them."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from msgspec import Raw

from fairlane.cli.commands import Commands
from fairlane.cli.customer import KeyFile, Url, plain, with_client
from fairlane.cli.lines import InputLine, fault_of
from fairlane.cli.options import AsJson
from fairlane.cli.output import note, print_json
from fairlane.cli.progress import SubmitTotals
from fairlane.cli.submission import Wish, submit_file
from fairlane.errors import CommandFailed

commands = Commands()


@commands.command(
    epilog="Example: fairlane submit COUNT_WORDS --file texts.jsonl --results counted.jsonl; "
    'fairlane submit COUNT_WORDS --payload \'{"text": "to be"}\' --wait'
)
def submit(
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="The task type, such as COUNT_WORDS.")],
    *,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH|-", help="A file with one payload per line; - is standard input.", show_default=False
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="Also wait for the tasks of --file, and write a line for each.", show_default=False
        ),
    ] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="JSON|-", help="One payload instead of a file.", show_default=False)
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the task of --payload, and print its result.")] = False,
    priority: Annotated[
        int | None, typer.Option(min=1, max=10, metavar="N", help="1 (lowest) to 10.", show_default=False)
    ] = None,
    webhook: Annotated[
        str | None, typer.Option(metavar="URL", help="Where outcomes are posted.", show_default=False)
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The idempotency key of --payload.", show_default=False)
    ] = None,
    run: Annotated[
        str,
        typer.Option(metavar="NAME", help="Part of every line's key: with another name the file is submitted again."),
    ] = "1",
    keep_queued_below: Annotated[
        int, typer.Option(min=0, metavar="N", help="Never make the queue longer than this; 0: no limit but its own.")
    ] = 500,
    url: Url = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Submit tasks.

    Safe to run again: the key of each line follows from the type, the line's place and its text. So a killed run
    continues where it was, and nothing is submitted twice while the server keeps its tasks. Lines may be added at the
    end between runs; a line moved to another place is another task. In --results each ended task has one line. Each run
    tries a refused line again; it has a line with REFUSED, followed by that of its task if it is accepted later.

    Progress goes to stderr, a summary to stdout. Exit code 1: a line was refused or failed; 6: no answer.
    """
    if (file is None) == (payload is None):
        raise typer.BadParameter("give either --file or --payload")
    if payload is not None:
        if results is not None:
            raise typer.BadParameter("--results goes with --file; --wait with --payload")
        _submit_one(task_type, payload, wait, priority, webhook, key, url, key_file, as_json=as_json)
        return
    assert file is not None
    if wait or key is not None:
        raise typer.BadParameter("--wait and --key go with --payload; --results with --file")
    if results is not None and _is_same(file, results):
        raise typer.BadParameter("--file and --results are the same file")

    wish = Wish(
        task_type=task_type,
        run=run,
        priority=priority,
        webhook_url=webhook,
        keep_queued_below=keep_queued_below or None,
    )

    async def all_of_them(client: Any) -> SubmitTotals:
        if str(file) == "-":
            return await submit_file(client, wish, sys.stdin.buffer, "standard input", size=None, results=results)
        with _opened(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            return await submit_file(client, wish, opened, str(file), size=size, results=results)

    try:
        totals = with_client(url, key_file, all_of_them)
    except KeyboardInterrupt:
        note("interrupted: run the same command again to continue")
        raise typer.Exit(130) from None
    if as_json:
        print_json(plain(totals))
    else:
        print(_summary(totals, fetched=results is not None))
    if not totals.well:
        raise typer.Exit(1)


def _submit_one(
    task_type: str,
    payload: str,
    wait: bool,
    priority: int | None,
    webhook: str | None,
    key: str | None,
    url: str | None,
    key_file: Path | None,
    *,
    as_json: bool,
) -> None:
    text = sys.stdin.buffer.read() if payload == "-" else payload.encode(errors="surrogateescape")
    fault = fault_of(InputLine(1, text, len(text)))
    if fault is not None:
        raise CommandFailed(f"the payload {fault}")

    async def one(client: Any) -> Any:
        raw: Any = Raw(text)
        made = await client.submit(task_type, raw, priority=priority, idempotency_key=key, webhook_url=webhook)
        return await client.wait(made) if wait else made

    task = with_client(url, key_file, one)
    if as_json:
        print_json(plain(task))
    elif wait and task.status == "COMPLETED":
        print_json(task.response)
    else:
        print(task.id)
    if task.status == "FAILED":
        error = task.error
        raise CommandFailed(f"task {task.id} failed: {error.code}: {error.message}", details=error.details)


def _is_same(file: Path, results: Path) -> bool:
    try:
        return results.samefile("/dev/stdin" if str(file) == "-" else file)
    except OSError:
        return False  # One of them does not exist.


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise CommandFailed(f"cannot read {path}: {error.strerror}") from error


def _summary(totals: Any, *, fetched: bool) -> str:
    rate = (totals.submitted + totals.existed) / max(totals.seconds, 0.001)
    parts = [f"{totals.submitted:,} submitted in {totals.seconds:.1f} s ({rate:,.0f}/s)"]
    parts += [f"{totals.existed:,} existed before"] if totals.existed else []
    parts += [f"{totals.earlier:,} had their result already"] if totals.earlier else []
    parts += [f"{totals.refused:,} refused"] if totals.refused else []
    if fetched:
        parts.append(f"{totals.completed:,} completed, {totals.failed:,} failed")
    return ", ".join(parts) + "."
