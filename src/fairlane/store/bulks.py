"""Bulks: run again, or cancel, all tasks that a filter chooses, in small steps that any server can make.

A step reads the next tasks of one organization on a snapshot (``look``), its caller checks their payloads, and one
transaction does what is to be done and writes the new place (``apply``). So a crash repeats nothing, and of two servers
that look at the same tasks the second finds that the place has moved, and changes nothing. Only one organization is
locked at a time.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from fairlane.errors import BulkExists, CreditsShort, KeyRefused, NotFound, QueueFull, ValidationRefused
from fairlane.model.bulks import (
    BulkKind,
    BulkList,
    BulkState,
    BulkStep,
    BulkStepped,
    BulkView,
    ChosenCount,
    ChosenTask,
    NewBulk,
    RunningBulk,
    Skipped,
)
from fairlane.model.tasks import NewTask, TaskFilter, TaskStatus
from fairlane.model.webhooks import Webhook
from fairlane.rules.attempts import CANCELED
from fairlane.store.filtering import AFTER_ALL, LOOK_MOST, NEWEST, LookedRow, fails_with, next_organization, walk
from fairlane.store.locked import LockedOrganization
from fairlane.store.noun import Noun
from fairlane.store.organizations import find_organization_id
from fairlane.store.statements import AFTER_ALL_IDS, Operation, Row, first, only, query, rows, rows_if, run
from fairlane.store.tasks import Acceptance, CancelRow, cancel_all, refusal_of
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction

EVERY = 0
"""Stands for all organizations in a bulk's row."""
BULKS_MOST = 10
"""Most bulks of one organization, or of all organizations, that run at once."""
RUNNING_MOST = 100
"""Most running bulks that one round of upkeep works on."""
STEP_TASKS = 100
"""Most tasks of one step: a few milliseconds of the store thread."""
STEP_BYTES = 4 * 2**20
"""About how many bytes of payloads one step reads."""
WALKS_MOST = 5
"""How often one look walks on when it finds nothing."""
ROOM_SHARE = 10
"""One part in this many of a queue stays free of tasks of bulks, so that the organization can still submit."""
COUNT_MOST = 10_000
"""Most tasks that a count looks at."""
COUNT_ORGANIZATIONS_MOST = 200
"""Most organizations that a count walks."""


class BulkRow(Row, frozen=True):
    """A bulk."""

    id: str
    organization_id: int
    organization: str | None
    kind: str
    state: str
    chosen: str
    idempotency_key: str | None
    actor: str | None
    matched: int
    done: int
    skipped: str
    began_at: int
    ended_at: int | None
    held_by: str | None


class EqualRow(Row, frozen=True):
    """A running bulk, as a new one is compared with it."""

    id: str
    kind: str
    chosen: str
    actor: str | None


class RunningBulkRow(Row, frozen=True):
    """A running bulk."""

    id: str
    kind: str


class PartRow(Row, frozen=True):
    """What a bulk has to do in one organization. The limit and the count are None once the organization is erased."""

    bulk_id: str
    organization_id: int
    before_seq: int
    place: str | None
    held_by: str | None
    kind: str
    chosen: str
    queue_limit: int | None
    queued: int | None


class AgainRow(Row, frozen=True):
    """What a task needs to run again, but for its payload."""

    id: str
    webhook_url: str | None
    webhook_host: str | None
    size: int


class AgainPayloadRow(Row, frozen=True):
    """A payload."""

    task_id: str
    payload: str


class BulkCountsRow(Row, frozen=True):
    """How far a running bulk is."""

    id: str
    matched: int
    done: int
    skipped: str


class BulkPlaceRow(Row, frozen=True):
    """Where a bulk is in one organization."""

    place: str | None
    held_by: str | None


