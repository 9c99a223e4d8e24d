"""Settings that cannot be used are refused by name."""

import sys
from pathlib import Path

import pytest

from fairlane.errors import SetupError
from fairlane.settings import RANGES, Settings, find_settings, read_settings, usual_database, without_password
from tests.cli.harness import Command
from tests.tables import each


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("places", "0"),
        ("places", "1001"),
        ("workers", "-1"),
        ("port", "65536"),
        ("lease_seconds", "nan"),
        ("lease_seconds", "inf"),
        ("lease_seconds", "10"),
        ("renew_seconds", "0"),
        ("renew_seconds", "30"),
        ("sweep_seconds", "0"),
        ("sweep_seconds", "nan"),
        ("kill_grace_seconds", "-1"),
        ("drain_seconds", "inf"),
        ("retention_seconds", "-0.1"),
        ("retry_pause_seconds", "-1"),
        ("payload_limit_bytes", "0"),
        ("result_limit_bytes", "0"),
        ("free_disk_floor_bytes", "-1"),
        ("webhook_timeout_seconds", "nan"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, value: str) -> None:
    """Whether it comes from a variable or from a flag."""
    with pytest.raises(SetupError, match=name):
        read_settings({}, {f"FAIRLANE_{name.upper()}": value})
    with pytest.raises(SetupError, match=name):
        read_settings({name: value}, {})


