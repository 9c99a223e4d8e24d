"""``/worker/v1``: sessions and exchanges. Converts ``protocol`` to the store's records; ``parking`` waits."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar, TypeVar

from msgspec import UNSET, Raw
from msgspec.json import Decoder

from fairlane import protocol
from fairlane.api.bodies import WORKERS
from fairlane.api.http import Answer, Request, Stream
from fairlane.api.keys import HolderGuard
from fairlane.api.messages import check_between, read_workers_message
from fairlane.api.parking import Parking
from fairlane.api.routes import Guard, Part, Route, Routes, Surface, resources
from fairlane.api.serving import Serving
from fairlane.errors import ValidationRefused
from fairlane.model.attempts import AttemptEnding
from fairlane.model.keys import KeyKind
from fairlane.model.leases import (
    Completed,
    Ending,
    Exchange,
    Failed,
    FailedStartReport,
    Lease,
    LossReason,
    NewSession,
    Origin,
    Progress,
    Released,
    Report,
)
from fairlane.model.tasks import Failure
from fairlane.scanning import containers
from fairlane.store import Store, new_id

CONTROL_BYTES_MOST = 1024 * 1024
EXCHANGE_BYTES_MOST = 24 * 1024 * 1024
"""Most bytes of an exchange's body in addition to one result of the largest size. Workers stop at 16 MiB of results."""
CUT_BYTES = 64 * 1024
"""A larger report is read separately from its exchange, because nothing else runs while one text is read."""

PIECE_BYTES = 256 * 1024
"""Larger answers are written in pieces of about this size."""

_register = Decoder(protocol.Register)
_exchange = Decoder(protocol.ExchangeRequest)
_renew = Decoder(protocol.Renew)
_starts_failed = Decoder(protocol.StartsFailed)
_end = Decoder(protocol.EndSession)
_report = Decoder(protocol.ReportBody)


_HOW = {"": AttemptEnding.FAILED, "overdue": AttemptEnding.TIMED_OUT, "lost": AttemptEnding.WORKER_LOST}
"""How an attempt ended, by the reason in the report of its failure."""


class _CutExchange(protocol.ExchangeRequest, kw_only=True, forbid_unknown_fields=True):
    """An exchange in which a report may be replaced by its number in a list."""

    reports: list[protocol.ReportBody | tuple[int]] = []  # type: ignore[assignment]


_cut_exchange = Decoder(_CutExchange)

Message = TypeVar("Message")
WorkerKey = str | None
"""The id of the worker key of a request, or None for the server's own socket."""


def worker_part(serving: Serving, parking: Parking, *, guard: Guard[WorkerKey]) -> Part[WorkerKey]:
    """Return the workers' routes behind this guard; the wiring decides where they are served."""
    return Part("/worker/v1", guard, resources([WorkerEndpoints(serving, parking)], lambda path: guard))


def worker_surface(serving: Serving, parking: Parking) -> Surface:
    """Return the application behind the worker socket."""
    return Surface([worker_part(serving, parking, guard=trusted)], clock=serving.store.now)


async def trusted(request: Request) -> WorkerKey:
    """Let every request pass on the worker socket, which the permissions of its directory protect."""
    request.holder = WORKERS
    return None


class WorkerKeyGuard:
    """The guard over TCP: a worker key."""

    def __init__(self, store: Store) -> None:
        self._guard = HolderGuard(store, KeyKind.WORKER)

    async def __call__(self, request: Request) -> WorkerKey:
        """Return the key's id. Raises as every guard of keys does."""
        return (await self._guard(request)).key_id


