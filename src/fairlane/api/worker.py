"""``/worker/v1``: sessions and exchanges. Translates ``protocol`` to the store's records; waiting is ``parking``'s."""

import asyncio

from msgspec import UNSET, Raw
from msgspec.json import Decoder

from fairlane import protocol
from fairlane.api.http import Answer, Request
from fairlane.api.keys import HolderGuard
from fairlane.api.messages import check_between, read_workers_message
from fairlane.api.parking import Parking
from fairlane.api.routes import Guard, Part, Resource, Surface
from fairlane.api.serving import Serving
from fairlane.errors import ValidationRefused
from fairlane.model.keys import KeyKind
from fairlane.model.leases import (
    Completed,
    Ending,
    Exchange,
    Failed,
    Lease,
    LossReason,
    NewSession,
    Progress,
    Released,
    Report,
)
from fairlane.model.tasks import Failure
from fairlane.store import Store, new_id

CONTROL_BYTES_MOST = 1024 * 1024
EXCHANGE_BYTES_MOST = 64 * 1024 * 1024
"""An exchange's body may have so much, and one result of the largest size."""
OFF_LOOP_BYTES = 1024 * 1024
PLACES_MOST = 1_000
TYPES_MOST = 1_000
REPORTS_MOST = 4_000
PROGRESS_MOST = 10**15
PROGRESS_NOTE_LENGTH = 1_000
"""What is taken from workers; our own says 200 characters at most."""
PAUSE_SECONDS_MOST = 30 * 86_400

_register = Decoder(protocol.Register)
_exchange = Decoder(protocol.ExchangeRequest)
_renew = Decoder(protocol.Renew)
_end = Decoder(protocol.EndSession)


WorkerKey = str | None
"""The id of the key that a worker showed; None: it came through the server's own socket."""


def worker_part(serving: Serving, parking: Parking, *, guard: Guard[WorkerKey]) -> Part[WorkerKey]:
    """The workers' routes behind this guard, to be served wherever the wiring says."""
    clock = serving.store.now
    routes = Workers(serving, parking)
    return Part(
        "/worker/v1",
        guard,
        [
            Resource("/worker/v1/exchange", guard, {"POST": routes.exchange}, clock=clock),
            Resource("/worker/v1/sessions", guard, {"POST": routes.register}, clock=clock),
            Resource("/worker/v1/sessions/{}/renew", guard, {"POST": routes.renew}, clock=clock),
            Resource("/worker/v1/sessions/{}", guard, {"DELETE": routes.end}, clock=clock),
        ],
    )


def worker_surface(serving: Serving, parking: Parking) -> Surface:
    """The application behind the worker socket."""
    return Surface([worker_part(serving, parking, guard=trusted)], clock=serving.store.now)


async def trusted(request: Request) -> WorkerKey:
    """The guard of the worker socket: who may open it is decided by the directory it lies in."""
    return None


class WorkerKeyGuard:
    """The guard over TCP: a worker key."""

    def __init__(self, store: Store) -> None:
        self._guard = HolderGuard(store, KeyKind.WORKER)

    async def __call__(self, request: Request) -> WorkerKey:
        """The key's id. Raises what every guard of keys does."""
        return (await self._guard(request)).key_id


