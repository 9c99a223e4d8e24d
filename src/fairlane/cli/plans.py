"""``fairlane plans``: named limits that organizations share."""

from typing import Annotated, Any

import typer
from msgspec import UNSET

from fairlane.admin.connection import ask
from fairlane.cli.commands import Commands
from fairlane.cli.names import plan_names
from fairlane.cli.options import AsJson, DatabaseOption, database_in_force, names_or, number_or, seconds_or, time_text
from fairlane.cli.output import moment, print_json
from fairlane.cli.tables import print_fields, print_table

commands = Commands(name="plans", help="Named limits that organizations share.", no_args_is_help=True)

PlanArgument = Annotated[str, typer.Argument(metavar="PLAN", help="The plan's name.", autocompletion=plan_names)]
SlotsOption = Annotated[
    str | None,
    typer.Option(
        metavar="N|none",
        help="Most tasks that run at once. With none the limit is not known yet, and nothing starts.",
        show_default=False,
    ),
]
QueueLimit = Annotated[int | None, typer.Option(metavar="N", help="Most tasks that may wait.", show_default=False)]
Weight = Annotated[
    int | None,
    typer.Option(metavar="W", help="Share of the workers, relative to other organizations.", show_default=False),
]
PriorityLimit = Annotated[
    str | None,
    typer.Option(metavar="P|none", help="Highest priority that may be submitted, or none for any.", show_default=False),
]
TaskTypes = Annotated[
    str | None,
    typer.Option(
        metavar="TYPES|none",
        help="Task types that may be submitted, separated by commas, or none for any.",
        show_default=False,
    ),
]
MonthlyCredits = Annotated[
    str | None,
    typer.Option(
        metavar="N|none", help="Credits for each organization when a month begins, or none.", show_default=False
    ),
]
RateLimit = Annotated[
    str | None,
    typer.Option(
        metavar="N|none",
        help="Requests per second of an organization to an endpoint, or none for the setting of each server.",
        show_default=False,
    ),
]
Retention = Annotated[
    str | None,
    typer.Option(
        metavar="TIME|none",
        help="How long ended tasks stay readable, such as 12h or 30d, or none for the setting.",
        show_default=False,
    ),
]


@commands.command(epilog="Example: fairlane plans create pro --slots 20 --queue-limit 100000 --weight 2")
def create(
    name: PlanArgument,
    *,
    slots: Annotated[str, typer.Option(metavar="N|none", help="Most tasks that run at once.")],
    queue_limit: Annotated[int, typer.Option(metavar="N", help="Most tasks that may wait.")] = 100_000,
    weight: Annotated[int, typer.Option(metavar="W", help="Share of the workers.")] = 1,
    priority_limit: PriorityLimit = None,
    task_types: TaskTypes = None,
    monthly_credits: MonthlyCredits = None,
    rate_limit: RateLimit = None,
    retention: Retention = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Create a plan."""
    body: dict[str, object] = {
        "name": name,
        "slots": number_or("none", slots, option="--slots"),
        "queue_limit": queue_limit,
        "weight": weight,
    }
    body |= _further(priority_limit, task_types, monthly_credits, rate_limit, retention)
    _show(ask(database_in_force(database), "POST", "plans", body=body), as_json=as_json)


@commands.command(epilog="Example: fairlane plans change pro --slots 30")
def change(
    name: PlanArgument,
    *,
    slots: SlotsOption = None,
    queue_limit: QueueLimit = None,
    weight: Weight = None,
    priority_limit: PriorityLimit = None,
    task_types: TaskTypes = None,
    monthly_credits: MonthlyCredits = None,
    rate_limit: RateLimit = None,
    retention: Retention = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Change a plan. Its organizations follow, except for limits of their own."""
    changes: dict[str, object] = {}
    slots_wanted = number_or("none", slots, option="--slots")
    if slots_wanted is not UNSET:
        changes["slots"] = slots_wanted
    changes |= {
        field: value for field, value in {"queue_limit": queue_limit, "weight": weight}.items() if value is not None
    }
    changes |= _further(priority_limit, task_types, monthly_credits, rate_limit, retention)
    if not changes:
        raise typer.BadParameter("nothing to change: give a limit, such as --slots")
    _show(ask(database_in_force(database), "PATCH", "plans", name, body=changes), as_json=as_json)


@commands.command(epilog="Example: fairlane plans delete pro")
def delete(name: PlanArgument, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Delete a plan that no organization uses."""
    _show(ask(database_in_force(database), "DELETE", "plans", name), as_json=as_json)


@commands.command("list", epilog="Example: fairlane plans list")
def list_plans(*, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """List the plans."""
    answer = ask(database_in_force(database), "GET", "plans")
    if as_json:
        print_json(answer)
        return
    rows = [
        [plan["name"], plan["slots"], plan["queue_limit"], plan["weight"], *allowed_fields(plan)]
        for plan in answer["plans"]
    ]
    columns = ["PLAN", "SLOTS", "QUEUE LIMIT", "WEIGHT", "PRIORITY LIMIT", "TASK TYPES"]
    print_table(columns, rows, empty="There are no plans.")


@commands.command(epilog="Example: fairlane plans show pro --json")
def show(name: PlanArgument, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Show one plan."""
    _show(ask(database_in_force(database), "GET", "plans", name), as_json=as_json)


def allowed_fields(limits: dict[str, Any]) -> list[object]:
    """Return the highest priority and the task types of a plan or an organization, as people read them."""
    priority, types = limits["priority_limit"], limits["task_types"]
    return ["any" if priority is None else priority, "any" if types is None else ", ".join(types)]


def retention_field(limits: dict[str, Any]) -> str | None:
    """Return the retention of a plan or an organization, as people read it."""
    seconds = limits["retention_seconds"]
    return None if seconds is None else time_text(seconds)


def _further(
    priority_limit: str | None,
    task_types: str | None,
    monthly_credits: str | None,
    rate_limit: str | None,
    retention: str | None,
) -> dict[str, object]:
    wanted = {
        "priority_limit": number_or("none", priority_limit, option="--priority-limit"),
        "task_types": names_or("none", task_types),
        "monthly_credits": number_or("none", monthly_credits, option="--monthly-credits"),
        "rate_limit": number_or("none", rate_limit, option="--rate-limit"),
        "retention_seconds": seconds_or("none", retention, option="--retention"),
    }
    return {field: value for field, value in wanted.items() if value is not UNSET}


def _show(plan: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(plan)
        return
    priority_limit, task_types = allowed_fields(plan)
    print_fields(
        [
            ("Plan", plan["name"]),
            ("Slots", plan["slots"]),
            ("Queue limit", plan["queue_limit"]),
            ("Weight", plan["weight"]),
            ("Priority limit", priority_limit),
            ("Task types", task_types),
            ("Monthly credits", plan["monthly_credits"]),
            ("Rate limit", plan["rate_limit"]),
            ("Retention", retention_field(plan)),
            ("Created", moment(plan["created_at"])),
        ]
    )