class BulkStore(Noun):
    """Requests to run again, or cancel, many tasks. Organizations see their own, operators all."""

    async def begin(self, new: NewBulk) -> BulkView:
        """Begin a bulk on the tasks that were accepted before now, and return it; it is durable.

        An equal bulk that runs, or one with this idempotency key, is returned instead of a second one.

        Raises:
            BulkExists: the key names a bulk with another filter, or of another kind.
            ValidationRefused: as many bulks run as may.
        """
        return await self._write(_begin, new)

    async def find(self, bulk_id: str, organization_id: int | None) -> BulkView:
        """Return a bulk that this organization began; with None any bulk, for operators. Raises NotFound."""
        return await self._database.read(find_bulk(bulk_id, organization_id))

    async def page(self, organization_id: int | None, *, before: str | None, most: int) -> BulkList:
        """Return bulks that this organization began, newest first; with None all bulks, for operators."""
        return await self._database.read(find_bulks(organization_id, before, most))

    async def stop(self, bulk_id: str, organization_id: int | None, *, actor: str | None = None) -> BulkView:
        """Stop a bulk for good, and return it. What it did stays. One that has ended is returned as it is.

        Raises NotFound, as ``find`` does.
        """
        return await self._write(_stop, bulk_id, organization_id, actor)

    async def count(self, organization: str | int | None, chosen: TaskFilter) -> ChosenCount:
        """Count the tasks that a filter chooses, of an organization by id or name, or of all with None.

        It looks at a bounded number of tasks. Raises NotFound.
        """
        return await self._database.walk(_count(organization, chosen), share="counts")

    # Upkeep ----------------------------------------------------------------------------------------------------------

    async def running(self) -> list[RunningBulk]:
        """Return the bulks to work on."""
        return await self._database.read(find_running())

    async def look(self, bulk_id: str, after: int) -> BulkStep | None:
        """Return the next step of a bulk in its next organization behind this one, or None if there is none.

        The step of a part that still has no room in its queue is held, and has no tasks.
        """
        return await self._database.snapshot(look(bulk_id, after))

    async def apply(self, step: BulkStep, refused: Mapping[str, Skipped]) -> BulkStepped:
        """Make a step, unless another server has made it. Tasks in ``refused`` are skipped for this reason.

        Atomic: the tasks, the place and the counts are written together.
        """
        return await self._write(_apply, step, refused)


# Beginning and ending ------------------------------------------------------------------------------------------------


def _begin(transaction: Transaction, new: NewBulk) -> Operation[BulkView]:
    owner = EVERY if new.organization_id is None else new.organization_id
    if new.organization is not None:
        owner = yield from find_organization_id(new.organization)
    if not owner:
        yield from run("lock_installation")
    locked = yield from transaction.lock([owner] if owner else [])
    if owner and owner not in locked:
        raise KeyRefused
    now = yield from transaction.read_clock()
    chosen = msgspec.json.encode(new.chosen).decode()
    if new.idempotency_key is not None:
        known = yield from first(
            "find_bulk_of_key", into=str, organization_id=owner, idempotency_key=new.idempotency_key
        )
        if known is not None:
            same = yield from only("find_bulk", into=BulkRow, id=known)
            if (same.kind, same.chosen, same.actor is None) != (new.kind, chosen, new.actor is None):
                raise BulkExists(new.idempotency_key)
            return _view(same)
    others = yield from rows("find_bulks_of_organization", into=EqualRow, organization_id=owner, most=BULKS_MOST)
    for other in others:
        if (other.kind, other.chosen, other.actor is None) == (new.kind, chosen, new.actor is None):
            return (yield from find_bulk(other.id, None))
    if len(others) == BULKS_MOST:
        raise ValidationRefused.at("body", f"{BULKS_MOST} bulks may run at once: wait for one, or stop one")
    bulk_id = transaction.config.new_id()
    yield from run(
        "insert_bulk", id=bulk_id, organization_id=owner, kind=str(new.kind), chosen=chosen,
        idempotency_key=new.idempotency_key, actor=new.actor, now=now,
    )  # fmt: skip
    if owner:
        yield from run("insert_bulk_part", bulk_id=bulk_id, organization_id=owner, before_seq=locked[owner].next_seq)
    elif new.kind is BulkKind.RETRY:
        yield from run("insert_bulk_parts_of_failed", bulk_id=bulk_id)
    else:
        yield from run("insert_bulk_parts_of_open", bulk_id=bulk_id)
    yield from run("end_bulk", id=bulk_id, state=str(BulkState.DONE), now=now)
    view = yield from find_bulk(bulk_id, None)
    if new.actor is not None:
        subject = view.organization or "installation"
        yield from write_trail(transaction, new.actor, "bulk.begun", subject, _told(view))
    return view


def _stop(
    transaction: Transaction, bulk_id: str, organization_id: int | None, actor: str | None
) -> Operation[BulkView]:
    now = yield from transaction.read_clock()
    yield from find_bulk(bulk_id, organization_id)
    if (yield from first("lock_bulk", into=BulkCountsRow, id=bulk_id)) is not None:
        yield from run("delete_bulk_parts", bulk_id=bulk_id)
        yield from run("end_bulk", id=bulk_id, state=str(BulkState.STOPPED), now=now)
        if actor is not None:
            view = yield from find_bulk(bulk_id, organization_id)
            yield from write_trail(transaction, actor, "bulk.stopped", view.organization or "installation", _told(view))
    return (yield from find_bulk(bulk_id, organization_id))


