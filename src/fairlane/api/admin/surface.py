"""The operator's surface: the endpoint of each route, and the guards."""

from collections.abc import Callable, Sequence

from fairlane.api.admin.backups import BackupEndpoints
from fairlane.api.admin.capacity import AdminCapacityEndpoints
from fairlane.api.admin.credits import GrantEndpoints
from fairlane.api.admin.failures import AdminFailureEndpoints
from fairlane.api.admin.fleet import FleetEndpoints
from fairlane.api.admin.hosts import HostEndpoints
from fairlane.api.admin.installation import InstallationEndpoints, ServerFacts
from fairlane.api.admin.keys import KeyEndpoints
from fairlane.api.admin.lanes import LaneEndpoints
from fairlane.api.admin.organizations import OrganizationEndpoints
from fairlane.api.admin.overview import OverviewEndpoints
from fairlane.api.admin.plans import PlanEndpoints
from fairlane.api.admin.tasks import AdminTaskEndpoints
from fairlane.api.admin.trace import TraceEndpoints
from fairlane.api.admin.usage import AdminUsageEndpoints
from fairlane.api.admin.webhook_secrets import SecretRules, WebhookSecretEndpoints
from fairlane.api.bodies import OPERATORS
from fairlane.api.http import Request
from fairlane.api.keys import HolderGuard
from fairlane.api.routes import Endpoints, Guard, Part, Surface, resources
from fairlane.model.keys import KeyKind
from fairlane.rules.deliveries import SenderState
from fairlane.store import Store

PREFIX = "/admin/v1"


def admin_part(
    store: Store,
    *,
    facts: Callable[[], ServerFacts],
    sending: Callable[[], SenderState | None],
    secret_rules: SecretRules,
    guard: Guard[str],
) -> Part[str]:
    """Return the operator's routes behind this guard; the wiring decides where they are served.

    ``sending`` returns the state of this server's sender, or None if it has none.
    """
    served: list[Endpoints] = [
        OrganizationEndpoints(store),
        KeyEndpoints(store),
        WebhookSecretEndpoints(store, secret_rules),
        GrantEndpoints(store),
        AdminCapacityEndpoints(store),
        PlanEndpoints(store),
        AdminTaskEndpoints(store),
        InstallationEndpoints(store, facts),
        AdminUsageEndpoints(store),
        AdminFailureEndpoints(store),
        FleetEndpoints(store, facts),
        OverviewEndpoints(store, facts),
        LaneEndpoints(store),
        HostEndpoints(store, sending),
        TraceEndpoints(store),
    ]
    return Part(PREFIX, guard, resources(served, lambda path: guard))


def admin_surface(
    store: Store,
    *,
    facts: Callable[[], ServerFacts],
    sending: Callable[[], SenderState | None] = lambda: None,
    secret_rules: SecretRules,
    local: Sequence[Endpoints] = (),
) -> Surface:
    """Return the application behind the admin socket; also called in process when no server runs.

    ``local`` are endpoints that only a running server has, and only here.
    """
    part = admin_part(store, facts=facts, sending=sending, secret_rules=secret_rules, guard=operator)
    here = Part(PREFIX, operator, resources([BackupEndpoints(store), *local], lambda path: operator))
    return Surface([part, here], clock=store.now)


async def operator(request: Request) -> str:
    """Let every request pass on the admin socket, and return the actor.

    The permissions of its directory decide which processes may open the socket.
    """
    request.holder = OPERATORS
    client = request.client or ""
    return f"admin socket {client}" if client.startswith("uid=") else "operator"


class AdminKeyGuard:
    """The guard over TCP: an admin key."""

    def __init__(self, store: Store) -> None:
        self._guard = HolderGuard(store, KeyKind.ADMIN)

    async def __call__(self, request: Request) -> str:
        """Return the actor. Raises as every guard of keys does."""
        holder = await self._guard(request)
        return f"admin key {holder.name} ({holder.key_id})"
