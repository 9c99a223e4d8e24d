"""Durable memory: every change of a task's status happens here and nowhere else."""

from fairlane.store.effects import Effects
from fairlane.store.moving import Moved
from fairlane.store.schema import Schema
from fairlane.store.statements import CHUNK
from fairlane.store.store import Store, new_id
from fairlane.store.trail import AuditFilter

__all__ = ["CHUNK", "AuditFilter", "Effects", "Moved", "Schema", "Store", "new_id"]
