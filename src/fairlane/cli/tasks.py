"""``fairlane tasks`` and ``fairlane sessions``: tasks and workers of the whole installation."""

from typing import Annotated, Any

import typer

from fairlane.admin.connection import ask
from fairlane.cli.bulks import DryRun, WithoutAsking, run_bulk, words_of
from fairlane.cli.commands import Commands
from fairlane.cli.filters import (
    CodeOption,
    GroupOption,
    KeyPrefixOption,
    OrganizationOption,
    PriorityOption,
    SinceOption,
    StatusOption,
    TypeOption,
    UntilOption,
    chosen_fields,
)
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.status import mine
from fairlane.cli.tables import print_fields, print_table

commands = Commands(name="tasks", help="Tasks of all organizations, for operators.", no_args_is_help=True)


@commands.command("list", epilog="Example: fairlane tasks list --status FAILED --type PAGE --since 2h")
def list_tasks(
    *,
    organization: OrganizationOption = None,
    status: StatusOption = None,
    task_type: TypeOption = None,
    code: CodeOption = None,
    group: GroupOption = None,
    priority: PriorityOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    key_prefix: KeyPrefixOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Most to show.")] = 100,
    cursor: Annotated[
        str | None,
        typer.Option("--cursor", metavar="CURSOR", help="Continue where an earlier list ended.", show_default=False),
    ] = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """List tasks: newest organization first, newest task first; with --key-prefix in the order of their keys."""
    chosen = chosen_fields(
        organization=organization,
        status=status,
        task_type=task_type,
        code=code,
        group=group,
        priority=priority,
        since=since,
        until=until,
        key_prefix=key_prefix,
    )
    query = {**{name: str(value) for name, value in chosen.items()}, "limit": str(limit)}
    given = query if cursor is None else {**query, "cursor": cursor}
    answer = ask(database_in_force(database), "GET", "tasks", query=given)
    if as_json:
        print_json(answer)
        return
    rows = [
        [one["id"], one["organization"], one["task_type"], one["status"], one["attempt"], moment(one["created_at"])]
        for one in answer["tasks"]
    ]
    print_table(
        ["TASK", "ORGANIZATION", "TYPE", "STATUS", "ATTEMPT", "CREATED"], rows, empty="There are no such tasks."
    )
    if "cursor" in answer:
        note(f"there may be more: --cursor {answer['cursor']}")


commands.command("mine", epilog="Example: fairlane tasks mine --status FAILED")(mine)


@commands.command(epilog="Example: fairlane tasks show 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")
def show(
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id, of any organization.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Show one task, with the true cause of its failure, and its attempts; with --json without the attempts."""
    source = database_in_force(database)
    _show(ask(source, "GET", "tasks", task_id), as_json=as_json)
    if not as_json:
        found = ask(source, "GET", "tasks", task_id, "attempts")
        if found["attempts"]:
            print()
            _print_attempts(found)


@commands.command(epilog="Example: fairlane tasks attempts 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")
def attempts(
    task_id: Annotated[str, typer.Argument(metavar="TASK_ID", help="The task's id, of any organization.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """List the attempts at one task: how each ended, with cause and worker, and the pause after it."""
    found = ask(database_in_force(database), "GET", "tasks", task_id, "attempts")
    if as_json:
        print_json(found)
    else:
        _print_attempts(found)


@commands.command(epilog="Example: fairlane tasks retry --type PAGE --code TIMEOUT --since 2h --dry-run")
def retry(
    *,
    organization: OrganizationOption = None,
    status: Annotated[
        str, typer.Option("--status", metavar="STATUS", help="Only FAILED tasks can run again.")
    ] = "FAILED",
    task_type: TypeOption = None,
    code: CodeOption = None,
    group: GroupOption = None,
    priority: PriorityOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    key_prefix: KeyPrefixOption = None,
    dry_run: DryRun = False,
    yes: WithoutAsking = False,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Run again all failed tasks that the options choose, of one organization or of all, each at most once.

    A task that was run again already is skipped. The server does the work, also after this command was interrupted.
    """
    chosen = chosen_fields(
        organization=organization,
        status=status,
        task_type=task_type,
        code=code,
        group=group,
        priority=priority,
        since=since,
        until=until,
        key_prefix=key_prefix,
    )
    run_bulk(database_in_force(database), "retry", chosen, dry_run=dry_run, yes=yes, as_json=as_json)


@commands.command(
    epilog="Example: fairlane tasks cancel 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11; "
    "fairlane tasks cancel --organization acme --type PAGE --status QUEUED"
)
def cancel(
    task_id: Annotated[
        str | None, typer.Argument(metavar="TASK_ID", help="One task, of any organization.", show_default=False)
    ] = None,
    *,
    organization: OrganizationOption = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help="Only QUEUED or PROCESSING tasks.", show_default=False),
    ] = None,
    task_type: TypeOption = None,
    priority: PriorityOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    key_prefix: KeyPrefixOption = None,
    dry_run: DryRun = False,
    yes: WithoutAsking = False,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Cancel one task, or all that the options choose: at once if they wait, otherwise by a cancel request to their
    handlers. Nothing is charged.
    """
    chosen = chosen_fields(
        organization=organization,
        status=status,
        task_type=task_type,
        priority=priority,
        since=since,
        until=until,
        key_prefix=key_prefix,
    )
    if task_id is None:
        run_bulk(database_in_force(database), "cancel", chosen, dry_run=dry_run, yes=yes, as_json=as_json)
    elif chosen or dry_run:
        raise typer.BadParameter("give either TASK_ID, or options that choose tasks")
    else:
        _show(ask(database_in_force(database), "DELETE", "tasks", task_id), as_json=as_json)


@commands.command(epilog="Example: fairlane tasks bulks")
def bulks(
    *,
    limit: Annotated[int, typer.Option(min=1, max=1_000, metavar="N", help="Most to show.")] = 20,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """List the newest bulks: requests to run again, or cancel, many tasks; of operators and of organizations."""
    found = ask(database_in_force(database), "GET", "tasks", "bulk", query={"limit": str(limit)})["bulks"]
    if as_json:
        print_json(found)
        return
    rows = [
        [one["id"], one["organization"] or "all", one["kind"], one["state"], words_of(one), moment(one["began_at"])]
        for one in found
    ]
    print_table(["BULK", "ORGANIZATION", "KIND", "STATE", "SO FAR", "BEGAN"], rows, empty="There are no bulks.")


@commands.command(epilog="Example: fairlane tasks stop 0193a1f2-7c5e-7d7a-9d62-0f6f0c2b8a11")
def stop(
    bulk_id: Annotated[str, typer.Argument(metavar="BULK_ID", help="The bulk's id.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Stop a bulk. What it did stays."""
    bulk = ask(database_in_force(database), "DELETE", "tasks", "bulk", bulk_id)
    if as_json:
        print_json(bulk)
    else:
        print(f"{bulk['state'].lower()}: {words_of(bulk)}.")


def _print_attempts(found: dict[str, Any]) -> None:
    rows = [
        [one["number"], moment(one["started_at"]), _seconds(one), one["ending"] or "runs", one["code"],
         one["cause"] and one["cause"].partition("\n")[0], one["worker"], moment(one["due_at"]) or None]
        for one in found["attempts"]
    ]  # fmt: skip
    columns = ["ATTEMPT", "STARTED", "SECONDS", "ENDING", "CODE", "CAUSE", "WORKER", "NEXT"]
    print_table(columns, rows, empty="It has not started yet.")
    if found["omitted"]:
        note(f"{found['omitted']} earlier attempts are not kept")


def _seconds(attempt: dict[str, Any]) -> str | None:
    ended_at = attempt["ended_at"]
    return None if ended_at is None else f"{max(0, ended_at - attempt['started_at']) / 1_000:.1f}"


def _waited(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else f"{milliseconds / 1_000:g} s"


def _show(task: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(task)
        return
    failure = task["failure"]
    print_fields(
        [
            ("Task", task["id"]),
            ("Organization", task["organization"]),
            ("Type", task["task_type"]),
            ("Status", task["status"]),
            ("Priority", task["priority"]),
            ("Idempotency key", task["idempotency_key"]),
            ("Created", moment(task["created_at"])),
            ("Attempt", task["attempt"]),
            ("Started", moment(task["started_at"]) or None),
            ("Waited for a slot", _waited(task["slot_wait_ms"])),
            ("Waited for a worker", _waited(task["worker_wait_ms"])),
            ("Finished", moment(task["finished_at"]) or None),
            ("Starts again", moment(task["due_at"]) or None),
            ("Session", task["session"]),
            ("Cost", task["cost"]),
            ("Charged", task["charged"]),
            ("Failure", None if failure is None else f"{failure['code']}: {failure['message']}"),
            ("Cause", task["cause"]),
        ]
    )