class WorkerEndpoints:
    """The endpoints of the worker protocol. ``key_id`` is the worker key, if one was needed."""

    def __init__(self, serving: Serving, parking: Parking) -> None:
        self._store = serving.store
        self._settings = serving.settings
        self._parking = parking
        self._result_most = serving.settings.result_limit_bytes
        self._exchange_most = EXCHANGE_BYTES_MOST + serving.settings.result_limit_bytes

    async def register(self, request: Request, key_id: WorkerKey) -> Answer:
        """Open a session."""
        register = await self._read(request, _register)
        _check_name("name", register.name, protocol.NAME_LENGTH_MOST)
        _check_name("version", register.version, protocol.NAME_LENGTH_MOST, least=0)
        check_between("places", register.places, 1, protocol.PLACES_MOST)
        check_between("types", len(register.types), 1, protocol.TYPES_MOST)
        _check_name("application", register.application, protocol.NAME_LENGTH_MOST, least=0)
        _check_name("supervisor", register.supervisor, protocol.ID_LENGTH_MOST, least=0)
        check_between("reports", register.reports, 0, protocol.NUMBER_MOST)
        for name in register.types:
            _check_name("types", name, protocol.TYPE_LENGTH_MOST)
        session = NewSession(
            id=new_id(),
            name=register.name,
            types=tuple(register.types),
            places=register.places,
            local=register.local and key_id is None,
            key_id=key_id,
            version=register.version,
            application=register.application,
            supervisor=register.supervisor,
            reports=register.reports,
            lease_ms=round(self._settings.lease_seconds * 1000),
        )
        await self._store.sessions.open(session)
        self._parking.know(session.id, session.types, key_id)
        return _answer(
            protocol.Registered(
                session=session.id,
                lease_seconds=self._settings.lease_seconds,
                renew_seconds=self._settings.renew_seconds,
            )
        )

    async def fail_starts(self, request: Request, key_id: WorkerKey) -> Answer:
        """Count starts of workers that failed."""
        failed = await self._read(request, _starts_failed)
        _check_name("supervisor", failed.supervisor, protocol.ID_LENGTH_MOST)
        check_between("number", failed.number, 1, protocol.NUMBER_MOST)
        _check_name("host", failed.host, protocol.NAME_LENGTH_MOST)
        _check_name("application", failed.application, protocol.NAME_LENGTH_MOST)
        _check_name("cause", failed.cause, protocol.CAUSE_LENGTH_MOST, least=0)
        _check_name("version", failed.version, protocol.NAME_LENGTH_MOST, least=0)
        check_between("failures", failed.failures, 0, protocol.STARTS_MOST)
        report = FailedStartReport(
            supervisor=failed.supervisor,
            number=failed.number,
            host=failed.host,
            application=failed.application,
            cause=failed.cause,
            failures=failed.failures,
            key_id=key_id,
            version=failed.version,
        )
        await self._store.failed_starts.report(report)
        return _answer(protocol.StartsNoted())

    async def exchange(self, request: Request, key_id: WorkerKey) -> Answer | Stream:
        """Settle the reports, and grant leases or wait for some."""
        body = await request.body(self._exchange_most)
        asked, exchange = await request.read(
            len(body), _read_exchange, body, self._result_most, key_id, self._store.now()
        )
        del body  # The wait may be long.
        if not exchange.reports:
            request.release()
        settled = await self._parking.exchange(exchange, wait_seconds=asked.wait_seconds, gone=request.gone)
        leases = settled.reply.leases
        answer = protocol.ExchangeAnswer(
            verdicts=list(settled.reply.verdicts),
            cancel=list(settled.cancel),
            kept=settled.kept,
            kept_by=settled.kept_by,
            draining=settled.draining,
        )
        if sum(len(lease.payload) for lease in leases) > PIECE_BYTES:
            return Stream(in_pieces(answer, leases), content_type=b"application/json")
        answer.leases = [lease_body(lease) for lease in leases]
        return _answer(answer)

    async def renew(self, request: Request, key_id: WorkerKey) -> Answer:
        """Keep a session alive."""
        [session_id] = request.parameters
        _check_name("session", session_id, protocol.ID_LENGTH_MOST)
        renew = await self._read(request, _renew)
        _check_ids("leases", renew.leases)
        _check_ids("exchanges", renew.exchanges)
        _check_ids("withdrawn", renew.withdrawn)
        self._parking.withdraw(session_id, renew.withdrawn, key_id)
        renewal = await self._store.sessions.renew(
            session_id, leases=renew.leases, exchanges=renew.exchanges, withdrawn=renew.withdrawn, key_id=key_id
        )
        return _answer(protocol.Renewed(cancel=renewal.canceled, drain=renewal.draining or UNSET))

    async def end(self, request: Request, key_id: WorkerKey) -> Answer:
        """End a session and return its leases."""
        [session_id] = request.parameters
        _check_name("session", session_id, protocol.ID_LENGTH_MOST)
        end = await self._read(request, _end)
        _check_ids("overdue", end.overdue)
        try:
            reason = LossReason(end.reason)
        except ValueError as error:
            raise ValidationRefused.at("reason", f"must be one of {', '.join(LossReason)}") from error
        returned = await self._store.sessions.end(session_id, reason=reason, overdue=end.overdue, key_id=key_id)
        self._parking.forget(session_id, key_id)
        return _answer(protocol.Ended(returned=returned))

    async def _read(self, request: Request, decoder: "Decoder[Message]") -> Message:
        body = await request.body(CONTROL_BYTES_MOST)
        return await request.read(len(body), read_workers_message, decoder, body)

    routes: ClassVar[Routes] = (
        Route("POST", "/worker/v1/exchange", exchange),
        Route("POST", "/worker/v1/failed-starts", fail_starts),
        Route("POST", "/worker/v1/sessions", register),
        Route("POST", "/worker/v1/sessions/{session}/renew", renew),
        Route("DELETE", "/worker/v1/sessions/{session}", end),
    )


