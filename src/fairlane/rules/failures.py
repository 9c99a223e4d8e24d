"""Which failures have the same cause: a group has an id that follows from what its failures have in common.

The place is the innermost line of the application's own code, without its number, which every edit would move. So a
fault keeps its group when the code around it changes.
"""

from hashlib import blake2b

from msgspec import Struct

from fairlane.model.attempts import AttemptEnding
from fairlane.model.leases import Origin
from fairlane.model.tasks import Failure
from fairlane.rules.attempts import EXHAUSTED

OTHER = "fg_other"
"""The group of failures for which an organization has no room in an hour."""
HOUR_MS = 3_600_000
UNKNOWN = Origin(exception="", place="", line=0)


class Fingerprint(Struct, frozen=True):
    """What the failures of one group have in common. Texts are empty where nothing is known."""

    task_type: str
    code: str
    ending: AttemptEnding
    exception: str
    """The class of the exception."""
    place: str
    """The innermost function of the application, as ``module:function``."""

    def group(self) -> str:
        """Return the id of the group: the same on every server, for every organization, and at any time."""
        text = "\0".join((self.task_type, self.code, self.ending, self.exception, self.place))
        return f"fg_{blake2b(text.encode(), digest_size=8).hexdigest()}"


def fingerprint_of(
    task_type: str, ending: AttemptEnding, failure: Failure | None, origin: Origin | None = None
) -> Fingerprint | None:
    """Return the fingerprint of an attempt that failed, or None if it did not fail, or was canceled.

    An attempt that another one follows has the fingerprint that it would have as the last one.
    """
    if ending not in (AttemptEnding.FAILED, AttemptEnding.TIMED_OUT, AttemptEnding.WORKER_LOST):
        return None
    found = origin or UNKNOWN
    return Fingerprint(task_type, (failure or EXHAUSTED).code, ending, found.exception, found.place)


def hour_of(moment: int) -> int:
    """Return the number of the hour of a moment, since 1970."""
    return moment // HOUR_MS
