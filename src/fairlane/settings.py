"""Configuration: one frozen record. Flags override ``FAIRLANE_*`` variables, which override the defaults here."""

import difflib
import hashlib
import os
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import platformdirs
from msgspec import Struct

from fairlane.errors import SetupError

PREFIX = "FAIRLANE_"
OTHERS = (
    "FAIRLANE_URL",
    "FAIRLANE_API_KEY",
    "FAIRLANE_PROFILE",
    "FAIRLANE_MONITOR_SECRET",
    "FAIRLANE_SERVER",
    "FAIRLANE_ADMIN_KEY",
    "FAIRLANE_ADMIN_KEY_FILE",
    "FAIRLANE_WORKER_KEY",
    "FAIRLANE_WORKER_KEY_FILE",
    "FAIRLANE_WORKER_SERVERS",
)
"""Variables with our prefix that are not settings: clients, operators and remote workers read them."""
OTHERS_PREFIXES = ("FAIRLANE_TEST_", "FAIRLANE_DEMO_")
PAUSES_MOST = 20
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SECONDS_LEAST = 0.001
"""Shorter times would round to 0, because times are kept in milliseconds."""
SECONDS_MOST = 10 * 365 * 86_400
BYTES_MOST = 2**62

RANGES: dict[str, tuple[float, float]] = {
    "port": (0, 65_535),
    "admin_port": (0, 65_535),
    "workers": (0, 1_000),
    "places": (1, 1_000),
    "lease_seconds": (SECONDS_LEAST, SECONDS_MOST),
    "renew_seconds": (SECONDS_LEAST, SECONDS_MOST),
    "sweep_seconds": (SECONDS_LEAST, SECONDS_MOST),
    "kill_grace_seconds": (0, SECONDS_MOST),
    "drain_seconds": (0, SECONDS_MOST),
    "retention_seconds": (0, SECONDS_MOST),
    "usage_retention_seconds": (172_800, SECONDS_MOST),
    "retry_pause_seconds": (0, SECONDS_MOST),
    "payload_limit_bytes": (1, BYTES_MOST),
    "result_limit_bytes": (1, BYTES_MOST),
    "free_disk_floor_bytes": (0, BYTES_MOST),
    "webhook_timeout_seconds": (0.1, 300),
    "rate_limit": (1, 1_000_000_000),
}
"""The smallest and the largest value of each number."""


def default_database() -> str:
    """Return the SQLite file in the platform's data directory, as a URL."""
    return f"sqlite:///{Path(platformdirs.user_data_dir('fairlane')) / 'fairlane.db'}"


