"""What the operations of one server are given at its start and never change: the application's rules, limits, ids."""

import random
from collections.abc import Callable

from msgspec import Struct, field

from fairlane.model.tasks import Catalogue, TaskRule


def _chance() -> Callable[[], float]:
    return random.Random().random  # noqa: S311 - spreads load, guards nothing


class Config(Struct, frozen=True, kw_only=True):
    """One server's configuration of the store, and its sources of ids and chance."""

    catalogue: Catalogue
    new_id: Callable[[], str]
    """Makes ids that increase with time."""
    new_fences: Callable[[int], list[str]]
    """Makes this many fences: the parts of lease ids that cannot be guessed."""
    retry_pause_ms: int
    kill_grace_ms: int
    renew_ms: int
    claim_most: int
    """Most places one claim fills; the worker asks again for the rest."""
    chance: Callable[[], float] = field(default_factory=_chance)

    def rule(self, task_type: str) -> TaskRule:
        """Return what the application declared of this type, or defaults if it no longer declares it."""
        return self.catalogue.get(task_type) or TaskRule(name=task_type)