def _told(view: BulkView) -> dict[str, object]:
    return {"bulk": view.id, "kind": view.kind, "filter": view.chosen, "done": view.done}


def find_bulk(bulk_id: str, organization_id: int | None) -> Operation[BulkView]:
    """Read one bulk, or refuse with NotFound."""
    row = yield from first("find_bulk", into=BulkRow, id=bulk_id)
    if row is None or (organization_id is not None and (row.organization_id, row.actor) != (organization_id, None)):
        raise NotFound.named("bulk", bulk_id)
    return _view(row)


def find_bulks(organization_id: int | None, before: str | None, most: int) -> Operation[BulkList]:
    """Read bulks, newest first. Those that operators began are for operators alone."""
    asked = {"before": before or AFTER_ALL_IDS, "most": most + 1}
    if organization_id is None:
        found = yield from rows("find_all_bulks", into=BulkRow, **asked)
    else:
        found = yield from rows("find_bulks", into=BulkRow, organization_id=organization_id, **asked)
    shown = [_view(row) for row in found[:most] if organization_id is None or row.actor is None]
    return BulkList(tuple(shown), found[most - 1].id if len(found) > most else None)


def purge_bulks(before: int, most: int) -> Operation[int]:
    """Delete bulks that ended before a moment; return how many."""
    return len((yield from rows("delete_old_bulks", into=str, before=before, most=most)))


def find_running() -> Operation[list[RunningBulk]]:
    """Read the bulks that run."""
    found = yield from rows("find_running_bulks", into=RunningBulkRow, most=RUNNING_MOST)
    return [RunningBulk(row.id, BulkKind(row.kind)) for row in found]


def _view(row: BulkRow) -> BulkView:
    reasons = msgspec.json.decode(row.skipped, type=dict[str, int])
    return BulkView(
        id=row.id,
        organization=row.organization,
        kind=BulkKind(row.kind),
        state=BulkState(row.state),
        chosen=msgspec.json.decode(row.chosen, type=TaskFilter),
        matched=row.matched,
        done=row.done,
        skipped=sum(reasons.values()),
        reasons=reasons,
        held_by=row.held_by,
        began_at=row.began_at,
        ended_at=row.ended_at,
        idempotency_key=row.idempotency_key,
        actor=row.actor,
    )


# Counting ------------------------------------------------------------------------------------------------------------


def _count(organization: str | int | None, chosen: TaskFilter) -> Operation[ChosenCount]:
    owner = (yield from find_organization_id(organization)) if isinstance(organization, str) else organization
    return (yield from count_chosen(owner, chosen))


def count_chosen(organization_id: int | None, chosen: TaskFilter) -> Operation[ChosenCount]:
    """Count the tasks that a filter chooses, until it has looked at COUNT_MOST."""
    count = retried = 0
    left = COUNT_MOST
    at, place = (AFTER_ALL, "") if organization_id is None else (organization_id, None)
    for _ in range(COUNT_ORGANIZATIONS_MOST):
        if place == "":
            having, onward = yield from next_organization(chosen.status, at)
            if having is None and onward is None:
                return ChosenCount(count=count, retried=retried, complete=True)
            at, place = (onward or 0, "") if having is None else (having, NEWEST)
        while place != "" and left > 0:
            step = yield from walk(at, chosen, place, LOOK_MOST, looks=min(left, LOOK_MOST))
            left -= step.looked
            count += len(step.tasks)
            failed = [row.id for row in step.tasks if row.status is TaskStatus.FAILED]
            retried += len((yield from rows_if("find_retried", failed, into=str, ids=failed)))
            place = step.after or ""
        if left <= 0 or organization_id is not None:
            break
    return ChosenCount(count=count, retried=retried, complete=organization_id is not None and place == "")


# Steps ---------------------------------------------------------------------------------------------------------------


class Looked(Struct, frozen=True):
    """The tasks of a step, and the place behind the last one."""

    tasks: list[LookedRow]
    after: str | None


