"""The exception of a command that cannot do what was asked."""

from typing import Any

from fairlane.errors import SetupError


class CommandFailed(SetupError):
    """The command was understood but failed. The message and the details go to stderr; the exit code is 1."""

    def __init__(self, message: str, *, details: Any = None, status: int | None = None) -> None:
        super().__init__(message)
        self.details = details
        self.status = status
        """HTTP status of the answer, or None if there was none."""
