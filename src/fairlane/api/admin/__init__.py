"""``/admin/v1``: the operator's own routes, by noun. The command line speaks nothing else.

JSON here is the model's records as they are, snake_case. Every change leaves an audit row that names who made it.
"""

from fairlane.api.admin.installation import ServerFacts
from fairlane.api.admin.surface import AdminKeyGuard, admin_part, admin_surface
from fairlane.api.admin.webhook_secrets import SecretRules

__all__ = ["AdminKeyGuard", "SecretRules", "ServerFacts", "admin_part", "admin_surface"]