def look(bulk_id: str, after: int) -> Operation[BulkStep | None]:
    """Read the next step. Needs one snapshot."""
    part = yield from first("find_bulk_part", into=PartRow, bulk_id=bulk_id, after=after)
    if part is None:
        return None
    kind, chosen = BulkKind(part.kind), msgspec.json.decode(part.chosen, type=TaskFilter)
    full = part.queue_limit is not None and part.queued is not None and _room(part.queue_limit, part.queued) <= 0
    if kind is BulkKind.RETRY and full and part.held_by is not None:
        return _step(part, kind, chosen, Looked([], part.place), (), held=True)
    found = yield from _next_tasks(part, chosen)
    if kind is BulkKind.CANCEL:
        made = [_chosen(row, chosen) for row in found.tasks]
        return _step(part, kind, chosen, found, made)
    asked = [(part.organization_id, row.id) for row in found.tasks]
    again = {row.id: row for row in (yield from rows_if("find_again", asked, into=AgainRow, tasks=asked))}
    taken, size = 0, 0
    while taken < len(found.tasks) and (not taken or size + again[found.tasks[taken].id].size <= STEP_BYTES):
        size += again[found.tasks[taken].id].size
        taken += 1
    if taken < len(found.tasks):
        found = Looked(found.tasks[:taken], _place_of(found.tasks[taken - 1], chosen))
    asked = [(part.organization_id, row.id) for row in found.tasks]
    payloads = yield from rows_if("find_payloads", asked, into=AgainPayloadRow, tasks=asked)
    texts = {row.task_id: row.payload for row in payloads}
    made = [_chosen(row, chosen, again[row.id], texts[row.id]) for row in found.tasks]
    return _step(part, kind, chosen, found, made)


def _next_tasks(part: PartRow, chosen: TaskFilter) -> Operation[Looked]:
    """Walk on until a step is worth its transaction, or for a bounded number of tasks."""
    place = part.place
    for _ in range(WALKS_MOST):
        step = yield from walk(part.organization_id, chosen, place, STEP_TASKS)
        tasks = [row for row in step.tasks if row.seq < part.before_seq and _is_possible(row, part.kind)]
        place = step.after
        if tasks or place is None:
            break
    return Looked(tasks, place)


def _is_possible(row: LookedRow, kind: str) -> bool:
    return row.status is TaskStatus.FAILED if kind == BulkKind.RETRY else row.ended is None


def _place_of(row: LookedRow, chosen: TaskFilter) -> str:
    return row.id if chosen.key_prefix is None else row.idempotency_key or ""


def _chosen(row: LookedRow, chosen: TaskFilter, again: AgainRow | None = None, payload: str = "") -> ChosenTask:
    webhook = None
    if again is not None and again.webhook_url is not None and again.webhook_host is not None:
        webhook = Webhook(again.webhook_url, again.webhook_host)
    return ChosenTask(
        id=row.id,
        task_type=row.task_type,
        priority=row.priority,
        canceled=chosen.code is None and fails_with(row, CANCELED.code),
        place=_place_of(row, chosen),
        payload=payload,
        webhook=webhook,
    )


def _step(
    part: PartRow,
    kind: BulkKind,
    chosen: TaskFilter,
    found: Looked,
    tasks: Sequence[ChosenTask],
    *,
    held: bool = False,
) -> BulkStep:
    return BulkStep(
        bulk_id=part.bulk_id,
        kind=kind,
        chosen=chosen,
        organization_id=part.organization_id,
        place=part.place,
        after=found.after,
        tasks=tuple(tasks),
        held=held,
    )


def _room(queue_limit: int, queued: int) -> int:
    """Return how many more tasks bulks may put into a queue."""
    return queue_limit - queue_limit // ROOM_SHARE - queued


class StepOutcome(Struct):
    """What a step did, while it is made."""

    done: int = 0
    skipped: dict[str, int] = {}
    place: str | None = None
    """The place behind the last task that it came to, if the queue had no room for the next one."""
    held: bool = False

    def skip(self, reason: Skipped) -> None:
        """Count a task that is left as it is."""
        self.skipped[reason] = self.skipped.get(reason, 0) + 1


