"""The operator's surface: the endpoint of each route, and the guards."""

from collections.abc import Callable

from fairlane.api.admin.backups import Backups
from fairlane.api.admin.capacity import Capacities
from fairlane.api.admin.credits import Grants
from fairlane.api.admin.fleet import Fleets
from fairlane.api.admin.installation import Installation, ServerFacts
from fairlane.api.admin.keys import Keys
from fairlane.api.admin.organizations import Organizations
from fairlane.api.admin.plans import Plans
from fairlane.api.admin.tasks import EveryTask
from fairlane.api.admin.trace import Traces
from fairlane.api.admin.usage import Usage
from fairlane.api.admin.webhook_secrets import SecretRules, WebhookSecrets
from fairlane.api.bodies import OPERATORS
from fairlane.api.http import Request
from fairlane.api.keys import HolderGuard
from fairlane.api.routes import Endpoint, Guard, Part, Resource, Surface
from fairlane.model.keys import KeyKind
from fairlane.store import Store

PREFIX = "/admin/v1"


def admin_part(
    store: Store, *, facts: Callable[[], ServerFacts], secret_rules: SecretRules, guard: Guard[str]
) -> Part[str]:
    """Return the operator's routes behind this guard; the wiring decides where they are served."""
    organizations, plans, keys, tasks = Organizations(store), Plans(store), Keys(store), EveryTask(store)
    grants = Grants(store)
    usage, fleets, capacities = Usage(store), Fleets(store, facts), Capacities(store)
    secrets, installation = WebhookSecrets(store, secret_rules), Installation(store, facts)
    table: dict[str, dict[str, Endpoint[str]]] = {
        "organizations": {"GET": organizations.list, "POST": organizations.create},
        "organizations/{}": {"GET": organizations.read, "PATCH": organizations.change, "DELETE": organizations.erase},
        "organizations/{}/keys": {"GET": keys.list_of_organization, "POST": keys.create_for_organization},
        "organizations/{}/webhook-secrets": {
            "GET": secrets.list,
            "POST": secrets.create,
            "DELETE": secrets.revoke_all,
        },
        "organizations/{}/webhook-secrets/{}": {"DELETE": secrets.revoke},
        "organizations/{}/credits": {"GET": grants.read},
        "organizations/{}/credits/grants": {"GET": grants.list, "POST": grants.grant},
        "organizations/{}/capacity": {"GET": capacities.read},
        "organizations/{}/repair": {"POST": organizations.repair},
        "keys": {"GET": keys.list, "POST": keys.create},
        "keys/{}": {"DELETE": keys.revoke},
        "plans": {"GET": plans.list, "POST": plans.create},
        "plans/{}": {"GET": plans.read, "PATCH": plans.change, "DELETE": plans.delete},
        "tasks": {"GET": tasks.list},
        "tasks/{}": {"GET": tasks.read, "DELETE": tasks.cancel},
        "sessions": {"GET": installation.sessions},
        "usage/monthly": {"GET": usage.monthly},
        "scaling": {"GET": fleets.scaling},
        "trace": {"GET": Traces(store).read},
        "drift": {"GET": installation.drift},
        "audit": {"GET": installation.audit},
        "maintenance": {"GET": installation.maintenance, "PUT": installation.set_maintenance},
        "server": {"GET": installation.server},
    }
    resources = [Resource(f"{PREFIX}/{path}", guard, methods, clock=store.now) for path, methods in table.items()]
    resources.append(Resource("/metrics", guard, {"GET": fleets.metrics}, clock=store.now))
    return Part(PREFIX, guard, resources)


def admin_surface(store: Store, *, facts: Callable[[], ServerFacts], secret_rules: SecretRules) -> Surface:
    """Return the application behind the admin socket; also called in process when no server runs."""
    part = admin_part(store, facts=facts, secret_rules=secret_rules, guard=operator)
    backups = Backups(store)
    methods: dict[str, Endpoint[str]] = {"GET": backups.read, "POST": backups.start}
    local = Part(PREFIX, operator, [Resource(f"{PREFIX}/backup", operator, methods, clock=store.now)])
    return Surface([part, local], clock=store.now)


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
