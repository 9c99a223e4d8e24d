"""``python -m fairlane.worker``: a worker process, started by a supervisor."""

from fairlane.worker.boot import run_child
from fairlane.worker.process import work

if __name__ == "__main__":
    run_child(work)
