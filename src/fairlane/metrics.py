"""Prometheus: the installation's numbers as text. The only place that imports the metrics package.

Gauges are read from the store for every scrape (at most once in two seconds), so every server reports the same ones.
Counters and histograms belong to each server and start with it: sum them over servers. ``docs/operators/metrics.md``
describes each metric.
"""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from fairlane.model.fleet import Durations, Fleet

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(fleet: Fleet, *, version: str, audited: int, differences: int, workers_failing: bool) -> bytes:
    """Return the text of one scrape.

    This server's audit has counted ``audited`` organizations and ``differences`` so far; ``workers_failing`` says
    whether none of its own workers can start.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(
        _Collected(
            [*_gauges(fleet), *_counters(fleet, audited, differences), _failing(workers_failing), _info(version)]
        )
    )
    return generate_latest(registry)


class _Collected(Collector):
    """Metric families that are already collected."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        """Return all of them."""
        return self._families


def _gauges(fleet: Fleet) -> Iterator[Metric]:
    tasks = GaugeMetricFamily("fairlane_tasks", "Tasks now, by type and state.", labels=["task_type", "state"])
    oldest = GaugeMetricFamily(
        "fairlane_oldest_queued_seconds",
        "For how long the oldest ready task of a type could have started (since it was accepted, or its runAt); "
        "absent if none is ready.",
        labels=["task_type"],
    )
    unserved = GaugeMetricFamily(
        "fairlane_tasks_unserved", "Ready tasks of types that no live worker serves.", labels=["task_type"]
    )
    calls = GaugeMetricFamily("fairlane_calls", "Calls now, by type.", labels=["task_type"])
    for name, load in fleet.loads.items():
        for state, count in (("ready", load.ready), ("waiting", load.waiting), ("processing", load.processing)):
            tasks.add_metric([name, state], count)
        calls.add_metric([name], load.calls)
        unserved.add_metric([name], 0 if load.served else load.ready)
        if load.oldest_ready_ms is not None:
            oldest.add_metric([name], load.oldest_ready_ms / 1000)
    yield from (tasks, oldest, unserved, calls)
    for name, text, value in (
        (
            "fairlane_tasks_runnable",
            "Ready tasks that have a free slot: what more workers would start, but for limits of types and credits.",
            fleet.runnable,
        ),
        ("fairlane_calls_ready", "Calls that have their slot and wait for a worker's place.", fleet.calls_ready),
        ("fairlane_slots_used", "Slots in use, over all organizations.", fleet.slots_used),
        ("fairlane_slots_max", "Slots of all organizations together.", fleet.slots_max),
        ("fairlane_workers", "Live worker processes.", fleet.workers),
        ("fairlane_worker_places", "Places of all live workers.", fleet.places),
        ("fairlane_worker_places_used", "Those of them that are taken.", fleet.places_used),
        ("fairlane_organizations", "Organizations.", fleet.organizations),
        (
            "fairlane_organizations_drifted",
            "Organizations whose counts were found to differ from their rows and are not repaired: must be 0.",
            fleet.organizations_drifted,
        ),
        ("fairlane_webhook_deliveries_open", "Webhook messages that are owed and not final.", fleet.deliveries_open),
        (
            "fairlane_webhook_hosts_failing",
            "Hosts of webhooks, with their ports, with a last try that failed; at most 1000.",
            fleet.hosts_failing,
        ),
        ("fairlane_bulks_running", "Requests to run again or cancel many tasks; at most 1000.", fleet.bulks_running),
        (
            "fairlane_worker_starts_failing",
            "Applications of which no worker can start on a machine, each machine counted: must be 0.",
            len(fleet.failed_starts),
        ),
        (
            "fairlane_worker_starts_failed",
            "Starts of workers that failed on these machines since they began to fail.",
            sum(one.failures for one in fleet.failed_starts),
        ),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def _counters(fleet: Fleet, audited: int, differences: int) -> Iterator[Metric]:
    finished = CounterMetricFamily(
        "fairlane_tasks_finished",
        "Tasks that ended at this server, by type and outcome.",
        labels=["task_type", "outcome"],
    )
    waits = HistogramMetricFamily(
        "fairlane_task_wait_seconds", "From acceptance, or the runAt, to the first start.", labels=["task_type"]
    )
    runs = HistogramMetricFamily("fairlane_task_run_seconds", "How long attempts took.", labels=["task_type"])
    reasons = CounterMetricFamily(
        "fairlane_task_waited_seconds",
        "How long tasks waited for their first start, by reason: every slot in use, or no worker for any task.",
        labels=["task_type", "reason"],
    )
    for name, tally in fleet.tallies.items():
        reasons.add_metric([name, "slot"], tally.slot_wait_seconds)
        reasons.add_metric([name, "worker"], tally.worker_wait_seconds)
        finished.add_metric([name, "completed"], tally.completed)
        finished.add_metric([name, "failed"], tally.failed)
        _add(waits, name, tally.waits)
        _add(runs, name, tally.runs)
    yield from (finished, waits, reasons, runs)
    tries = CounterMetricFamily(
        "fairlane_webhook_deliveries", "Tries of webhook messages by this server, by outcome.", labels=["outcome"]
    )
    for outcome in ("delivered", "failed"):
        tries.add_metric([outcome], fleet.tries.get(outcome, 0))
    yield tries
    yield CounterMetricFamily(
        "fairlane_audit_organizations", "Organizations that this server's self-audit recounted.", value=audited
    )
    yield CounterMetricFamily(
        "fairlane_audit_differences", "Counts that it found to differ from their rows: must stay 0.", value=differences
    )


def _add(family: HistogramMetricFamily, name: str, durations: Durations) -> None:
    buckets = [(_bound(seconds), float(count)) for seconds, count in durations.up_to]
    family.add_metric([name], buckets=[*buckets, ("+Inf", float(durations.count))], sum_value=durations.sum_seconds)


def _bound(seconds: float) -> str:
    return repr(seconds)


def _failing(workers_failing: bool) -> Metric:
    return GaugeMetricFamily(
        "fairlane_workers_failing",
        "1: no worker of this server's own can start; its log and /readyz say why. Must be 0.",
        value=int(workers_failing),
    )


def _info(version: str) -> Metric:
    info = GaugeMetricFamily("fairlane_info", "The version of this server.", labels=["version"])
    info.add_metric([version], 1)
    return info
