"""The command line of fairlane. ``main`` is the ``fairlane`` script.

The module of a command is imported when the command is called, so that ``fairlane --help`` stays quick. Commands do not
use the store themselves: everything about organizations, plans and keys goes through the admin API (room ``admin``).
Only commands for the database as a whole, before any server uses it, call the store directly (``migrate``, ``move``).
"""

from fairlane.cli.program import main

__all__ = ["main"]