# Reading and writing the protocol ------------------------------------------------------------------------------------


async def in_pieces(answer: protocol.ExchangeAnswer, leases: Sequence[Lease]) -> AsyncGenerator[bytes, None]:
    """Yield the text of an answer with these leases. Other requests have their turn between two pieces.

    A worker with hundreds of places may get hundreds of payloads of the largest size.
    """
    head, tail = protocol.encode(answer).split(b'"leases":[]', 1)
    piece = bytearray(head + b'"leases":[')
    for number, lease in enumerate(leases):
        if len(piece) > PIECE_BYTES:
            yield bytes(piece)
            await asyncio.sleep(0)
            piece.clear()
        piece += b"," * bool(number) + protocol.encode(lease_body(lease))
    yield bytes(piece + b"]" + tail)


def _answer(message: object) -> Answer:
    return Answer(protocol.encode(message))


def _read_exchange(
    body: bytes, result_most: int, key_id: WorkerKey, now: int
) -> tuple[protocol.ExchangeRequest, Exchange]:
    asked = read_workers_message(_exchange, body) if len(body) <= CUT_BYTES else _read_cut(body)
    _check_name("session", asked.session, protocol.ID_LENGTH_MOST)
    _check_name("id", asked.id, protocol.ID_LENGTH_MOST)
    check_between("places", asked.places, 0, protocol.PLACES_MOST)
    check_between("wait_seconds", asked.wait_seconds, 0, protocol.WAIT_SECONDS_MOST)
    check_between("reports", len(asked.reports), 0, protocol.REPORTS_MOST)
    check_between("progress", len(asked.progress), 0, protocol.PLACES_MOST)
    reports = tuple([_checked_report(report, result_most) for report in asked.reports])
    progress = tuple([_progress(said, now) for said in asked.progress])
    exchange = Exchange(
        session_id=asked.session, id=asked.id, places=asked.places, reports=reports, progress=progress, key_id=key_id
    )
    return asked, exchange


