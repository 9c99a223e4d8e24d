"""Maintenance of the whole installation: while it is on, no organization's concurrency is shown."""

from fairlane.store.noun import Noun
from fairlane.store.statements import Operation, only, run
from fairlane.store.trail import write_trail
from fairlane.store.transaction import Transaction


class MaintenanceStore(Noun):
    """Whether the operator has put the installation under maintenance."""

    async def on(self) -> bool:
        """Return whether the whole installation is under maintenance."""
        return await self._database.read(find_maintenance())

    async def set(self, on: bool, *, actor: str) -> None:
        """Start or end maintenance."""
        await self._write(_set, on, actor)


def find_maintenance() -> Operation[bool]:
    """Read whether maintenance is on."""
    return bool((yield from only("find_maintenance", into=int)))


def _set(transaction: Transaction, on: bool, actor: str) -> Operation[None]:
    yield from run("update_maintenance", maintenance=int(on))
    yield from write_trail(transaction, actor, "maintenance.changed", "installation", {"on": on})
