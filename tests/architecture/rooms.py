"""The plan of the house: which room may know which, and which room may speak to which package from outside.

A room is a module or a folder directly under ``fairlane``.
A new room is one line in ``MAY_KNOW``; a new dependency is a decision page and one line in ``PACKAGES``.
"""

_NOUNS = {"model", "errors"}
_GROUND = _NOUNS | {"settings", "logs", "outages", "bounded"}
_STORE = _GROUND | {"rules", "store"}
_WORKER = _GROUND | {"loops", "connecting", "surroundings", "scanning", "protocol", "payloads", "handlers", "tracing"}
_API = _STORE | _WORKER | {"scanning", "wire", "metrics", "simulation", "fairlane"}

MAY_KNOW: dict[str, set[str]] = {
    # Ground: what every room may know.
    "model": set(),
    "errors": set(),
    "settings": {"errors"},
    "logs": set(),
    "bounded": set(),
    "outages": {"errors"},
    "surroundings": {"logs"},
    "loops": set(),
    "connecting": set(),
    "terminal": set(),
    # Texts: what is written to the outside and read from there.
    "scanning": set(),
    "protocol": {"scanning"},
    "wire": _NOUNS | {"scanning"},
    "metrics": {"model"},
    # Decisions: pure.
    "rules": _NOUNS,
    "simulation": _NOUNS | {"rules"},
    "diagnosis": _NOUNS,
    # Application: what the authors of handlers import; "fairlane" is the package itself.
    "payloads": _NOUNS,
    "handlers": _NOUNS | {"payloads"},
    "fairlane": {"errors", "handlers"},
    "tracing": _NOUNS | {"protocol", "fairlane"},
    # Memory: the only room with a database.
    "store": _GROUND | {"connecting", "rules", "loops", "scanning"},
    # Speech: rooms that speak HTTP. Clients and workers know neither the store nor the API.
    "client": {"errors", "connecting", "handlers", "fairlane"},
    "worker": _WORKER,
    "webhooks": _STORE | {"wire", "fairlane"},
    "fetching": {"errors", "webhooks", "fairlane"},
    "api": _API,
    "dashboard": _API | {"api"},
    # Wiring: what puts rooms together.
    "bulks": _STORE | {"payloads", "handlers", "fairlane"},
    "sweeper": _STORE | {"wire", "fairlane", "handlers", "bulks"},
    "app": _API | {"api", "worker", "webhooks", "sweeper", "dashboard"},
    "admin": {"errors", "settings", "connecting", "store", "webhooks", "api", "fairlane"},
    # Use: what people type and what their tests import.
    "testing": _API | {"api", "worker", "webhooks", "app", "bulks", "client"},
    "demo": {"errors", "settings", "terminal", "client", "admin", "fairlane"},
    "cli": _API | {"api", "worker", "webhooks", "app", "client", "admin", "demo", "diagnosis", "terminal"},
    "__main__": {"cli"},
}
"""In the order of ARCHITECTURE.md: a room knows only rooms before it."""

PACKAGES: dict[str, set[str]] = {
    "apsw": {"store/sqlite"},
    "attrs": {"payloads"},
    "cryptography": {"store"},
    "httpcore2": {"webhooks", "worker", "fetching"},
    "httptools": {"api"},
    "httpx2": {"client", "testing", "admin"},
    "msgspec": set(MAY_KNOW),
    "opentelemetry": {"tracing"},
    "platformdirs": {"settings"},
    "prometheus_client": {"metrics"},
    "psycopg": {"store/postgres"},
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

OPTIONAL_PACKAGES = {"attrs", "cryptography", "opentelemetry", "psycopg", "pydantic", "typing_extensions", "uvloop"}
"""May be missing at run time, so they may be imported where they are needed."""

OPTIONAL_MODULES = {"fairlane.store.postgres", "fairlane.store.postgres.wakeups", "fairlane.tracing"}
"""Import an optional package at their top, so they are themselves imported where they are needed."""

SLOW_MODULES = {"fairlane.admin.alone"}
"""Import the store and the API, which a command needs only if no server runs."""

FORBIDDEN_NAMES = {"utils", "util", "common", "helpers", "helper", "base", "manager", "managers", "misc", "service"}
