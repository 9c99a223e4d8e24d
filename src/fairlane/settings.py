"""Configuration: one frozen record. Flags override ``FAIRLANE_*`` variables, which override a file and the defaults."""

import difflib
import hashlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any, get_type_hints

import msgspec
import platformdirs
from msgspec import Struct

from fairlane.errors import SetupError

PREFIX = "FAIRLANE_"
CONFIG_VARIABLE = "FAIRLANE_CONFIG"
"""Names the TOML file of settings."""
OTHERS = (
    "FAIRLANE_URL",
    "FAIRLANE_API_KEY",
    "FAIRLANE_PROFILE",
    CONFIG_VARIABLE,
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
    to those of this machine on a customers' port that is on loopback. Also serve ``/docs``, and HTML at ``/``."""
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
    """How long a finished task stays readable, unless its organization's plan says otherwise."""
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
    make four times as many. A plan's rate limit replaces it."""
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


class FoundSettings(Struct, frozen=True):
    """The settings in force, and where each comes from."""

    settings: Settings
    sources: dict[str, str]
    """An option, a variable, or a line of a file by the name of the setting; what is missing has its default."""


class _Given(Struct, frozen=True):
    """A value that replaces a default."""

    value: object
    source: str
    undo: str
    """How to get the default instead."""


def read_settings(
    flags: Mapping[str, object], environment: Mapping[str, str] | None = None, *, config: Path | None = None
) -> Settings:
    """Return the settings in force: flags that are not None, then the environment, then a file, then defaults.

    Raises:
        SetupError: as :func:`find_settings`.
    """
    return find_settings(flags, environment, config=config).settings


def find_settings(
    flags: Mapping[str, object], environment: Mapping[str, str] | None = None, *, config: Path | None = None
) -> FoundSettings:
    """Return the settings in force, with their sources. Without ``config``, the file is that of ``FAIRLANE_CONFIG``.

    Raises:
        SetupError: the file cannot be read, a value has the wrong type or breaks a rule, or a name is unknown; the
            message names the source and what to do.
    """
    environment = os.environ if environment is None else environment
    _check_variables(environment)
    given = _from_file(_config_file(config, environment))
    for name in Settings.__struct_fields__:
        variable = PREFIX + name.upper()
        if variable in environment:
            given[name] = _Given(environment[variable], variable, "unset it")
        # An option may have its value from the same variable.
        if (value := flags.get(name)) is not None and environment.get(variable) != value:
            given[name] = _Given(value, f"--{name.replace('_', '-')}", "leave it out")
    types = get_type_hints(Settings)
    read = {name: _read(name, one, types[name]) for name, one in given.items()}
    try:
        settings = Settings(**read)
    except ValueError as error:
        raise SetupError(_broken_rule(str(error), given)) from error
    return FoundSettings(settings, {name: one.source for name, one in given.items()})


def usual_database(environment: Mapping[str, str] | None = None) -> str:
    """Return the database of commands without an option or a variable for it: that of the file, or the default.

    Raises:
        SetupError: the file of ``FAIRLANE_CONFIG`` cannot be read.
    """
    found = _from_file(_config_file(None, os.environ if environment is None else environment)).get("database")
    return default_database() if found is None else str(found.value)


def shown_value(name: str, value: object) -> str:
    """Return the value of a setting as people may see it: without a key or a password."""
    if name == "secret_key" and value is not None:
        return "(hidden)"
    return "-" if value is None else without_password(str(value))


def without_password(address: str) -> str:
    """Return the address of a database as people may see it.

    What is between its first colon and its last ``@`` is hidden, also where no server could read it.
    """
    address = re.sub(r"(://[^:]*:).*@", r"\1(hidden)@", address, flags=re.DOTALL)
    return re.sub(r"([?&](?:password|passfile|sslpassword)=)[^&#]*", r"\1(hidden)", address)


def _config_file(config: Path | None, environment: Mapping[str, str]) -> Path | None:
    named = environment.get(CONFIG_VARIABLE)
    return Path(named) if config is None and named else config


def _from_file(path: Path | None) -> dict[str, _Given]:
    """Return the settings of a TOML file, by name."""
    if path is None:
        return {}
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise SetupError(
            f"the settings file {path} cannot be read: {error.strerror}; correct --config or {CONFIG_VARIABLE}"
        ) from error
    except ValueError as error:
        raise SetupError(f"the settings file {path} is not TOML: {error}; write lines such as: port = 8000") from error
    for name in found:
        if name not in Settings.__struct_fields__:
            raise SetupError(f"{path}: {_unknown(name, Settings.__struct_fields__)}; rename it, or delete it")
    return {name: _Given(value, f"{name} in {path}", "delete the line") for name, value in found.items()}


def _read(name: str, given: _Given, kind: Any) -> Any:
    """Return the value in its field's type; raise SetupError, which names its source and what is wanted."""
    try:
        return msgspec.convert(given.value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(_refusal(name, given, f"give {_wanted(name, kind)}")) from error


def _wanted(name: str, kind: Any) -> str:
    if kind is bool:
        return "true or false"
    if kind in (str, str | None):
        return "text in quotes"
    noun = "a whole number" if kind in (int, int | None) else "a number"
    return f"{noun} from {RANGES[name][0]} to {RANGES[name][1]}" if name in RANGES else noun


def _broken_rule(rule: str, given: Mapping[str, _Given]) -> str:
    """Return the message of a rule that values break; the rule names their settings."""
    named = [name for name in Settings.__struct_fields__ if re.search(rf"\b{name}\b", rule)]
    if len(named) == 1 and named[0] in given:
        return _refusal(named[0], given[named[0]], rule)
    parts = [
        f"{given[name].source} is {_in_message(name, given[name].value)}"
        if name in given
        else f"{PREFIX}{name.upper()} is not set and {_default(name)}"
        for name in named
    ]
    return f"{rule}: {', and '.join(parts)}; change one of them"


def _refusal(name: str, given: _Given, cure: str) -> str:
    usual = _default(name)
    instead = f", or {given.undo}{'' if usual is None else f' (default: {usual})'}"
    return f"{given.source} cannot be {_in_message(name, given.value)}: {cure}{instead}"


def _default(name: str) -> object:
    return getattr(Settings(), name)


def _in_message(name: str, value: object) -> str:
    """Return a value as messages may show it: an address of a database may have a password in it."""
    return "this value, which is not shown" if name in ("database", "secret_key", "pg_notify") else repr(value)


def _check_variables(environment: Mapping[str, str]) -> None:
    """Refuse unknown variables: otherwise a misspelled setting would silently keep its default."""
    known = [PREFIX + name.upper() for name in Settings.__struct_fields__]
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in (*known, *OTHERS) and not name.startswith(OTHERS_PREFIXES):
            raise SetupError(f"the variable {_unknown(name, known)}; unset or rename it")


def _unknown(name: str, known: Sequence[str]) -> str:
    plain = name.removeprefix(PREFIX).lower() if known is Settings.__struct_fields__ else name
    nearest = difflib.get_close_matches(plain, known, n=1, cutoff=0.0)
    return f"{name} is not a setting: the nearest is {nearest[0]}"


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


def runtime_directory(database: str, process: int | None = None) -> Path:
    """Return the directory for the sockets of the server that owns this database: this process, or the given one.

    It is private, and short enough for a socket address.
    """
    # Several servers on one machine may share a PostgreSQL database, so each has its own directory.
    process = os.getpid() if process is None else process
    shown = f"{database} {process}" if is_postgres(database) else str(database_path(database))
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
