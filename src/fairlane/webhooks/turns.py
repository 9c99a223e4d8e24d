"""Which organization's try is next at this server: what the sender remembers between its claims.

Kept by the sender, passed to the store with each claim as a :class:`~fairlane.rules.SenderState`. Has no clock and
does no I/O. Losing it changes only the order of tries.
"""

from dataclasses import dataclass

from fairlane.bounded import Bounded
from fairlane.model.webhooks import Claimed
from fairlane.rules.deliveries import HANGING_MS, Addressed, DeliveryLimits, SenderState
from fairlane.rules.fairness import FIRST_ESTIMATE_MS, next_estimate, service

REMEMBERED_MOST = 10_000
"""Most organizations, and most hanging hosts, that are remembered; the oldest are forgotten."""


@dataclass(slots=True)
class TryPlace:
    """The place of one running try."""

    organization_id: int
    host: str
    reserved: bool
    """Whether it is a place of the reserve."""
    charged: int
    """The virtual time that its organization paid when it began."""
    size: int = 0
    """How many bytes of its body are in memory, until it is written."""


class TryTurns:
    """Virtual times of organizations, and the places that are taken."""

    def __init__(self, limits: DeliveryLimits) -> None:
        self._limits = limits
        self._virtual_time = 0
        self._tags: Bounded[int, int] = Bounded(REMEMBERED_MOST)
        self._estimates_ms: Bounded[int, float] = Bounded(REMEMBERED_MOST)
        self.places: dict[int, TryPlace] = {}
        """Of the running tries."""
        self._hanging: Bounded[Addressed, None] = Bounded(REMEMBERED_MOST)
        self._organizations_after = 0
        self._hosts_after: Bounded[int, str] = Bounded(REMEMBERED_MOST)

    @property
    def full(self) -> bool:
        """Return whether every place is taken."""
        return len(self.places) >= self._limits.total + self._limits.reserve

    def state(self) -> SenderState:
        """Return what a claim needs to know now."""
        return SenderState(
            limits=self._limits,
            under_way=[(one.organization_id, one.host, one.reserved, one.size) for one in self.places.values()],
            virtual_time=self._virtual_time,
            tags=self._tags.copy(),
            estimates_ms=self._estimates_ms.copy(),
            hanging=self._hanging.copy(),
            organizations_after=self._organizations_after,
            hosts_after=self._hosts_after.copy(),
        )

    def claimed(self, claimed: Claimed) -> None:
        """Remember where the next claim continues."""
        self._organizations_after = claimed.organizations_after
        for organization_id, host in claimed.hosts_after.items():
            if host:
                self._hosts_after[organization_id] = host
            else:
                self._hosts_after.pop(organization_id, None)

    def begin(self, organization_id: int, host: str, size: int = 0) -> TryPlace:
        """Take a place for a try that begins now."""
        tag = max(self._virtual_time, self._tags.get(organization_id, 0))
        charged = service(round(self._estimates_ms.get(organization_id, FIRST_ESTIMATE_MS)), 1)
        unreserved = sum(not one.reserved for one in self.places.values())
        place = TryPlace(organization_id, host, unreserved >= self._limits.total, charged, size)
        self._virtual_time = tag
        self._tags[organization_id] = tag + charged
        self.places[id(place)] = place
        return place

    def end(self, place: TryPlace, took_ms: int) -> None:
        """Free the place. The organization pays for the actual duration of the try instead of the estimate."""
        del self.places[id(place)]
        organization_id = place.organization_id
        paid = self._tags.get(organization_id, self._virtual_time)
        self._tags[organization_id] = paid + service(took_ms, 1) - place.charged
        self._estimates_ms[organization_id] = next_estimate(self._estimates_ms.get(organization_id), took_ms)
        if took_ms >= HANGING_MS:
            self._hanging[organization_id, place.host] = None
        else:
            self._hanging.pop((organization_id, place.host), None)
