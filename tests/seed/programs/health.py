"""Is the queue healthy? Exit code 1 if not."""

import os
import sys

import requests


def check_queue_health():
    response = requests.get(
        "https://api.cloro.dev/v1/async/status", headers={"Authorization": f"Bearer {os.environ['API_KEY']}"}
    )
    response.raise_for_status()
    data = response.json()

    alerts = []
    if data["queuedTasks"] > 1000:
        alerts.append(f"queue depth is high: {data['queuedTasks']} tasks")
    if data["concurrency"] and data["concurrency"]["used"] / data["concurrency"]["max"] > 0.9:
        alerts.append("slots are nearly used up")
    return alerts


alerts = check_queue_health()
print("\n".join(alerts) or "healthy")
sys.exit(1 if alerts else 0)
