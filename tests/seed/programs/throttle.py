"""Submits a list of tasks in batches, and waits whenever the queue is deep."""

import os
import time

import requests

BASE_URL = "https://api.cloro.dev"
HEADERS = {"Authorization": f"Bearer {os.environ['API_KEY']}", "Content-Type": "application/json"}
BATCH = 500
DEEP = 500


def queued_tasks():
    response = requests.get(f"{BASE_URL}/v1/async/status", headers=HEADERS)
    response.raise_for_status()
    return response.json()["queuedTasks"]


def submit_all(tasks):
    deepest = accepted = waits = 0
    while tasks:
        if queued_tasks() < DEEP:
            batch, tasks = tasks[:BATCH], tasks[BATCH:]
            response = requests.post(f"{BASE_URL}/v1/async/task/batch", headers=HEADERS, json=batch)
            response.raise_for_status()
            accepted += response.json()["summary"]["succeeded"]
            deepest = max(deepest, queued_tasks())
        else:
            waits += 1
            time.sleep(60)
    return accepted, deepest, waits


if __name__ == "__main__":
    wanted = [
        {"taskType": "CHATGPT", "payload": {"prompt": f"question {number}"}, "idempotencyKey": f"question-{number}"}
        for number in range(int(os.environ["TASKS"]))
    ]
    print(*submit_all(wanted))