def _apply(transaction: Transaction, step: BulkStep, refused: Mapping[str, Skipped]) -> Operation[BulkStepped]:
    asked = [(step.organization_id, one.id) for one in step.tasks]
    part = {"bulk_id": step.bulk_id, "organization_id": step.organization_id}
    bulk = query("lock_bulk", [step.bulk_id], into=BulkCountsRow, id=step.bulk_id)
    at = query("find_bulk_place", [step.bulk_id], into=BulkPlaceRow, **part)
    retries = [one.id for one in step.tasks] if step.kind is BulkKind.RETRY else []
    retried = query("find_retried", retries, into=str, ids=retries)
    cancels = asked if step.kind is BulkKind.CANCEL else []
    places = query("find_places", cancels, into=CancelRow, tasks=cancels)
    locked = yield from transaction.lock([step.organization_id], bulk, at, retried, places)
    if not bulk.rows or not at.rows or at.rows[0].place != step.place:
        return BulkStepped(0, moved=False)
    organization = locked.get(step.organization_id)
    outcome = StepOutcome(place=step.place)
    accepted = Acceptance()
    if organization is not None and step.kind is BulkKind.RETRY:
        _retry(transaction, organization, step, _known(refused, retried.rows), accepted, outcome)
    elif organization is not None:
        yield from _cancel(transaction, organization, step, places.rows, outcome)
    yield from transaction.save(*accepted.changes(transaction.now))
    yield from _write_place(transaction, step, bulk.rows[0], outcome)
    return BulkStepped(outcome.done, moved=True, held=outcome.held)


def _known(refused: Mapping[str, Skipped], retried: Sequence[str]) -> dict[str, Skipped]:
    """Return the reasons to skip tasks that are known before their organization is looked at."""
    return {**refused, **dict.fromkeys(retried, Skipped.ALREADY_RETRIED)}


def _retry(
    transaction: Transaction,
    organization: LockedOrganization,
    step: BulkStep,
    known: Mapping[str, Skipped],
    accepted: Acceptance,
    outcome: StepOutcome,
) -> None:
    """Accept the tasks of a step again, each by the rules of a submission, as long as the queue has room."""
    spent = 0
    for one in step.tasks:
        task = NewTask(
            id=transaction.config.new_id(),
            task_type=one.task_type,
            payload=one.payload,
            priority=one.priority,
            cost=transaction.config.rule(one.task_type).cost,
            webhook=one.webhook,
            retry_of=one.id,
        )
        reason = known.get(one.id) or _reason(organization, task, one, spent)
        if reason is not None:
            outcome.skip(reason)
        elif _room(organization.queue_limit, organization.queued) <= 0:
            outcome.held = True
            return
        else:
            spent += task.cost
            accepted.add(transaction, organization, task, None)
            outcome.done += 1
        outcome.place = one.place


def _reason(organization: LockedOrganization, task: NewTask, one: ChosenTask, spent: int) -> Skipped | None:
    """Return why a task is not run again, or None. A full queue is no reason: the bulk waits for room."""
    if one.canceled:
        return Skipped.TASK_CANCELED
    match refusal_of(organization, task, set(), spent):
        case None | QueueFull():
            return None if organization.can_pay(task.cost, besides=spent) else Skipped.INSUFFICIENT_CREDITS
        case CreditsShort():
            return Skipped.INSUFFICIENT_CREDITS
        case ValidationRefused():
            return Skipped.VALIDATION_ERROR
        case _:
            return Skipped.ORGANIZATION_DISABLED


def _cancel(
    transaction: Transaction,
    organization: LockedOrganization,
    step: BulkStep,
    found: Sequence[CancelRow],
    outcome: StepOutcome,
) -> Operation[None]:
    tasks = []
    for row in found:
        status = TaskStatus.QUEUED if row.session_id is None else TaskStatus.PROCESSING
        if row.ended is None and row.canceled_at is None and step.chosen.status in (None, status):
            tasks.append(row)
        else:
            outcome.skip(Skipped.STATUS_CHANGED)
    outcome.done = len(tasks)
    yield from cancel_all(transaction, organization, tasks)


def _write_place(
    transaction: Transaction, step: BulkStep, counts: BulkCountsRow, outcome: StepOutcome
) -> Operation[None]:
    part = {"bulk_id": step.bulk_id, "organization_id": step.organization_id}
    if outcome.held:
        yield from run("update_bulk_part", place=outcome.place, held_by=QueueFull.code, **part)
    elif step.after is not None:
        yield from run("update_bulk_part", place=step.after, held_by=None, **part)
    else:
        yield from run("delete_bulk_part", **part)
    reasons = msgspec.json.decode(counts.skipped, type=dict[str, int])
    for reason, count in outcome.skipped.items():
        reasons[reason] = reasons.get(reason, 0) + count
    came_to = outcome.done + sum(outcome.skipped.values())
    yield from run(
        "update_bulk", id=step.bulk_id, matched=counts.matched + came_to, done=counts.done + outcome.done,
        skipped=msgspec.json.encode(reasons).decode(),
    )  # fmt: skip
    if not outcome.held and step.after is None:
        yield from run("end_bulk", id=step.bulk_id, state=str(BulkState.DONE), now=transaction.now)
