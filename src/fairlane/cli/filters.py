"""The options that choose tasks: of lists, and of commands for many tasks."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from fairlane.cli.names import organization_names
from fairlane.cli.options import seconds_of

MOMENT = "TIME"

OrganizationOption = Annotated[
    str | None,
    typer.Option(
        "--organization", metavar="NAME", help="Only its tasks.", show_default=False, autocompletion=organization_names
    ),
]
StatusOption = Annotated[
    str | None,
    typer.Option(
        "--status", metavar="STATUS", help="Only QUEUED, PROCESSING, COMPLETED or FAILED tasks.", show_default=False
    ),
]
TypeOption = Annotated[
    str | None, typer.Option("--type", metavar="TYPE", help="Only tasks of this type.", show_default=False)
]
CodeOption = Annotated[
    str | None,
    typer.Option("--code", metavar="CODE", help="Only tasks that failed with this code.", show_default=False),
]
GroupOption = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="GROUP",
        help="Only tasks of this group of failures: see 'fairlane failures'.",
        show_default=False,
    ),
]
PriorityOption = Annotated[
    int | None, typer.Option(min=1, max=10, metavar="N", help="Only tasks of this priority.", show_default=False)
]
SinceOption = Annotated[
    str | None,
    typer.Option(
        metavar=MOMENT,
        help="Only tasks accepted since then: 90m, 2h or 1d ago, or a moment such as 2026-11-30T09:00:00Z.",
        show_default=False,
    ),
]
UntilOption = Annotated[
    str | None, typer.Option(metavar=MOMENT, help="Only tasks accepted before then.", show_default=False)
]
KeyPrefixOption = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Only tasks with an idempotency key that begins with this.", show_default=False),
]


def moment_of(text: str | None, option: str) -> datetime | None:
    """Return the moment that an option names: a length of time ago, or an ISO 8601 moment with its offset."""
    if text is None:
        return None
    if "T" not in text:
        return datetime.now(UTC) - timedelta(seconds=seconds_of(text, option))
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} is not a moment: give 2h, or 2026-11-30T09:00:00Z with its offset", param_hint=option
        )
    return found.astimezone(UTC)


def chosen_fields(
    *,
    organization: str | None = None,
    status: str | None = None,
    task_type: str | None = None,
    code: str | None = None,
    group: str | None = None,
    priority: int | None = None,
    since: str | None = None,
    until: str | None = None,
    key_prefix: str | None = None,
) -> dict[str, str | int]:
    """Return the filter that these options describe, as the admin API names it."""
    fields = {
        "organization": organization,
        "status": status,
        "type": task_type,
        "code": code,
        "group": group,
        "priority": priority,
        "from": written(moment_of(since, "--since")),
        "to": written(moment_of(until, "--until")),
        "idempotency_key_prefix": key_prefix,
    }
    return {name: value for name, value in fields.items() if value is not None}


def written(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
