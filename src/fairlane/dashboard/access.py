"""``/dashboard/access``: an organization's own keys and webhook secrets, for people with a session of it.

These are the operator's endpoints, with the organization from the session instead of the path. The audit names its key.
"""

from collections.abc import Awaitable, Callable

from fairlane.api.admin.keys import KeyEndpoints
from fairlane.api.admin.webhook_secrets import SecretRules, WebhookSecretEndpoints
from fairlane.api.http import Answer, Request
from fairlane.api.routes import Endpoint, Guard, Resource
from fairlane.dashboard.sessions import PATH
from fairlane.errors import NotFound
from fairlane.model.keys import Caller
from fairlane.store import Store

OperatorsEndpoint = Callable[[Request, str], Awaitable[Answer]]


def access_resources(store: Store, guard: Guard[Caller], secret_rules: SecretRules) -> list[Resource[Caller]]:
    """Return the routes."""
    keys, secrets = KeyEndpoints(store), WebhookSecretEndpoints(store, secret_rules)

    def own(endpoint: OperatorsEndpoint) -> Endpoint[Caller]:
        """Return the endpoint for the session's organization."""

        async def ask(request: Request, caller: Caller) -> Answer:
            name = await store.organizations.name(caller.organization_id)
            request.parameters = (name, *request.parameters)
            return await endpoint(request, _actor(caller))

        return ask

    async def revoke(request: Request, caller: Caller) -> Answer:
        [key_id] = request.parameters
        held = await store.keys.all(await store.organizations.name(caller.organization_id))
        if key_id not in {key.id for key in held}:
            raise NotFound.named("key", key_id)
        return await keys.revoke(request, _actor(caller))

    methods: dict[str, dict[str, Endpoint[Caller]]] = {
        "keys": {"GET": own(keys.list_of_organization), "POST": own(keys.create_for_organization)},
        "keys/{key}": {"DELETE": revoke},
        "webhook-secrets": {"GET": own(secrets.list), "POST": own(secrets.create)},
        "webhook-secrets/{secret}": {"DELETE": own(secrets.revoke)},
    }
    return [Resource(f"{PATH}/access/{path}", guard, served) for path, served in methods.items()]


def _actor(caller: Caller) -> str:
    return f"organization key {caller.key_id}"
