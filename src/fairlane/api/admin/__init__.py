"""``/admin/v1``: the operator's own routes, by noun. The command line uses only these.

JSON here contains the model's records unchanged, in snake_case. Every change writes an audit row that names the actor.
"""

from fairlane.api.admin.installation import ServerFacts
from fairlane.api.admin.surface import AdminKeyGuard, admin_part, admin_surface
from fairlane.api.admin.webhook_secrets import SecretRules

__all__ = ["AdminKeyGuard", "SecretRules", "ServerFacts", "admin_part", "admin_surface"]