class Workers:
    """What workers ask for. ``who`` is the worker key, if one was needed."""

    def __init__(self, serving: Serving, parking: Parking) -> None:
        self._store = serving.store
        self._settings = serving.settings
        self._parking = parking
        self._exchange_most = EXCHANGE_BYTES_MOST + serving.settings.result_limit_bytes

    async def register(self, request: Request, who: WorkerKey) -> Answer:
        """Open a session."""
        register = read_workers_message(_register, await request.body(CONTROL_BYTES_MOST))
        check_between("places", register.places, 1, PLACES_MOST)
        check_between("types", len(register.types), 1, TYPES_MOST)
        session = NewSession(
            id=new_id(),
            name=register.name,
            types=tuple(register.types),
            places=register.places,
            local=register.local and who is None,
            key_id=who,
            lease_ms=round(self._settings.lease_seconds * 1000),
        )
        await self._store.open_session(session)
        self._parking.know(session.id, session.types)
        return _answer(
            protocol.Registered(
                session=session.id,
                lease_seconds=self._settings.lease_seconds,
                renew_seconds=self._settings.renew_seconds,
            )
        )

    async def exchange(self, request: Request, who: WorkerKey) -> Answer:
        """Settle what is reported, hand out leases, or wait for some."""
        body = await request.body(self._exchange_most)
        if len(body) > OFF_LOOP_BYTES:
            asked, exchange = await asyncio.to_thread(_read_exchange, body, self._store.now())
        else:
            asked, exchange = _read_exchange(body, self._store.now())
        settled = await self._parking.exchange(exchange, wait_seconds=asked.wait_seconds, gone=request.gone)
        return _answer(
            protocol.ExchangeAnswer(
                verdicts=list(settled.reply.verdicts),
                leases=[_lease_body(lease) for lease in settled.reply.leases],
                cancel=list(settled.cancel),
                kept=settled.kept,
                kept_by=settled.kept_by,
                draining=settled.draining,
            )
        )

    async def renew(self, request: Request, who: WorkerKey) -> Answer:
        """Keep a session alive."""
        [session_id] = request.parameters
        renew = read_workers_message(_renew, await request.body(CONTROL_BYTES_MOST))
        self._parking.withdraw(session_id, renew.withdrawn)
        canceled = await self._store.renew_session(
            session_id, leases=renew.leases, exchanges=renew.exchanges, withdrawn=renew.withdrawn
        )
        return _answer(protocol.Renewed(cancel=canceled))

    async def end(self, request: Request, who: WorkerKey) -> Answer:
        """End a session and return what it held."""
        [session_id] = request.parameters
        end = read_workers_message(_end, await request.body(CONTROL_BYTES_MOST))
        try:
            reason = LossReason(end.reason)
        except ValueError as error:
            raise ValidationRefused.at("reason", f"must be one of {', '.join(LossReason)}") from error
        returned = await self._store.end_session(session_id, reason=reason, overdue=end.overdue)
        self._parking.forget(session_id)
        return _answer(protocol.Ended(returned=returned))


# Reading and writing the protocol ------------------------------------------------------------------------------------


def _answer(message: object) -> Answer:
    return Answer(protocol.encode(message))


def _read_exchange(body: bytes, now: int) -> tuple[protocol.ExchangeRequest, Exchange]:
    asked = read_workers_message(_exchange, body)
    check_between("places", asked.places, 0, PLACES_MOST)
    check_between("reports", len(asked.reports), 0, REPORTS_MOST)
    check_between("progress", len(asked.progress), 0, PLACES_MOST)
    reports = tuple([Report(report.lease, _ending(report)) for report in asked.reports])
    progress = tuple([(said.lease, _progress(said, now)) for said in asked.progress])
    return asked, Exchange(
        session_id=asked.session, id=asked.id, places=asked.places, reports=reports, progress=progress
    )


def _ending(report: protocol.ReportBody) -> Ending:
    match report.outcome:
        case "completed":
            return Completed(_result(report.result))
        case "failed":
            return _failed(report)
        case "released":
            return Released()
        case _:
            raise ValidationRefused.at("reports.outcome", "must be completed, failed or released")


def _progress(said: protocol.ProgressBody, now: int) -> Progress:
    note = said.note
    check_between("progress.done", said.done, 0, PROGRESS_MOST)
    check_between("progress.total", 0 if said.total is None else said.total, 0, PROGRESS_MOST)
    if note is not None:
        check_between("progress.note", len(note), 0, PROGRESS_NOTE_LENGTH)
    return Progress(done=said.done, total=said.total, note=note, at=now)


def _result(result: Raw) -> str:
    try:
        text = protocol.result_text(result)
        if text[:1] == b"{":
            return text.decode()
    except UnicodeDecodeError as error:
        raise ValidationRefused.at("reports.result", "must be UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise ValidationRefused.at("reports.result", "must be a JSON object") from error
    raise ValidationRefused.at("reports.result", "must be a JSON object")


def _failed(report: protocol.ReportBody) -> Failed:
    shown, pause_seconds = report.failure, report.pause_seconds
    if pause_seconds is not None:
        check_between("reports.pause_seconds", pause_seconds, 0, PAUSE_SECONDS_MOST)
    return Failed(
        cause=report.cause,
        failure=None if shown is None else Failure(code=shown.code, message=shown.message, details=shown.details),
        retry=report.retry,
        pause_ms=None if pause_seconds is None else round(pause_seconds * 1000),
    )


def _lease_body(lease: Lease) -> protocol.LeaseBody:
    return protocol.LeaseBody(
        lease=lease.id,
        task=lease.task_id,
        organization=lease.organization,
        task_type=lease.task_type,
        attempt=lease.attempt,
        attempts=lease.attempts,
        timeout_seconds=lease.timeout_ms / 1000,
        payload=Raw(lease.payload),
        call=lease.call,
        traceparent=lease.traceparent or UNSET,
    )
