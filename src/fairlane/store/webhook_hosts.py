"""The hosts of webhooks: how their tries ended, and what waits for them. Counted in the transaction that records a try.

Each try counts for its organization, in the row of ``EVERY_HOST`` for all its hosts, and in the row of
``EVERY_ORGANIZATION`` for all organizations. Called by ``deliveries.py`` for the counts, and by the API for the lists.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile

from msgspec import Struct

from fairlane.model.organizations import EVERY_ORGANIZATION
from fairlane.model.webhooks import HostFacts, HostPage
from fairlane.rules.deliveries import OpenMessages, SenderState, hold
from fairlane.store.noun import Noun
from fairlane.store.statements import CHUNK, Operation, Row, clock, rows, rows_if, run_if
from fairlane.store.transaction import Transaction

DAY_MS = 86_400_000
KEPT_DAYS = 14
"""How long a host without tries is kept."""
OVERDUE_MS = 10_000
"""A message that has been due for less is not overdue: the sender looks once a second."""
OVERDUE_MOST = 500
"""Most overdue deliveries that are looked at for their hosts."""
OWNERS_MOST = 10
"""Most organizations of one host that are asked what is owed to it."""
OWED_MOST = 100
"""Most open deliveries of one organization and host that are counted."""
EVERY_HOST = ""
LAST_NAME = "\U0010ffff"


class HostTry(Struct, frozen=True):
    """The end of one try."""

    organization_id: int
    host: str
    at: int
    http_status: int | None
    error: str | None
    took_ms: int


class OverdueHostRow(Row, frozen=True):
    """An overdue delivery."""

    organization_id: int
    host: str
    due_at: int


class HostOwnerRow(Row, frozen=True):
    """An organization with tries at a host."""

    organization_id: int
    host: str


class WebhookHostRow(Row, frozen=True):
    """The counts of one host."""

    organization_id: int
    host: str
    day: int
    tries: int
    failed: int
    tries_before: int
    failed_before: int
    failed_in_row: int
    failing_since: int | None
    last_at: int
    last_status: int | None
    last_error: str | None
    last_ms: int


class OwedRow(Row, frozen=True):
    """What is owed to one host for one organization."""

    organization_id: int
    host: str
    name: str
    due_at: int | None
    number: int


class WebhookHostStore(Noun):
    """The hosts of webhooks."""

    async def troubled(self, state: SenderState | None, *, most: int) -> HostPage:
        """Return the hosts with overdue messages, the longest first, then those that fail, the longest first.

        Reads a bounded number of overdue messages. ``state`` is that of this server's sender, if it has one.
        """
        return await self._database.snapshot(find_troubled(state, most))

    async def named(self, text: str, state: SenderState | None, *, after: str, most: int) -> HostPage:
        """Return one page of all hosts with names that begin with this text, by name."""
        return await self._database.snapshot(find_named(text, state, after, most))

    async def of_organization(
        self, organization_id: int, text: str | None, state: SenderState | None, *, after: str, most: int
    ) -> HostPage:
        """Return hosts of one organization, with what it alone has there, and its tries at all hosts.

        Without ``text`` these are the hosts with overdue messages or failures, then others by name; with it one page of
        those with names that begin with it.
        """
        found = find_own(organization_id, text, state, after, most)
        return await self._database.snapshot(found, share=organization_id)

    async def purge(self) -> int:
        """Delete hosts without tries for two weeks, at most CHUNK; return how many."""
        return await self._write(_purge)


# Counting ------------------------------------------------------------------------------------------------------------


def count_tries(transaction: Transaction, tries: Sequence[HostTry]) -> Operation[None]:
    """Count these tries at their hosts, in the order in which they were made."""
    by_host: dict[tuple[int, str], list[HostTry]] = {}
    for one in sorted(tries, key=lambda tried: tried.at):
        own = one.organization_id
        for key in ((EVERY_ORGANIZATION, one.host), (own, EVERY_HOST), (own, one.host)):
            by_host.setdefault(key, []).append(one)
    hosts = [(*key, *_summed(of)) for key, of in sorted(by_host.items())]
    yield from run_if("count_tries", hosts, hosts=hosts, day=transaction.now // DAY_MS)


def _summed(tries: Sequence[HostTry]) -> tuple[int, int, int, int | None, int, int | None, str | None, int]:
    failing = list(takewhile(lambda one: one.error is not None, reversed(tries)))
    last = tries[-1]
    return (
        len(tries), sum(one.error is not None for one in tries), len(failing), failing[-1].at if failing else None,
        last.at, last.http_status, last.error, last.took_ms,
    )  # fmt: skip


# Lists ---------------------------------------------------------------------------------------------------------------


def find_troubled(state: SenderState | None, most: int) -> Operation[HostPage]:
    """Read the hosts with trouble. Needs one snapshot."""
    now = yield from clock()
    overdue = yield from rows("find_overdue_hosts", into=OverdueHostRow, before=now - OVERDUE_MS, most=OVERDUE_MOST)
    failing = yield from rows("find_failing_hosts", into=str, organization_id=EVERY_ORGANIZATION, most=most + 1)
    names = list(dict.fromkeys([*(one.host for one in overdue), *failing]))
    pairs = {(one.organization_id, one.host) for one in overdue}
    found = yield from _facts(names[:most], pairs, state, now)
    return HostPage(found, after=None, more=len(names) > most)


def find_named(text: str, state: SenderState | None, after: str, most: int) -> Operation[HostPage]:
    """Read one page of hosts by name. Needs one snapshot."""
    now = yield from clock()
    names = yield from rows(
        "find_named_hosts", into=str, organization_id=EVERY_ORGANIZATION, after=after, least=text,
        beyond=text + LAST_NAME, most=most + 1,
    )  # fmt: skip
    found = yield from _facts(names[:most], set(), state, now)
    more = len(names) > most
    return HostPage(found, after=names[most - 1] if more else None, more=more)


def find_own(
    organization_id: int, text: str | None, state: SenderState | None, after: str, most: int
) -> Operation[HostPage]:
    """Read some hosts of an organization. Needs one snapshot."""
    now = yield from clock()
    troubled: list[str] = []
    if text is None:
        overdue = yield from rows(
            "find_overdue_of_organization", into=OverdueHostRow, organization_id=organization_id,
            before=now - OVERDUE_MS, most=OVERDUE_MOST,
        )  # fmt: skip
        failing = yield from rows("find_failing_hosts", into=str, organization_id=organization_id, most=most + 1)
        troubled = [*(one.host for one in overdue), *failing]
    names = yield from rows(
        "find_named_hosts", into=str, organization_id=organization_id, after=after, least=text or "",
        beyond=(text or "") + LAST_NAME, most=most + 1,
    )  # fmt: skip
    wanted = list(dict.fromkeys([*troubled, *names]))
    shown = [(organization_id, name) for name in wanted[:most]]
    keys = [(organization_id, EVERY_HOST), *shown]
    counts = {row.host: row for row in (yield from rows("find_webhook_hosts", into=WebhookHostRow, hosts=keys))}
    owed = {
        row.host: row for row in (yield from rows_if("find_owed", shown, into=OwedRow, hosts=shown, most=OWED_MOST))
    }
    every = counts.get(EVERY_HOST)
    tries, failed = (0, 0) if every is None else _recent(every, now // DAY_MS)
    more = len(wanted) > most
    return HostPage(
        tuple([
            _host(name, counts.get(name), [owed[name]] if name in owed else [], state, now, organization_id)
            for _, name in shown
        ]),
        after=wanted[most - 1] if more and text is not None else None,
        more=more,
        tries=tries,
        failed=failed,
    )  # fmt: skip


def _facts(
    names: Sequence[str], pairs: Iterable[tuple[int, str]], state: SenderState | None, now: int
) -> Operation[tuple[HostFacts, ...]]:
    """Read the facts of these hosts. ``pairs`` are (organization, host) that may have no try yet."""
    keys = [(EVERY_ORGANIZATION, name) for name in names]
    counts = {
        row.host: row for row in (yield from rows_if("find_webhook_hosts", keys, into=WebhookHostRow, hosts=keys))
    }
    owners = yield from rows_if("find_host_owners", names, into=HostOwnerRow, hosts=list(names), most=OWNERS_MOST)
    asked = {(row.organization_id, row.host) for row in owners} | {one for one in pairs if one[1] in set(names)}
    owed: dict[str, list[OwedRow]] = {name: [] for name in names}
    for row in (yield from rows_if("find_owed", list(asked), into=OwedRow, hosts=sorted(asked), most=OWED_MOST)):
        owed[row.host].append(row)
    return tuple([_host(name, counts.get(name), owed[name], state, now) for name in names])


def _host(
    name: str,
    row: WebhookHostRow | None,
    owed: Sequence[OwedRow],
    state: SenderState | None,
    now: int,
    organization_id: int = EVERY_ORGANIZATION,
) -> HostFacts:
    """Put the facts of a host together. Tries that run count if they are of this organization, or of any for 0."""
    waiting = [one for one in owed if one.due_at is not None]
    due_at = min((one.due_at for one in waiting if one.due_at is not None), default=None)
    tries, failed = (0, 0) if row is None else _recent(row, now // DAY_MS)
    under_way = () if state is None else state.under_way
    running = [one for one in under_way if one[1] == name and organization_id in (EVERY_ORGANIZATION, one[0])]
    return HostFacts(
        host=name,
        tries=tries,
        failed=failed,
        failed_in_row=0 if row is None else row.failed_in_row,
        failing_since=None if row is None else row.failing_since,
        last_at=None if row is None else row.last_at,
        last_status=None if row is None else row.last_status,
        last_error=None if row is None else row.last_error,
        last_ms=None if row is None else row.last_ms,
        open=sum(one.number for one in owed),
        open_bounded=len(owed) >= OWNERS_MOST or any(one.number >= OWED_MOST for one in owed),
        organizations=tuple([one.name for one in waiting or owed]),
        due_at=due_at,
        trying=len(running),
        hold=None
        if due_at is None
        else hold(
            OpenMessages(
                host=name, organizations=tuple([one.organization_id for one in waiting]), overdue_ms=now - due_at
            ),
            state,
        ),
    )


def _recent(row: WebhookHostRow, today: int) -> tuple[int, int]:
    """Return the tries and the failures since the beginning of yesterday."""
    if row.day >= today:
        return row.tries + row.tries_before, row.failed + row.failed_before
    return (row.tries, row.failed) if row.day == today - 1 else (0, 0)


# Upkeep --------------------------------------------------------------------------------------------------------------


def _purge(transaction: Transaction) -> Operation[int]:
    today = (yield from transaction.read_clock()) // DAY_MS
    found = yield from rows("find_old_hosts", into=HostOwnerRow, before=today - KEPT_DAYS, most=CHUNK)
    keys = [(row.organization_id, row.host) for row in found]
    yield from run_if("delete_hosts", keys, hosts=keys)
    return len(keys)
