"""The options of worker processes: from the settings, over one argument, to the child."""

import pytest

from fairlane.settings import Settings
from fairlane.worker.options import KEY_VARIABLE, Options, read_options
from fairlane.worker.supervisor import options_of


def test_a_child_reads_the_options_that_its_parent_wrote(monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the key, which all users could see in an argument: it comes and goes with the environment."""
    options = Options(app_reference="shop:app", servers=("unix:a", "https://b"), key="wk_secret", places=7, traces=True)
    monkeypatch.setenv(KEY_VARIABLE, options.environment()[KEY_VARIABLE])

    argument = options.argument(channel=5, inherit_fds=[6, 7])
    read, again = read_options(["worker", argument]), read_options(["worker", argument])

    assert "wk_secret" not in argument
    assert (read.app_reference, read.servers, read.key) == (options.app_reference, options.servers, options.key)
    assert (read.places, read.traces, read.channel, read.inherit_fds) == (7, True, 5, (6, 7))
    assert again.key is None


@pytest.mark.parametrize("arguments", [[], ["{}"], ["places=3"], ["{}", "more"]])
def test_a_worker_process_started_by_hand_says_so(arguments: list[str]) -> None:
    """Its options are written by a supervisor."""
    with pytest.raises(SystemExit, match="started by fairlane"):
        read_options(["worker", *arguments])


def test_a_setting_with_the_name_of_an_option_is_passed_on() -> None:
    """Each is said once: none is copied by hand."""
    settings = Settings(places=3, kill_grace_seconds=1.5, result_limit_bytes=9, log_error_text=True, traces=True)

    options = options_of(settings, app_reference="shop:app")

    assert (options.places, options.kill_grace_seconds, options.result_limit_bytes) == (3, 1.5, 9)
    assert options.log_error_text
    assert options.traces
