"""What holds for every test: no setting leaks in, no file is left outside, no thread of ours lives on."""

import gc
import logging
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import hypothesis
import pytest

from tests.watching import SHARED_THREAD, pytest_configure  # noqa: F401 - a hook

MEMORY = Path("/dev/shm")
"""Where Linux keeps files in memory."""
MEMORY_BYTES = 4 << 30
"""Free memory that a run may need for its files at the same time, several times over."""


def _in_memory() -> bool:
    """Return whether temporary files can lie in memory: programs can run from there, and there is room."""
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return False
    return not found.f_flag & os.ST_NOEXEC and found.f_bavail * found.f_frsize >= MEMORY_BYTES


# On a disk each commit of each test waits for it. Files in memory survive a killed process as files on a disk do, and
# tests/proof/power_cuts.py has files of its own that lose what was not synced. Set before the first temporary folder is
# made; the processes of a run inherit it.
if "TMPDIR" not in os.environ and _in_memory():
    os.environ["TMPDIR"] = str(MEMORY)
    tempfile.tempdir = None

# Collecting makes a million objects that live until the end, and each of a run's processes collects all tests. The
# garbage collector stands still meanwhile, and does not look at them afterwards.
gc.disable()

hypothesis.settings.register_profile("house", deadline=None, print_blob=True, database=None)
hypothesis.settings.load_profile("house")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Say on which databases the HTTP tests run: by default on SQLite; ``either``: each on one of the two, half of them
    on PostgreSQL; ``both``: each on both. The store's tests always run on both."""
    parser.addoption("--http-on", choices=["sqlite", "postgres", "either", "both"], default="sqlite")


def pytest_xdist_auto_num_workers() -> int:
    """Two processes more than there are cores, if there are two: tests wait for programs as often as they compute."""
    cores = os.cpu_count() or 1
    return cores + min(cores, 2)


LONG = (
    "api/test_authorization.py",
    "api/test_bombs.py",
    "api/test_head.py",
    "api/test_slow_clients.py",
    "cli/test_connections.py",
    "cli/test_customer_commands.py",
    "cli/test_demo.py",
    "cli/test_hostile.py",
    "cli/test_secrecy.py",
    "cli/test_move.py",
    "cli/test_reload.py",
    "cli/test_serve.py",
    "cli/test_migrate.py::test_servers_and_a_migration_that_start_at_once_all_succeed",
    "cli/test_socket_activation.py",
    "cli/test_submit.py",
    "cli/test_surroundings.py",
    "client/test_client.py::test_many_tasks_pass_through_the_real_batch_route",
    "client/test_many.py::test_the_queue_never_grows_beyond_the_mark",
    "client/test_outcomes.py",
    "deploy/test_compose.py",
    "deploy/test_nginx.py",
    "deploy/test_pooler.py",
    "docs/test_tutorial.py",
    "fuzz/",
    "proof/",
    "served/",
    "seed/",
    "servers/",
    "store/test_crash.py",
    "store/test_fairness.py",
    "store/test_machine.py",
    "store/test_migrating.py",
    "store/test_moving.py",
    "store/test_postgres.py::test_a_database_of_another_encoding_is_refused_before_its_first_table",
    "store/test_postgres.py::test_a_standby_is_a_database_that_is_away",
    "store/test_rows_visited.py",
    "test_cluster.py",
    "whole/",
    "worker/test_loops.py",
    "worker/test_remote.py",
    "worker/test_silence.py",
    "worker/test_starts.py",
    "worker/test_supervisor.py",
    "worker/test_tracing.py",
    "worker/test_watcher.py",
)
"""What starts many processes, waits for real time to pass, or walks far."""
SERVERS = {"server", "working_server"}
"""Tests of commands beside a server process are long, too: those with one of these fixtures."""
SHARE = 4
"""``make test`` runs all of the store's tests on SQLite, and one in four of them on PostgreSQL, too."""

