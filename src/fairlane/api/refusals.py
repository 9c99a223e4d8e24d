"""The only place where an exception becomes an answer."""

import logging
from collections.abc import Callable

from fairlane import wire
from fairlane.api.http import CLOSE, Answer, Header
from fairlane.errors import BodyTooLarge, EncodingRefused, Refusal, StoreFault, StoreUnreachable, Unavailable

logger = logging.getLogger(__name__)

IDENTITY = (b"accept-encoding", b"identity")
"""The encodings that a body may have: none."""
WallClock = Callable[[], int]
"""Milliseconds since the Unix epoch."""


def answer_exception(
    error: Exception, *, request_id: str, clock: WallClock, headers: tuple[Header, ...] = ()
) -> Answer:
    """Return the envelope for a refusal, a fault, or an error of our own code.

    Refusals are not logged. Everything else is logged once, with the id that the caller sees in ``X-Request-ID``.
    """
    if isinstance(error, Refusal):
        return _refused(error, clock, headers)
    if isinstance(error, StoreUnreachable):
        # The store has already logged it once; a line for each request of an outage would bury it.
        return _refused(Unavailable(), clock, headers)
    if isinstance(error, StoreFault):
        logger.error("store.failed", extra={"request_id": request_id, "cause": str(error)}, exc_info=error)
        return _refused(Unavailable(), clock, headers)
    logger.error("request.failed", extra={"request_id": request_id}, exc_info=error)
    return Answer(wire.envelope("INTERNAL_SERVER_ERROR", "Internal server error", at=clock()), 500, headers)


def _refused(refusal: Refusal, clock: WallClock, headers: tuple[Header, ...]) -> Answer:
    if refusal.retry_after_seconds is not None:
        headers += ((b"retry-after", str(refusal.retry_after_seconds).encode()),)
    if isinstance(refusal, EncodingRefused):
        headers += (IDENTITY,)
    if isinstance(refusal, BodyTooLarge):
        # The rest of the body must not be read as the next request.
        headers += (CLOSE,)
    return Answer(wire.error_body(refusal, at=clock()), refusal.status, headers)
