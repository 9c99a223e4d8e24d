"""When an alert fires and when it recovers."""

from fairlane.model.alerts import Alert

RECOVERY_MS_LEAST = 30_000
"""Minimum time at or below the threshold before recovery is reported, even if the rule's own time is shorter."""


def judge_alert(alert: Alert, value: float | None, now: int) -> tuple[bool, int | None]:
    """Return (firing, since) of an alert with this value.

    The state changes only after the value stayed on the other side for the rule's whole time, so a value that swings
    around the threshold causes no messages.
    """
    if value is None:
        return alert.firing, alert.since
    if (value > alert.rule.threshold) == alert.firing:
        return alert.firing, None
    since = now if alert.since is None else min(alert.since, now)
    needed_ms = max(alert.rule.for_ms, RECOVERY_MS_LEAST) if alert.firing else alert.rule.for_ms
    return (not alert.firing, None) if now - since >= needed_ms else (alert.firing, since)