PROOF = (
    "docs/test_tutorial.py::test_the_last_section_runs_on_postgresql",
    "proof/test_network.py::test_no_fault_of_http_breaks_a_promise",
    "proof/test_power_cuts.py::test_no_power_cut_loses_what_was_acknowledged",
    "simulation/test_simulation.py::test_every_promise_holds",
    "simulation/test_simulation.py::test_a_planted_fault_is_found_early",
    "store/test_machine.py::test_no_walk_differs_from_the_reference",
    "store/test_machine.py::test_a_planted_fault_is_found",
)
"""What ``make check`` leaves to ``make proof``, whose full form runs the whole suite. The short form runs more seeds,
walks and images of the same programs; their controls take longest."""
IN_CHECK = ("[charges twice]", "[keeps no attempt]", "[settles for whoever asks]", "[accepts a used key]")
"""Controls that ``make check`` runs all the same."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Let ``make test`` not import the files of which every test is long: each process of a run would."""
    if config.option.markexpr != "not long":
        return None
    here = Path(__file__).parent
    place = collection_path.relative_to(here).as_posix() if collection_path.is_relative_to(here) else ""
    return True if place in LONG or f"{place}/" in LONG else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """``make test`` leaves out what takes long; ``make check`` runs it, and first: what runs last should be short, so
    that no process works on alone."""
    here = Path(__file__).parent
    for item in items:
        place = f"{item.path.relative_to(here).as_posix()}::{item.name}"
        beside_a_server = place.startswith("cli/") and SERVERS & set(getattr(item, "fixturenames", ()))
        parameters = item.callspec.params if hasattr(item, "callspec") else {}
        again = (
            place.startswith("store/") and parameters.get("database") == "postgres" and crc32(place.encode()) % SHARE
        )
        if place.startswith(LONG + PROOF) or beside_a_server or again:
            item.add_marker(pytest.mark.long)
        if place.startswith(PROOF) and not place.endswith(IN_CHECK):
            item.add_marker(pytest.mark.proof)
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Let the garbage collector work from here on, on what the tests make."""
    gc.freeze()
    gc.enable()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Servers of HTTP tests stand on the databases that were asked for."""
    if "http_database" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--http-on")
        kinds = ["sqlite", "postgres"] if chosen in ("either", "both") else [chosen]
        if getattr(metafunc.module, "REFUSED_BEFORE_THE_STORE", False):
            kinds = kinds[:1]  # hundreds of rows of which no database ever hears
        elif chosen == "either":
            kinds = [kinds[crc32(metafunc.definition.nodeid.encode()) % 2]]  # the same in every process of a run
        metafunc.parametrize("http_database", kinds, scope="session", indirect=True)


@pytest.fixture(scope="session")
def http_database(request: pytest.FixtureRequest) -> str:
    """The kind of database that servers of HTTP tests stand on."""
    return str(request.param)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Fairlane runs on asyncio alone."""
    return "asyncio"


@pytest.fixture(autouse=True)
def own_log(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keep what the shared server of HTTP tests logs, such as deliveries of tests before, out of the log of others."""
    if "http_database" in request.fixturenames:
        yield
        return

    def own(record: logging.LogRecord) -> bool:
        return not (record.threadName or "").startswith(SHARED_THREAD)

    caplog.handler.addFilter(own)
    yield
    caplog.handler.removeFilter(own)


@pytest.fixture(scope="session", autouse=True)
def _own_surroundings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No FAIRLANE_* variable and no directory of the person who runs the tests is seen or touched."""
    home: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("FAIRLANE_")]:
            patch.delenv(name)
        patch.setenv("XDG_DATA_HOME", str(home / "data"))
        patch.setenv("XDG_CONFIG_HOME", str(home / "config"))
        patch.delenv("XDG_RUNTIME_DIR", raising=False)
        # A shell that starts us in the background lets us ignore it, and every program that we start.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("fairlane")]
    assert not left, f"threads of ours outlived the tests: {left}"
