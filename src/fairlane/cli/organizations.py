"""``fairlane organizations``: the users of the API, and their limits."""

import sys
from typing import Annotated, Any

import typer
from msgspec import UNSET

from fairlane.admin.connection import ask, ask_all, erase_all
from fairlane.cli.commands import Commands
from fairlane.cli.names import plan_names
from fairlane.cli.options import (
    AsJson,
    DatabaseOption,
    OrganizationName,
    database_in_force,
    names_or,
    number_or,
    seconds_or,
)
from fairlane.cli.output import moment, note, print_json
from fairlane.cli.plans import allowed_fields, retention_field
from fairlane.cli.switch import Switch
from fairlane.cli.tables import print_fields, print_table

commands = Commands(
    name="organizations", help="The organizations that use the API, and their limits.", no_args_is_help=True
)

PlanOption = Annotated[
    str | None,
    typer.Option(
        "--plan", metavar="PLAN", help="The organization's plan.", show_default=False, autocompletion=plan_names
    ),
]
CreditsSwitch = Annotated[
    Switch | None,
    typer.Option(metavar="on|off", help="Count its credits: see 'fairlane credits'. Default: off.", show_default=False),
]
OWN = "Default: the plan's."


@commands.command(epilog="Example: fairlane organizations create acme --slots 4 --weight 2")
def create(
    name: OrganizationName,
    *,
    plan: PlanOption = None,
    slots: Annotated[int | None, typer.Option(metavar="N", help=f"Slots of its own. {OWN}", show_default=False)] = None,
    queue_limit: Annotated[
        int | None, typer.Option(metavar="N", help=f"Queue limit of its own. {OWN}", show_default=False)
    ] = None,
    weight: Annotated[
        int | None, typer.Option(metavar="W", help=f"Weight of its own. {OWN}", show_default=False)
    ] = None,
    priority_limit: Annotated[
        int | None, typer.Option(metavar="P", help=f"Highest priority of its own. {OWN}", show_default=False)
    ] = None,
    task_types: Annotated[
        str | None,
        typer.Option(metavar="TYPES", help=f"Task types of its own, separated by commas. {OWN}", show_default=False),
    ] = None,
    monthly_credits: Annotated[
        int | None, typer.Option(metavar="N", help=f"Credits when a month begins. {OWN}", show_default=False)
    ] = None,
    rate_limit: Annotated[
        int | None, typer.Option(metavar="N", help=f"Requests per second to an endpoint. {OWN}", show_default=False)
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(metavar="TIME", help=f"How long ended tasks stay readable. {OWN}", show_default=False),
    ] = None,
    credits: CreditsSwitch = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Create an organization. It needs a key before it can call the API: see 'fairlane keys create'."""
    body = {
        "name": name,
        "plan": plan,
        "slots": slots,
        "queue_limit": queue_limit,
        "weight": weight,
        "priority_limit": priority_limit,
        "task_types": task_types and names_or("plan", task_types),
        "monthly_credits": monthly_credits,
        "rate_limit": rate_limit,
        "retention_seconds": retention and seconds_or("plan", retention, option="--retention"),
    }
    given = {field: value for field, value in body.items() if value is not None} | _switched(credits)
    _show(ask(database_in_force(database), "POST", "organizations", body=given), as_json=as_json)


@commands.command(epilog="Example: fairlane organizations change acme --slots 8 --weight plan")
def change(
    name: OrganizationName,
    *,
    plan: PlanOption = None,
    slots: Annotated[
        str | None, typer.Option(metavar="N|plan", help="Slots of its own, or the plan's again.", show_default=False)
    ] = None,
    queue_limit: Annotated[
        str | None, typer.Option(metavar="N|plan", help="Queue limit of its own, or the plan's.", show_default=False)
    ] = None,
    weight: Annotated[
        str | None, typer.Option(metavar="W|plan", help="Weight of its own, or the plan's.", show_default=False)
    ] = None,
    priority_limit: Annotated[
        str | None,
        typer.Option(metavar="P|plan", help="Highest priority of its own, or the plan's.", show_default=False),
    ] = None,
    task_types: Annotated[
        str | None,
        typer.Option(
            metavar="TYPES|plan",
            help="Task types of its own, separated by commas, or the plan's.",
            show_default=False,
        ),
    ] = None,
    monthly_credits: Annotated[
        str | None,
        typer.Option(metavar="N|plan", help="Credits when a month begins, or the plan's.", show_default=False),
    ] = None,
    rate_limit: Annotated[
        str | None,
        typer.Option(metavar="N|plan", help="Requests per second to an endpoint, or the plan's.", show_default=False),
    ] = None,
    retention: Annotated[
        str | None,
        typer.Option(
            metavar="TIME|plan", help="How long ended tasks stay readable, or the plan's.", show_default=False
        ),
    ] = None,
    credits: CreditsSwitch = None,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Change an organization's plan or its own limits. Running tasks continue."""
    wanted = {
        "slots": number_or("plan", slots, option="--slots"),
        "queue_limit": number_or("plan", queue_limit, option="--queue-limit"),
        "weight": number_or("plan", weight, option="--weight"),
        "priority_limit": number_or("plan", priority_limit, option="--priority-limit"),
        "task_types": names_or("plan", task_types),
        "monthly_credits": number_or("plan", monthly_credits, option="--monthly-credits"),
        "rate_limit": number_or("plan", rate_limit, option="--rate-limit"),
        "retention_seconds": seconds_or("plan", retention, option="--retention"),
    }
    changes: dict[str, object] = {field: value for field, value in wanted.items() if value is not UNSET}
    if plan is not None:
        changes["plan"] = plan
    changes |= _switched(credits)
    if not changes:
        raise typer.BadParameter("nothing to change: give --plan, --credits, or a limit such as --slots")
    _change(name, changes, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations pause acme")
def pause(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Start no more tasks of an organization. It may still submit; running tasks continue."""
    _change(name, {"paused": True}, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations resume acme")
def resume(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Start tasks of a paused organization again."""
    _change(name, {"paused": False}, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations disable acme")
def disable(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Refuse all keys of an organization. Its submitted tasks still run."""
    _change(name, {"disabled": True}, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations enable acme")
def enable(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Accept the keys of a disabled organization again."""
    _change(name, {"disabled": False}, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations erase acme --yes")
def erase(
    name: OrganizationName,
    *,
    yes: Annotated[bool, typer.Option("--yes", help="Erase without asking.")] = False,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Erase an organization with everything it owns: tasks, results, keys, secrets, credits, usage. This cannot be
    undone.

    It is disabled at once and its running attempts are ended; then everything is deleted in small steps. If this
    command is interrupted, the server continues, and so does the command when it is started again.
    """
    if not yes:
        question = f"Erase {name} with all its tasks, results, keys and credits, permanently? Type its name"
        if not sys.stdin.isatty() or typer.prompt(question, default="", show_default=False, err=True) != name:
            raise typer.BadParameter("nothing was erased: give --yes", param_hint="--yes")
    progress = (lambda rows: note(f"{rows} rows erased …")) if not as_json else (lambda rows: None)
    rows = erase_all(database_in_force(database), name, progress)
    if as_json:
        print_json({"organization": name, "rows": rows, "done": True})
    else:
        print(f"{name} is erased: {rows} rows.")


@commands.command(epilog="Example: fairlane organizations maintenance acme on")
def maintenance(
    name: OrganizationName,
    state: Annotated[Switch, typer.Argument(metavar="on|off", help="The new state.")],
    *,
    database: DatabaseOption = None,
    as_json: AsJson = False,
) -> None:
    """Mark an organization's slots as unreliable: its concurrency reads null while this is on."""
    _change(name, {"maintenance": state is Switch.ON}, database=database, as_json=as_json)


@commands.command(epilog="Example: fairlane organizations repair acme")
def repair(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Recount an organization with drifted counts, and correct them."""
    answer = ask(database_in_force(database), "POST", "organizations", name, "repair")
    if as_json:
        print_json(answer)
        return
    rows = [[row["name"], row["kept"], row["counted"]] for row in answer["drift"]]
    print_table(["COUNT", "WAS", "IS NOW"], rows, empty=f"Nothing to repair: the counts of {name} equal their rows.")


@commands.command("list", epilog="Example: fairlane organizations list")
def list_organizations(*, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """List the organizations with their limits and their queued and running tasks."""
    found = ask_all(database_in_force(database), "organizations", "organizations")
    if as_json:
        print_json({"organizations": found})
        return
    columns = ["ORGANIZATION", "PLAN", "SLOTS", "RUNNING", "QUEUED", "QUEUE LIMIT", "WEIGHT", "STATE"]
    fields = ["name", "plan", "slots_max", "processing", "queued", "queue_limit", "weight"]
    rows = [[*(one[field] for field in fields), _state(one)] for one in found]
    print_table(columns, rows, empty="There are no organizations. Create one: fairlane organizations create NAME")


@commands.command(epilog="Example: fairlane organizations show acme --json")
def show(name: OrganizationName, *, database: DatabaseOption = None, as_json: AsJson = False) -> None:
    """Show one organization."""
    _show(ask(database_in_force(database), "GET", "organizations", name), as_json=as_json)


def _switched(credits: Switch | None) -> dict[str, object]:
    return {} if credits is None else {"credits": credits is Switch.ON}


def _change(name: str, changes: dict[str, object], *, database: str | None, as_json: bool) -> None:
    _show(ask(database_in_force(database), "PATCH", "organizations", name, body=changes), as_json=as_json)


def _show(organization: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(organization)
        return
    oldest = organization["oldest_ready_at"]
    priority_limit, task_types = allowed_fields(organization)
    print_fields(
        [
            ("Organization", organization["name"]),
            ("State", _state(organization)),
            ("Plan", organization["plan"]),
            ("Slots", organization["slots_max"]),
            ("In use", organization["used"]),
            ("Running", organization["processing"]),
            ("Queued", organization["queued"]),
            ("Waiting since", oldest and moment(oldest)),
            ("Queue limit", organization["queue_limit"]),
            ("Weight", organization["weight"]),
            ("Priority limit", priority_limit),
            ("Task types", task_types),
            (
                "Credits",
                organization["credits"]["granted"] - organization["credits"]["charged"]
                if organization["credits"]["on"]
                else "not counted",
            ),
            ("Monthly credits", organization["credits"]["monthly"]),
            ("Rate limit", organization["rate_limit"]),
            ("Retention", retention_field(organization)),
            ("Submitted", organization["submitted"]),
            ("Completed", organization["completed"]),
            ("Failed", organization["failed"]),
            ("Created", moment(organization["created_at"])),
        ]
    )


def _state(organization: dict[str, Any]) -> str:
    flags = [flag for flag in ("erasing", "disabled", "paused", "maintenance", "drifted") if organization[flag]]
    return ", ".join(flags) or "active"