def test_traces_need_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server or worker that is to trace and cannot says what to install, before it starts."""
    assert read_settings({}, {"FAIRLANE_TRACES": "1"}).traces
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)

    with pytest.raises(SetupError, match=r"pip install 'fairlane\[otel\]'"):
        read_settings({}, {"FAIRLANE_TRACES": "1"})
    assert not read_settings({}, {}).traces


def test_every_number_has_a_range() -> None:
    """And the ends of it can be used."""
    optional = {"admin_port": 0}  # None by default
    numbers = {name for name, value in (vars_of(Settings()) | optional).items() if type(value) in (int, float)}

    assert set(RANGES) == numbers
    assert read_settings({"places": 1000, "retention_seconds": 0, "kill_grace_seconds": 0}, {}).places == 1000


def vars_of(settings: Settings) -> dict[str, object]:
    """Each field with its value."""
    return {name: getattr(settings, name) for name in settings.__struct_fields__}


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    """Its value, which may be secret, is not shown."""
    with pytest.raises(SetupError, match=r"FAIRLANE_SECRETKEY .*FAIRLANE_SECRET_KEY") as refused:
        read_settings({}, {"FAIRLANE_SECRETKEY": "xyzzy"})

    assert "xyzzy" not in str(refused.value)


def test_variables_of_others_are_left_alone() -> None:
    """Clients, tests and the demonstration have some with our prefix."""
    others = ("FAIRLANE_URL", "FAIRLANE_API_KEY", "FAIRLANE_TEST_X", "FAIRLANE_DEMO_OUTPUT", "PATH", "fairlane_x")

    assert read_settings({}, dict.fromkeys(others, "x")) == Settings()


def a_file(folder: Path, text: str) -> Path:
    """A settings file with this text."""
    path = folder / "fairlane.toml"
    path.write_text(text)
    return path


def test_an_option_wins_over_a_variable_over_a_file_over_the_default(tmp_path: Path) -> None:
    """Each setting by itself, and each with its source."""
    text = 'port = 1\nplaces = 1\nworkers = 1\nlease_seconds = 60\nlog_format = "json"\ntraces = false'
    path = a_file(tmp_path, text)

    found = find_settings({"port": 3, "workers": None}, {"FAIRLANE_PORT": "2", "FAIRLANE_PLACES": "2"}, config=path)

    settings = found.settings
    assert (settings.port, settings.places, settings.workers, settings.sweep_seconds) == (3, 2, 1, 5.0)
    assert (settings.lease_seconds, settings.log_format) == (60.0, "json")
    in_file = {name: f"{name} in {path}" for name in ("workers", "lease_seconds", "log_format", "traces")}
    assert found.sources == in_file | {"port": "--port", "places": "FAIRLANE_PLACES"}


def test_the_file_of_the_variable_is_read_everywhere(tmp_path: Path) -> None:
    """By the commands about a database, too; the option names another one."""
    path = a_file(tmp_path, 'database = "sqlite:////srv/a.db"\nport = 1')
    other = tmp_path / "other.toml"
    other.write_text("port = 2")

    environment = {"FAIRLANE_CONFIG": str(path)}

    assert read_settings({}, environment).port == 1
    assert read_settings({}, environment, config=other).port == 2
    assert usual_database(environment) == "sqlite:////srv/a.db"
    assert usual_database({}) == Settings().database


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("prot = 1", "prot is not a setting: the nearest is port; rename it, or delete it"),
        ("FAIRLANE_PORT = 1", "FAIRLANE_PORT is not a setting: the nearest is port"),
        ("[server]\nport = 1", "server is not a setting"),
        ("port = many", "is not TOML"),
        ('port = "many"', "port in .* cannot be 'many': give a whole number from 0 to 65535, or delete the line"),
        ("webhook_ports = 443", "cannot be 443: give text in quotes"),
        ("lease_seconds = 5", "lease_seconds in .* is 5, and FAIRLANE_RENEW_SECONDS is not set and 10.0; change one"),
        ("database = 5", "database in .* cannot be this value, which is not shown: give text in quotes"),
        ('secret_key = ["hush"]', "secret_key in .* cannot be this value, which is not shown"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_cure(tmp_path: Path, text: str, words: str) -> None:
    """With the file and the line; a secret is not shown."""
    with pytest.raises(SetupError, match=words) as refused:
        read_settings({}, {}, config=a_file(tmp_path, text))

    assert "fairlane.toml" in str(refused.value)
    assert "hush" not in str(refused.value)


def test_a_file_that_is_missing_is_told(tmp_path: Path) -> None:
    """Instead of serving with defaults."""
    with pytest.raises(SetupError, match=r"nowhere.toml cannot be read: No such file.*--config or FAIRLANE_CONFIG"):
        read_settings({}, {}, config=tmp_path / "nowhere.toml")


@each(
    "address",
    [
        "postgresql://fairlane:hush@db/x",
        "postgresql://fairlane:hush@/x?host=/run/postgresql",
        "postgresql://fairlane:hush/hush@db/x",
        "postgresql://fairlane:hush@hush@db/x",
        "postgresql://me@server:hush@db/x",
        "postgresql://me/there:hush@db/x",
        "postgresql://fairlane:hush?hush#hush@db/x",
        "postgresql://:hush@one:5432,two:5433/x",
        "postgresql://db/x?user=fairlane&password=hush",
        "postgresql://db/x?sslmode=require&sslpassword=hush&password=hush#part",
        "postgresql://fairlane:hush@[::1/x",
    ],
)
def test_an_address_is_shown_without_its_password(address: str) -> None:
    """Neither a password before the host nor one among the options, even if the address cannot be read."""
    assert "hush" not in without_password(address)
    assert without_password(without_password(address)) == without_password(address)


def test_an_address_without_a_password_is_shown_whole() -> None:
    """With its user, its hosts and its options."""
    address = "postgresql://fairlane@one:5432,two:5433/x?sslmode=require&target_session_attrs=any"

    assert without_password(address) == address


def test_the_settings_in_force_are_shown_without_secrets(
    fairlane: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For people and for programs, with their sources."""
    monkeypatch.setenv("FAIRLANE_SECRET_KEY", "hush")
    monkeypatch.setenv("FAIRLANE_DATABASE", "postgresql://fairlane:hush@db/x?password=hush&sslmode=require")
    monkeypatch.setenv("FAIRLANE_PG_NOTIFY", "postgresql://fairlane:hush@db/x")
    path = a_file(tmp_path, "port = 9000")

    shown = fairlane("settings", "--config", str(path))
    told = fairlane("settings", "--config", str(path), "--json")

    lines = {line.split()[0]: line.split()[1:] for line in shown.out.splitlines()}
    assert lines["port"] == ["9000", "port", "in", str(path)]
    assert lines["places"] == ["10", "default"]
    assert lines["database"][0] == "postgresql://fairlane:(hidden)@db/x?password=(hidden)&sslmode=require"
    assert told.document["port"] == {"value": 9000, "source": f"port in {path}"}
    assert told.document["secret_key"] == {"value": "(hidden)", "source": "FAIRLANE_SECRET_KEY"}
    assert list(told.document) == list(Settings.__struct_fields__)
    assert "hush" not in shown.out + told.out