def config_folder() -> Path:
    """Return the folder of this user's configuration, as the platform has it."""
    return Path(platformdirs.user_config_dir("fairlane"))


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of an operator. Each field ``x`` is read from ``FAIRLANE_X``."""

    database: str = msgspec.field(default_factory=default_database)
    """``sqlite:///PATH``, or ``postgresql://USER:PASSWORD@HOST:PORT/NAME``."""
    pg_prepare: str = "auto"
    """``off`` never prepares statements, for a pooler in transaction mode that does not allow it; otherwise
    ``auto``."""
    pg_notify: str = "on"
    """How servers on one PostgreSQL wake each other by NOTIFY: ``on``, ``off``, or, to bypass a pooler in transaction
    mode, the address of the database itself. Without it, requests that wait at another server poll once a second."""
    host: str = "127.0.0.1"
    port: int = 8000
    admin_host: str = "127.0.0.1"
    admin_port: int | None = None
    """Port of a separate listener for operators with admin keys and workers with worker keys, or None for no such
    listener."""
    public_admin: bool = False
    """Also serve the operator's routes on the customers' port; callers need an admin key."""
    dashboard: bool = True
    """Serve ``/dashboard``: to organizations on the customers' port, to operators wherever ``/admin/v1`` is served, and
    to those of this machine on a customers' port that is on loopback."""
    trusted_proxies: str = "127.0.0.1,::1"
    """Addresses and networks of proxies, separated by commas. Their ``X-Forwarded-For`` gives the address of a
    login."""
    public_workers: bool = False
    """Also serve the workers' routes on the customers' port; callers need a worker key."""
    fd: int | None = None
    """A listening socket, as systemd passes it, to use instead of ``host`` and ``port``."""
    workers: int = 1
    """Local worker processes; 0 starts none."""
    places: int = 10
    """Attempts that one worker process runs at once."""
    lease_seconds: float = 30.0
    """How long a session lives without renewal."""
    renew_seconds: float = 10.0
    """How often a session is renewed."""
    sweep_seconds: float = 5.0
    """How often to look for dead sessions, overdue attempts and old tasks."""
    kill_grace_seconds: float = 5.0
    """How long a handler past its deadline may take to end before its process is killed."""
    drain_seconds: float = 30.0
    """How long running attempts may take to finish after SIGTERM before they are handed back."""
    retention_seconds: float = 86_400.0
    """How long a finished task stays readable."""
    usage_retention_seconds: float = 7_776_000.0
    """How long history is kept: each minute for two days, after that each hour."""
    retry_pause_seconds: float = 1.0
    """Base of the backoff between attempts: doubled each time, with jitter, at most an hour."""
    payload_limit_bytes: int = 1_048_576
    """Largest payload of one task, in bytes."""
    result_limit_bytes: int = 8_388_608
    """Largest result of one task, in bytes."""
    rate_limit: int = 1_000
    """Requests per second that one key may make to one endpoint of one server; all keys of an organization together may
    make four times as many."""
    free_disk_floor_bytes: int = 268_435_456
    """Submits are refused with 503 while the database's disk has less free space than this."""
    webhook_allow_private: bool = False
    """Let webhooks reach any address, including loopback and private ones. For a single machine and for tests."""
    webhook_ports: str = "80,443,1024-65535"
    """Ports that webhooks may be sent to."""
    webhook_timeout_seconds: float = 10.0
    """How long one try may take, from the lookup of the name to the answer."""
    webhook_pauses_seconds: str = "120,240,480,960"
    """Pauses after failed tries, each shortened by up to a tenth. There is one more try than there are pauses."""
    secret_key: str | None = None
    """Encrypts webhook secrets in the database. With several keys separated by commas, the first encrypts and all
    decrypt. Needs the extra ``[encryption]``."""
    reference_lists: str | None = None
    """A JSON file with the answers of ``GET /v1/countries`` and ``/v1/states``; without it they answer ``[]``."""
    traces: bool = False
    """Create OpenTelemetry spans of submits and attempts. Needs the extra ``[otel]``."""
    log_format: str = "text"
    """``text`` (key=value) or ``json``."""
    log_level: str = "INFO"
    log_error_text: bool = False
    """Log the message and the traceback of exceptions from handlers, which may quote payloads. If False, log only type
    and place."""

    def __post_init__(self) -> None:
        for name, (least, most) in RANGES.items():
            # Written this way so that NaN, which is not between any two numbers, is refused as well.
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ValueError(f"{name} must be from {least} to {most}")
        if self.fd is not None and self.fd < 0:
            raise ValueError("fd must be 0 or more")
        if self.lease_seconds <= self.renew_seconds:
            raise ValueError("lease_seconds must be larger than renew_seconds")
        self.webhook_pauses_ms()
        self.proxies()
        if self.pg_prepare not in ("auto", "off"):
            raise ValueError("pg_prepare must be auto or off")
        if self.pg_notify not in ("on", "off") and not is_postgres(self.pg_notify):
            raise ValueError("pg_notify must be on, off, or a postgresql:// address")
        if self.traces and not _has_opentelemetry():
            raise ValueError("traces need the extra [otel]: pip install 'fairlane[otel]'")
        if self.log_format not in ("text", "json"):
            raise ValueError("log_format must be text or json")
        if self.log_level.upper() not in LOG_LEVELS:
            raise ValueError(f"log_level must be one of {', '.join(LOG_LEVELS)}")

    def webhook_pauses_ms(self) -> tuple[int, ...]:
        """Return the pauses after failed tries, in order. Raises ValueError."""
        try:
            pauses = [float(text) for text in self.webhook_pauses_seconds.split(",") if text.strip()]
        except ValueError as error:
            raise ValueError("webhook_pauses_seconds must be numbers separated by commas") from error
        if len(pauses) > PAUSES_MOST or not all(0.1 <= pause <= 86_400 for pause in pauses):
            raise ValueError(f"webhook_pauses_seconds must be at most {PAUSES_MOST} numbers from 0.1 to 86400")
        return tuple(round(pause * 1_000) for pause in pauses)

    def proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Return the networks of ``trusted_proxies``. Raises ValueError."""
        try:
            return tuple(ip_network(text.strip()) for text in self.trusted_proxies.split(",") if text.strip())
        except ValueError as error:
            raise ValueError(f"trusted_proxies must be addresses or networks separated by commas: {error}") from error


def _has_opentelemetry() -> bool:
    try:
        return find_spec("opentelemetry.trace") is not None
    except ModuleNotFoundError:
        return False


def read_settings(flags: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force: flags that are not None, then the environment, then defaults.

    Raises:
        SetupError: a value has the wrong type or breaks a rule, or a variable is unknown; the message names it.
    """
    environment = os.environ if environment is None else environment
    names = Settings.__struct_fields__
    _check_names(environment)
    given: dict[str, object] = {
        name: environment[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in environment
    }
    given |= {name: value for name, value in flags.items() if value is not None}
    types = get_type_hints(Settings)
    read = {name: _read(name, value, types[name], environment) for name, value in given.items()}
    try:
        return Settings(**read)
    except ValueError as error:
        # The message names the fields with values that break the rule.
        said = [
            f"{_source(name, given[name], environment)} says {_shown(name, given[name])}"
            for name in given
            if name in str(error)
        ]
        raise SetupError("; ".join([f"a setting cannot be used: {error}", *said])) from error


def _read(name: str, value: object, kind: Any, environment: Mapping[str, str]) -> Any:
    """Return the value in its field's type; raise SetupError, which names its source and what is wanted."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(
            f"a setting cannot be used: {name} must be {_wanted(name, kind)}; "
            f"{_source(name, value, environment)} says {_shown(name, value)}"
        ) from error


def _wanted(name: str, kind: Any) -> str:
    if kind is bool:
        return "true or false"
    noun = "a whole number" if kind in (int, int | None) else "a number"
    return f"{noun} from {RANGES[name][0]} to {RANGES[name][1]}" if name in RANGES else noun


def _source(name: str, value: object, environment: Mapping[str, str]) -> str:
    """Return the name of the variable if it has this value, else the name of the flag."""
    variable = PREFIX + name.upper()
    return variable if environment.get(variable) == value else f"--{name.replace('_', '-')}"


def _shown(name: str, value: object) -> str:
    """Return a value as messages may show it: an address of a database may have a password in it."""
    return "a value that is not shown" if name in ("database", "secret_key", "pg_notify") else repr(value)


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse unknown variables: otherwise a misspelled setting would silently keep its default."""
    known = [PREFIX + name.upper() for name in Settings.__struct_fields__]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in (*known, *OTHERS) and not name.startswith(OTHERS_PREFIXES):
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
            raise SetupError(f"the variable {name} is not a setting: the nearest is {nearest[0]}; unset or rename it")


def is_postgres(database: str) -> bool:
    """Return whether the address is that of a PostgreSQL database."""
    return database.startswith(("postgresql://", "postgres://"))


def database_path(database: str) -> Path:
    """Return the file named by a ``sqlite:///PATH`` address.

    Raises:
        SetupError: fairlane cannot open such an address.
    """
    scheme, separator, path = database.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise SetupError(
            f"database {database!r} cannot be used: give sqlite:///PATH (sqlite:////PATH for an absolute path) "
            "or postgresql://USER:PASSWORD@HOST:PORT/NAME"
        )
    return Path(path).expanduser().absolute()


def runtime_directory(database: str) -> Path:
    """Return the directory for the sockets of the server that owns this database.

    It is private, and short enough for a socket address.
    """
    # Several servers on one machine may share a PostgreSQL database, so each has its own directory.
    shown = f"{database} {os.getpid()}" if is_postgres(database) else str(database_path(database))
    folder, prefix = _runtime_place()
    return folder / f"{prefix}{hashlib.sha256(shown.encode()).hexdigest()[:8]}"


def runtime_directories() -> list[Path]:
    """Return the runtime directories of all servers of this user, by name, also those that a crash left behind."""
    folder, prefix = _runtime_place()
    # In a shared folder another user may have made one by such a name.
    return sorted(one for one in folder.glob(f"{prefix}*") if one.lstat().st_uid == os.getuid())


def _runtime_place() -> tuple[Path, str]:
    """Return the folder of the runtime directories, and how their names begin."""
    shared = os.environ.get("XDG_RUNTIME_DIR")
    if shared:
        return Path(shared), "fairlane-"
    return Path(tempfile.gettempdir()), f"fairlane-{os.getuid()}-"
