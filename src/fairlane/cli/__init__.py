"""The command line of fairlane. ``main`` is the ``fairlane`` script.

Commands import what is heavy when they run, so that ``fairlane --help`` stays quick. They never touch the store
themselves: everything about organizations, plans and keys goes through the admin API (:mod:`fairlane.cli.connection`).
Only what is about the database as a whole, before anybody serves it, asks the store directly (``migrate``, ``move``).
"""

from fairlane.cli.program import main

__all__ = ["main"]
