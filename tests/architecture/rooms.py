"""The plan of the house: which room may know which, and which room may speak to which package from outside.

A room is a module or a folder directly under ``fairlane``.
A new room is one line in ``MAY_KNOW``; a new dependency is a decision page and one line in ``PACKAGES``.
"""

_NOUNS = {"model", "errors"}
_GROUND = _NOUNS | {"settings", "logs", "outages"}
_STORE = _GROUND | {"rules", "store"}
_WORKER = _GROUND | {"loops", "connecting", "surroundings", "scanning", "protocol", "payloads", "handlers", "tracing"}
_API = _STORE | _WORKER | {"scanning", "wire", "metrics", "simulation", "fairlane"}

MAY_KNOW: dict[str, set[str]] = {
    # What everybody may know, and what knows nobody.
    "model": set(),
    "errors": set(),
    "scanning": set(),
    "protocol": {"scanning"},
    "logs": set(),
    "outages": set(),
    "loops": set(),
    "surroundings": {"logs"},
    "connecting": set(),
    "terminal": set(),
    "settings": {"errors"},
    "wire": _NOUNS | {"scanning"},
    "metrics": {"model"},
    "tracing": _NOUNS | {"protocol", "fairlane"},
    # Decisions, and the application's own declarations.
    "rules": _NOUNS,
    "diagnosis": _NOUNS,
    "simulation": _NOUNS | {"rules"},
    "payloads": _NOUNS,
    "handlers": _NOUNS | {"payloads"},
    # The package itself: what an application imports.
    "fairlane": {"errors", "handlers"},
    # What customers import. It speaks HTTP, and knows neither the store nor the API.
    "client": {"errors", "connecting", "fairlane"},
    # The three big rooms. None of them knows another, except that HTTP calls the store.
    "store": _GROUND | {"connecting", "rules", "loops", "scanning"},
    "worker": _WORKER,
    "api": _API,
    "webhooks": _STORE | {"wire", "fairlane"},
    # What an application may use of them.
    "fetching": {"errors", "webhooks", "fairlane"},
    # Wiring, and what people type.
    "sweeper": _STORE | {"wire", "fairlane"},
    "dashboard": _API | {"api"},
    "app": _API | {"api", "worker", "webhooks", "sweeper", "dashboard"},
    "admin": {"errors", "settings", "connecting", "store", "webhooks", "api", "fairlane"},
    "demo": {"errors", "settings", "terminal", "client", "admin", "fairlane"},
    "testing": _API | {"api", "worker", "webhooks", "app", "client"},
    "cli": _API | {"api", "worker", "webhooks", "app", "client", "admin", "demo", "diagnosis", "terminal"},
    "__main__": {"cli"},
}

PACKAGES: dict[str, set[str]] = {
    "apsw": {"store/sqlite.py"},
    "asyncpg": {"store/postgres.py", "store/wakeups.py"},
    "attrs": {"payloads"},
    "cryptography": {"store"},
    "httpcore2": {"webhooks", "worker", "fetching"},
    "httptools": {"api"},
    "httpx2": {"client", "testing", "admin"},
    "msgspec": set(MAY_KNOW),
    "opentelemetry": {"tracing"},
    "platformdirs": {"settings"},
    "prometheus_client": {"metrics"},
    "pydantic": {"payloads"},
    "pygments": {"demo"},
    "rich": {"cli", "demo"},
    "ssrfguard": {"webhooks"},
    "standardwebhooks": {"client", "webhooks"},
    "typer": {"cli"},
    "typing_extensions": {"payloads"},
    "uuid_utils": {"api", "store", "worker", "app"},
    "uvicorn": {"api"},
    "uvloop": {"loops"},
}

OPTIONAL_PACKAGES = {"attrs", "asyncpg", "cryptography", "opentelemetry", "pydantic", "typing_extensions", "uvloop"}
"""May be missing at run time, so they may be imported where they are needed."""

OPTIONAL_MODULES = {"fairlane.store.postgres", "fairlane.store.wakeups", "fairlane.tracing"}
"""Import an optional package at their top, so they are themselves imported where they are needed."""

SLOW_MODULES = {"fairlane.admin.alone"}
"""Import the store and the API, which a command needs only if no server runs."""

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "misc", "service"}
