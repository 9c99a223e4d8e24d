"""When an alert fires and when it recovers."""

from fairlane.model.alerts import Alert

RECOVERY_MS_LEAST = 30_000
"""Minimum time at or below the threshold before recovery is reported, even if the rule's own time is shorter."""


def judge_alert(alert: Alert, value: float | None, now: int) -> tuple[bool, int | None]:
    """Return (firing, since) of an alert with this value."""
    above = None if value is None else value > alert.rule.threshold
    needed_ms = max(alert.rule.for_ms, RECOVERY_MS_LEAST) if alert.firing else alert.rule.for_ms
    return judge(above, firing=alert.firing, since=alert.since, needed_ms=needed_ms, now=now)


def judge(above: bool | None, *, firing: bool, since: int | None, needed_ms: int, now: int) -> tuple[bool, int | None]:
    """Return (firing, since) after one look at a value that is ``above`` its threshold; None: it is not known.

    The state changes only after the value stayed on the other side for the whole time, so a value that swings around
    the threshold causes no messages.
    """
    if above is None:
        return firing, since
    if above == firing:
        return firing, None
    since = now if since is None else min(since, now)
    return (not firing, None) if now - since >= needed_ms else (firing, since)
