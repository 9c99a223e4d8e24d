"""The command line of fairlane. ``main`` is the ``fairlane`` script.

Commands import heavy modules when they run, so that ``fairlane --help`` stays quick. They do not use the store
themselves: everything about organizations, plans and keys goes through the admin API (:mod:`fairlane.admin`).
Only commands for the database as a whole, before any server uses it, call the store directly (``migrate``, ``move``).
"""

from fairlane.cli.program import main

__all__ = ["main"]
