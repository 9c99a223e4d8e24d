"""Submits, waits, calls and reads the status with the client that was generated. Run by the test, with the generated
package ``fairlane_generated`` and its own dependencies on the path; prints what came as JSON."""

import importlib
import json
import os
import sys
from typing import Any


def main(address: str, key: str) -> None:
    """Do each once."""
    generated: Any = importlib.import_module("fairlane_generated")
    models: Any = importlib.import_module("fairlane_generated.models")
    operations = {
        name: importlib.import_module(f"fairlane_generated.api.{folder}.{name}").sync
        for folder, name in (
            ("tasks", "submit_task"), ("tasks", "find_task"), ("calls", "call_count_words"), ("status", "read_status"),
        )
    }  # fmt: skip
    payload = models.PayloadCOUNTWORDS
    with generated.AuthenticatedClient(base_url=address, token=key) as client:
        submission = models.SubmissionCOUNTWORDS(
            task_type="COUNT_WORDS", payload=payload(text="to be or not to be"), idempotency_key="from-python"
        )
        accepted = operations["submit_task"](client=client, body=submission)
        found = operations["find_task"](accepted.task.id, client=client, prefer="wait=20")
        called = operations["call_count_words"](client=client, body=payload(text="told at once"))
        status = operations["read_status"](client=client)
    print(
        json.dumps(
            {
                "status": str(found.task.status),
                "words": found.response["words"],
                "success": called.success,
                "called": called.result["words"],
                "max": status.concurrency.max_,
                "queued": status.queued_tasks,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], os.environ["FAIRLANE_API_KEY"])
