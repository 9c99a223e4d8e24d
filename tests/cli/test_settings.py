"""Settings that cannot be used are refused by name."""

import sys

import pytest

from fairlane.errors import SetupError
from fairlane.settings import RANGES, Settings, read_settings


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
