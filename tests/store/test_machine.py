"""Random walks over the store find no difference from the reference, and find the faults that we plant.

FAIRLANE_TEST_WALKS is the number of walks (60); set it to some thousands for a long night.
"""

import inspect
import os
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from fairlane.store import calls, leases, locked, tasks
from tests.store.databases import DATABASES
from tests.store.machine import StoreMachine

WALKS = int(os.environ.get("FAIRLANE_TEST_WALKS", "60"))

walks = settings(
    max_examples=WALKS,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    report_multiple_bugs=False,
)

FAULTS: dict[str, tuple[ModuleType, str, str, str]] = {
    "settles for whoever asks": (leases, "settle", " and lease.session_id == session_id", ""),
    "promotes and goes on counting it as waiting": (
        tasks, "promote", "organization.stop_waiting(task_type, rank)", "pass",
    ),
    "clears and keeps the keys": (
        tasks, "clear", 'yield from rows_if("delete_idempotency", keys, keys=keys)', "",
    ),
    "forgets that it was canceled": (leases, "end_leases", "lease.canceled_at is not None", "False"),
    "takes a batch for which there is no room": (tasks, "_refusal_of_all", "if not room:", "if room:"),
    "claims again for an exchange that was answered": (leases, "_answered", "return answered", "return {}"),
    "overlooks the oldest task": (leases, "_lanes", "lane.head_seq))", "lane.head_seq + 1))"),
    "charges twice": (leases, "_outcome", "organization.spend(lease.cost)", "organization.spend(2 * lease.cost)"),
    "charges what failed": (leases, "_outcome", "organization.failed += 1", "organization.spend(lease.cost)"),
    "charges at the claim": (leases, "_lease", "organization.hold(cost)", "organization.spend(cost)"),
    "forgets to release what was held": (leases, "end_leases", "organization.release(lease.cost)", "pass"),
    "starts what others hold the credits for": (
        leases, "_paid", "organization.can_hold(holds[pick.organization_id] + cost)", "True",
    ),
    "fails what only has to wait": (
        leases, "_paid", "not organization.can_pay(cost)", "not organization.can_hold(cost)",
    ),
    "runs tasks ahead of calls": (leases, "claim", "shares.places, types, one", "{}, types, one"),
    "lets an abandoned call go on": (calls, "end_calls", "if call is None or not call.wanted", "if call is None"),
    "gives a call's slot up between attempts": (
        calls, "end_calls", 'organization.ready_call(lease.task_type)', "organization.end_call()",
    ),
    "ignores the room of a type": (calls, "begin_calls", "room = yield from rooms_left(limits)", "room = {}"),
    "counts what is handed back as an attempt": (leases, "aftermath", "Requeued(attempt - 1)", "Requeued(attempt)"),
}  # fmt: skip


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", sorted(DATABASES))
def test_no_walk_differs_from_the_reference(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is submitted, claimed, settled, lost, changed and restarted in whatever order: I2, I3, I4, I7 and I9."""
    monkeypatch.setattr(StoreMachine, "kind", kind)

    run_state_machine_as_test(StoreMachine, settings=walks)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walks bite: a store with this fault does not get through a few of them."""
    module, name, old, new = FAULTS[fault]
    monkeypatch.setattr(module, name, mutant(getattr(module, name), old, new))

    _fails()


def test_calls_that_are_not_counted_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots that only tasks take: the walks see it."""
    monkeypatch.setattr(locked.LockedOrganization, "used", lambda one: one.processing)

    _fails()


def test_a_claim_that_ignores_slots_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """More starts than there are slots: the walks see it."""
    monkeypatch.setattr(locked.LockedOrganization, "slots_free", lambda one: 0 if one.stopped() else 50)

    _fails()


def _fails() -> None:
    short = settings(walks, max_examples=200, phases=[Phase.generate], derandomize=True)
    with pytest.raises(Exception) as caught:
        run_state_machine_as_test(StoreMachine, settings=short)
    assert not isinstance(caught.value, TypeError | NameError | AttributeError), caught.value


def mutant(function: Any, old: str, new: str) -> Any:
    """The same function with one piece of its source replaced."""
    source = inspect.getsource(function)
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in {function.__name__}"
    names = dict(vars(inspect.getmodule(function)))
    exec(source.replace(old, new or "pass" if old.startswith("yield") else new), names)
    return names[function.__name__]
