"""Whether a clock was set."""

JUMP_MS = 2_000
"""Tolerance: a clock was set if its time differs by more than this from the time that passed."""


def step_back(now: int, even_until: int) -> int:
    """Return how far a clock went back while no server ran, at least, or 0.

    Until ``even_until`` a server saw it run; a step forward cannot be told from the time that passed.
    """
    return now - even_until if even_until - now > JUMP_MS else 0


def jump_of(went_ms: int, *, passed_ms: tuple[int, int], since_even_ms: int) -> int:
    """Return how far a clock was set, or 0 if it was not.

    The clock advanced by ``went_ms`` while between least and most ``passed_ms`` passed here. Returns 0 also if another
    server saw the clock run normally more recently (``since_even_ms`` ago) than the jump is long: then this process was
    suspended.
    """
    least, most = passed_ms
    jumped = went_ms - most if went_ms > most else min(0, went_ms - least)
    if abs(jumped) <= JUMP_MS or since_even_ms < jumped - JUMP_MS:
        return 0
    return jumped
