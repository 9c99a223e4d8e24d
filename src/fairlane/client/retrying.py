"""When a request is repeated, and what its answer means if it is not."""

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random

from msgspec import Struct

from fairlane.client.answers import read_error
from fairlane.client.effects import Ask, Pause, Response, Steps, send
from fairlane.client.errors import ApiError, NoAnswer, error_class

FIRST_PAUSE_SECONDS = 0.25
PAUSE_MOST_SECONDS = 8.0
RETRY_AFTER_MOST_SECONDS = 60.0
"""Longest pause, in seconds, even if the server asks for more."""
BODY_SHOWN = 200


class Policy(Struct, frozen=True, kw_only=True):
    """How often a request is repeated, and how the pauses in between vary."""

    retries: int = 5
    on_retry: Callable[[NoAnswer | ApiError, float], object] | None = None
    """Called before each pause with what went wrong and the seconds until the next try."""
    chance: Callable[[], float] = Random().random  # noqa: S311 - spreads load, guards nothing


def exchange(ask: Ask, policy: Policy) -> Steps[Response]:
    """Send a request, and repeat it where that does no harm and may help, until it succeeds.

    Raises:
        NoAnswer: no answer came.
        ApiError: the API refused.
    """
    number = 0
    while True:
        answer = yield from send(ask)
        if isinstance(answer, Response) and 200 <= answer.status < 300:
            return answer
        error = answer if isinstance(answer, NoAnswer) else api_error(answer)
        number += 1
        if number > policy.retries or not is_worth_repeating(error, repeatable=ask.repeatable):
            raise error
        seconds = pause_seconds(error, number, policy.chance())
        if policy.on_retry is not None:
            policy.on_retry(error, seconds)
        yield Pause(seconds)


def is_worth_repeating(error: NoAnswer | ApiError, *, repeatable: bool) -> bool:
    """Return whether the same request may succeed a little later, and does no harm if the first one arrived."""
    if isinstance(error, NoAnswer):
        return repeatable or not error.sent
    if error.code == "RATE_LIMIT_EXCEEDED" or error.status == 503:
        return True  # The server did nothing.
    return repeatable and error.status in (500, 502, 504)


def pause_seconds(error: NoAnswer | ApiError, number: int, chance: float) -> float:
    """Return the pause that the server asks for, or between half and all of a pause that doubles with each try."""
    asked = error.retry_after_seconds if isinstance(error, ApiError) else None
    if asked is not None:
        return min(asked, RETRY_AFTER_MOST_SECONDS)
    full: float = min(FIRST_PAUSE_SECONDS * 2 ** min(number - 1, 30), PAUSE_MOST_SECONDS)
    return full * (0.5 + chance / 2)


def api_error(answer: Response) -> ApiError:
    """Return an unsuccessful answer as an exception."""
    error = read_error(answer.body)
    code = f"HTTP_{answer.status}" if error is None else error.code
    if error is None:
        message = answer.body[:BODY_SHOWN].decode(errors="replace") or "no explanation was given"
    else:
        message = error.message
    return error_class(answer.status, code)(
        message,
        code=code,
        status=answer.status,
        details=None if error is None else error.details,
        request_id=answer.headers.get("x-request-id"),
        retry_after_seconds=_retry_after(answer),
    )


def _retry_after(answer: Response) -> float | None:
    """Return how long to wait: a number of seconds, or the time from the answer's own date to a later one."""
    value = answer.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit() and len(value) < 10:
        return float(value)
    try:  # Both in UTC, as HTTP requires.
        until, now = (
            parsedate_to_datetime(text).replace(tzinfo=UTC) for text in (value, answer.headers.get("date", ""))
        )
    except (TypeError, ValueError):
        return None
    seconds = (until - now).total_seconds()
    return seconds if seconds > 0 else None
