"""Single submits over HTTP, 32 connections, each answered after its synced commit. No worker takes them."""

from collections.abc import Sequence

from benchmarks.filling import Party, fill
from benchmarks.homes import Database, Home
from benchmarks.load import Load, Program, request_bytes
from benchmarks.scenario import Figures, Scale
from benchmarks.servers import Fairlane

CONNECTIONS = 32
ORGANIZATIONS = 20
PARTIES = [Party(f"organization-{number}", slots=5) for number in range(ORGANIZATIONS)]
BODY = b'{"taskType":"NOOP","payload":{"prompt":"a payload of usual size"}}'


class Submits:
    """One database for all rounds; it grows."""

    def __init__(self, home: Home, scale: Scale) -> None:
        self._database = home.database("submits")
        self._scale = scale

    def prepare(self) -> None:
        """Make the organizations."""
        fill(self._database, PARTIES)

    def measure(self, turn: int) -> Figures:
        """Load one server."""
        load = submit_load(self._database, PARTIES, seconds=self._scale.load_seconds)
        return {
            "submits.per_second": load.per_second,
            "submits.p50_us": load.p50_us,
            "submits.p99_us": load.p99_us,
            "submits.client_busy": load.busy,
        }


def submit_load(database: Database, parties: Sequence[Party], *, seconds: float) -> Load:
    """Submit to one server without workers, for these organizations in turn."""
    with Fairlane(database, workers=0) as server:
        requests = submit_requests(parties)
        Program(server.url, requests, connections=CONNECTIONS, seconds=0.5).result()
        load = Program(server.url, requests, connections=CONNECTIONS, seconds=seconds).result()
    if load.refused:
        raise RuntimeError(f"submits: {load.refused} of {load.answered} answers were not 200")
    return load


def submit_requests(parties: Sequence[Party]) -> list[bytes]:
    """One submit for each organization."""
    return [request_bytes("POST", "/v1/async/task", key=party.key, body=BODY) for party in parties]
