"""Configuration: one frozen record. Flags win over ``FAIRLANE_*`` variables, which win over the defaults here."""

import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec
import platformdirs
from msgspec import Struct

from fairlane.errors import SetupError

PREFIX = "FAIRLANE_"
PAUSES_MOST = 20


def default_database() -> str:
    """The SQLite file in the platform's data directory, as a URL."""
    return f"sqlite:///{Path(platformdirs.user_data_dir('fairlane')) / 'fairlane.db'}"


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator may set. Each field ``x`` is read from ``FAIRLANE_X``."""

    database: str = msgspec.field(default_factory=default_database)
    """``sqlite:///PATH``."""
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    """Local worker processes; 0: none."""
    places: int = 10
    """Attempts one worker process runs at once."""
    lease_seconds: float = 30.0
    """How long a session lives without renewal."""
    renew_seconds: float = 10.0
    """How often a session is renewed."""
    sweep_seconds: float = 5.0
    """How often dead sessions, overdue attempts and old tasks are looked for."""
    kill_grace_seconds: float = 5.0
    """How long a handler past its deadline may take to end before its process is killed."""
    drain_seconds: float = 30.0
    """How long running attempts may take to finish after SIGTERM before they are handed back."""
    retention_seconds: float = 86_400.0
    """How long a finished task stays readable."""
    retry_pause_seconds: float = 1.0
    """Base of the backoff between attempts: doubled each time, with jitter, at most an hour."""
    payload_limit_bytes: int = 1_048_576
    """Largest payload of one task."""
    result_limit_bytes: int = 8_388_608
    """Largest result of one task."""
    free_disk_floor_bytes: int = 268_435_456
    """Submits are refused with 503 while the database's disk has less free space than this."""
    webhook_allow_private: bool = False
    """Let webhooks reach any address, loopback and private ones too: for one machine and for tests."""
    webhook_ports: str = "80,443,1024-65535"
    """Ports that webhooks may be sent to."""
    webhook_timeout_seconds: float = 10.0
    """How long one try may take from the look-up of the name to the answer."""
    webhook_pauses_seconds: str = "120,240,480,960"
    """Pauses after failed tries, a tenth more or less; one try more than there are pauses."""
    secret_key: str | None = None
    """Seals webhook secrets in the database; several parted by commas: the first seals, all open. Needs the extra
    ``[encryption]``."""
    log_format: str = "text"
    """``text`` (key=value) or ``json``."""
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if self.lease_seconds <= self.renew_seconds:
            raise ValueError("lease_seconds must be larger than renew_seconds")
        if not 0 <= self.port <= 65_535:
            raise ValueError("port must be between 0 and 65535")
        if self.workers < 0 or self.places < 1:
            raise ValueError("workers must be 0 or more and places 1 or more")
        if not 0.1 <= self.webhook_timeout_seconds <= 300:
            raise ValueError("webhook_timeout_seconds must be from 0.1 to 300")
        self.webhook_pauses_ms()
        if self.log_format not in ("text", "json"):
            raise ValueError("log_format must be text or json")

    def webhook_pauses_ms(self) -> tuple[int, ...]:
        """The pauses after failed tries, in order. Raises ValueError."""
        try:
            pauses = [float(text) for text in self.webhook_pauses_seconds.split(",") if text.strip()]
        except ValueError as error:
            raise ValueError("webhook_pauses_seconds must be numbers parted by commas") from error
        if len(pauses) > PAUSES_MOST or not all(0.1 <= pause <= 86_400 for pause in pauses):
            raise ValueError(f"webhook_pauses_seconds must be at most {PAUSES_MOST} numbers from 0.1 to 86400")
        return tuple(round(pause * 1_000) for pause in pauses)


def read_settings(flags: Mapping[str, object], environment: Mapping[str, str] | None = None) -> Settings:
    """The settings in force: flags that are not None, then the environment, then defaults.

    Raises:
        SetupError: a value has the wrong type or breaks a rule; the message names it.
    """
    environment = os.environ if environment is None else environment
    names = Settings.__struct_fields__
    given: dict[str, object] = {
        name: environment[PREFIX + name.upper()] for name in names if PREFIX + name.upper() in environment
    }
    given |= {name: value for name, value in flags.items() if value is not None}
    try:
        return msgspec.convert(given, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SetupError(f"a setting cannot be used: {error} (settings are flags or {PREFIX}… variables)") from error


def database_path(database: str) -> Path:
    """The file named by a ``sqlite:///PATH`` address.

    Raises:
        SetupError: the address is not one that fairlane can open.
    """
    scheme, separator, path = database.partition(":///")
    if scheme != "sqlite" or not separator or not path:
        raise SetupError(
            f"database {database!r} cannot be used: give sqlite:///PATH (sqlite:////PATH for an absolute path)"
        )
    return Path(path).expanduser().absolute()


def runtime_directory(database: str) -> Path:
    """Where the sockets of the server that owns this database live: private, and short enough for a socket address."""
    digest = hashlib.sha256(str(database_path(database)).encode()).hexdigest()[:8]
    shared = os.environ.get("XDG_RUNTIME_DIR")
    if shared:
        return Path(shared) / f"fairlane-{digest}"
    return Path(tempfile.gettempdir()) / f"fairlane-{os.getuid()}-{digest}"