def _read_cut(body: bytes) -> protocol.ExchangeRequest:
    """Read a large exchange in parts: first without its large reports, then each of them."""
    parts: list[bytes] = []
    cut: list[tuple[int, int]] = []
    at = 0
    try:
        for start, end in containers(body, 3):
            if end - start > CUT_BYTES:
                parts += [body[at:start], b"[%d]" % len(cut)]
                cut.append((start, end))
                at = end
    except ValueError as error:
        raise ValidationRefused.at("body", "is not valid JSON") from error
    asked = read_workers_message(_cut_exchange, b"".join([*parts, body[at:]]))
    numbers = [report[0] for report in asked.reports if isinstance(report, tuple)]
    if numbers != list(range(len(cut))):
        raise ValidationRefused.at("reports", "must be objects")
    large = (read_workers_message(_report, body[start:end]) for start, end in cut)
    asked.reports = [next(large) if isinstance(report, tuple) else report for report in asked.reports]
    return asked


def _checked_report(report: protocol.ReportBody, result_most: int) -> Report:
    _check_name("reports.lease", report.lease, protocol.ID_LENGTH_MOST)
    _check_text("reports.cause", report.cause)
    if len(memoryview(report.result)) > result_most:
        raise ValidationRefused.at("reports.result", f"must be of at most {result_most} bytes")
    if report.pause_seconds is not None:
        check_between("reports.pause_seconds", report.pause_seconds, 0, protocol.PAUSE_SECONDS_MOST)
    if report.failure is not None:
        _check_name("reports.failure.code", report.failure.code, protocol.CODE_LENGTH_MOST)
        _check_text("reports.failure.message", report.failure.message)
        size = len(protocol.encode(report.failure.details))
        check_between("reports.failure.details", size, 0, protocol.DETAILS_BYTES_MOST)
    if report.reason not in _HOW:
        raise ValidationRefused.at("reports.reason", "must be overdue, lost or empty")
    if report.origin is not None:
        _check_name("reports.origin.exception", report.origin.exception, protocol.ORIGIN_LENGTH_MOST, least=0)
        _check_name("reports.origin.place", report.origin.place, protocol.ORIGIN_LENGTH_MOST, least=0)
        check_between("reports.origin.line", report.origin.line, 0, protocol.LINE_MOST)
    return Report(report.lease, _ending(report))


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


def _progress(said: protocol.ProgressBody, now: int) -> tuple[str, Progress]:
    _check_name("progress.lease", said.lease, protocol.ID_LENGTH_MOST)
    check_between("progress.done", said.done, 0, protocol.PROGRESS_MOST)
    check_between("progress.total", 0 if said.total is None else said.total, 0, protocol.PROGRESS_MOST)
    if said.note is not None:
        _check_text("progress.note", said.note, protocol.NOTE_LENGTH_MOST)
    return said.lease, Progress(done=said.done, total=said.total, note=said.note, at=now)


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
    origin = report.origin
    return Failed(
        cause=report.cause,
        failure=None if shown is None else Failure(code=shown.code, message=shown.message, details=shown.details),
        retry=report.retry,
        pause_ms=None if pause_seconds is None else round(pause_seconds * 1000),
        how=_HOW[report.reason],
        origin=None if origin is None else Origin(origin.exception, origin.place, origin.line),
    )


def _check_name(field: str, text: str, most: int, *, least: int = 1) -> None:
    if not (least <= len(text) <= most and text.isprintable()):
        raise ValidationRefused.at(field, f"must be {least} to {most} printable characters")


def _check_text(field: str, text: str, most: int = protocol.TEXT_LENGTH_MOST) -> None:
    if len(text) > most or "\0" in text:
        raise ValidationRefused.at(field, f"must be at most {most} characters, without NUL")


def _check_ids(field: str, ids: list[str]) -> None:
    check_between(field, len(ids), 0, protocol.HELD_MOST)
    for one in ids:
        _check_name(field, one, protocol.ID_LENGTH_MOST)


def lease_body(lease: Lease) -> protocol.LeaseBody:
    """Return a lease as the protocol writes it."""
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
