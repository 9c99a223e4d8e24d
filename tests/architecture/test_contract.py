"""The contract's coverage, visible: each of its endpoints and error codes, and the tests that hold them.

A row names tests; a test that is renamed or deleted takes its row with it. What we added to the contract needs no row:
it is enough that some test asks for it.
"""

import json
import re
from functools import cache

from fairlane import errors
from fairlane.api.calls import FAILURE_STATUSES
from fairlane.api.customers import customer_routes
from tests.api.house import an_application
from tests.architecture.sources import REPOSITORY
from tests.tables import each

TESTS = REPOSITORY / "tests"
GOLDEN = TESTS / "wire"
CALL = "POST /v1/monitor/{engine}"
DESCRIBED = {route.line: route for route in customer_routes(an_application().task_types)}
DESCRIBED[CALL] = DESCRIBED["POST /v1/monitor/any"]

ENDPOINTS: dict[str, tuple[str, ...]] = {
    "GET /v1/async/status": (
        "api/test_status.py::test_an_idle_organization_has_zeros",
        "api/test_status.py::test_queued_and_processing_are_told_apart",
        "api/test_status.py::test_a_lowered_limit_is_told_as_it_is",
        "api/test_status.py::test_concurrency_is_null_without_a_limit",
        "seed/test_programs.py::test_the_curl_line_answers_the_four_values",
    ),
    "POST /v1/async/task": (
        "api/test_tasks.py::test_an_accepted_task_is_there_at_once",
        "api/test_tasks.py::test_of_many_at_once_with_one_key_exactly_one_wins",
        "api/test_bad_input.py::test_a_wrong_field_is_named",
    ),
    "POST /v1/async/task/batch": (
        "api/test_batch.py::test_every_item_has_its_verdict",
        "api/test_batch.py::test_a_batch_has_at_most_500_items",
        "api/test_batch.py::test_a_batch_needs_room_for_all_of_it",
        "api/test_credits.py::test_a_batch_cannot_overshoot_by_itself",
    ),
    "GET /v1/async/task/{taskId}": (
        "api/test_tasks.py::test_an_accepted_task_is_there_at_once",
        "api/test_routes.py::test_a_task_is_found_by_any_key",
        "api/test_bad_input.py::test_a_foreign_task_is_answered_like_an_unknown_one",
        "wire/test_golden.py::test_a_result_is_embedded_byte_for_byte",
    ),
    "DELETE /v1/async/queue": (
        "api/test_batch.py::test_the_queue_is_cleared",
        "api/test_batch.py::test_one_organizations_clear_is_not_anothers",
    ),
    CALL: (
        "api/test_calls.py::test_a_call_is_answered_with_its_result",
        "api/test_calls.py::test_of_two_at_the_last_slot_exactly_one_is_admitted",
        "api/test_calls.py::test_who_hangs_up_later_holds_the_slot_to_the_end_of_the_attempt",
        "api/test_calls.py::test_five_minutes_are_the_limit",
        "api/test_bombs.py::test_a_bomb_in_a_calls_field_takes_no_slot",
        "whole/test_failure.py::test_a_killed_workers_calls_run_again_while_their_callers_wait",
        "whole/test_failure.py::test_a_killed_servers_calls_are_over_and_cost_nothing",
    ),
    "GET /v1/credits": (
        "api/test_credits.py::test_credits_are_off_unless_switched_on",
        "api/test_credits.py::test_the_balance_is_exact_as_soon_as_a_task_is_completed",
    ),
    "GET /v1/countries": (
        "api/test_credits.py::test_without_lists_clients_still_find_their_keys_good",
        "api/test_credits.py::test_the_operators_lists_are_answered",
    ),
    "GET /v1/states": ("api/test_credits.py::test_the_operators_lists_are_answered",),
    "webhooks": (
        "webhooks/test_sender.py::test_a_webhook_is_told_what_get_answers",
        "webhooks/test_sender.py::test_a_failing_receiver_is_tried_five_times",
        "webhooks/test_sender.py::test_every_try_is_signed_again",
        "webhooks/test_signing.py::test_the_contracts_vector",
        "docs/test_webhooks_page.py::test_the_verifiers_shown_take_what_is_ours_and_nothing_else",
    ),
}
"""The contract's surface, and what holds it."""

ERRORS: dict[str, tuple[str, ...]] = {
    "400 VALIDATION_ERROR": (
        "api/test_bad_input.py::test_a_body_that_is_not_strict_json_is_refused",
        "api/test_bombs.py::test_a_bomb_is_refused_in_every_field",
    ),
    "401 MISSING_API_KEY": ("api/test_bad_input.py::test_who_has_no_key_is_told_before_anything_else",),
    "401 INVALID_API_KEY_FORMAT": ("api/test_bad_input.py::test_who_has_no_key_is_told_before_anything_else",),
    "401 INVALID_OR_EXPIRED_API_KEY": (
        "api/test_bad_input.py::test_a_revoked_key_and_a_disabled_organization_are_refused_at_once",
    ),
    "403 INSUFFICIENT_CREDITS": ("api/test_credits.py::test_a_task_that_is_not_covered_is_refused",),
    "404 RESOURCE_NOT_FOUND": (
        "api/test_bad_input.py::test_an_unknown_task_is_not_found",
        "api/test_routes.py::test_an_unknown_method_is_an_unknown_route",
    ),
    "409 RESOURCE_ALREADY_EXISTS": ("api/test_tasks.py::test_a_used_key_is_refused",),
    "413 PAYLOAD_TOO_LARGE": ("api/test_sizes.py::test_a_larger_payload_is_refused",),
    "429 RATE_LIMIT_EXCEEDED": ("api/test_rates.py::test_a_refused_request_says_when_to_come_back",),
    "429 CONCURRENCY_LIMIT_EXCEEDED": ("api/test_calls.py::test_without_a_free_slot_a_call_is_refused_at_once",),
    "429 QUEUE_LIMIT_EXCEEDED": ("api/test_tasks.py::test_a_full_queue_refuses",),
    "499 REQUEST_CANCELED": ("api/test_calls.py::test_who_hangs_up_before_a_worker_has_it_frees_the_slot",),
    "500 INTERNAL_SERVER_ERROR": (
        "api/test_faults.py::test_a_crash_is_one_generic_answer_and_one_log_line",
        "api/test_calls.py::test_attempts_that_are_used_up_are_a_500",
    ),
    "502 EXTERNAL_SERVICE_ERROR": ("api/test_calls.py::test_a_failure_of_the_handlers_own_keeps_its_code",),
    "503 SERVICE_UNAVAILABLE": (
        "api/test_faults.py::test_a_broken_store_is_503",
        "api/test_faults.py::test_while_draining_only_new_work_is_refused",
    ),
}
"""The contract's error codes (section 8), and what holds them."""

OWN = {"TASK_ENDED", "TASK_NOT_FAILED"}
"""Codes of ours for what the contract does not know."""


@each("row", [*ENDPOINTS, *ERRORS])
def test_the_contract_is_held_by_tests(row: str) -> None:
    """Each test that a row names is there."""
    named = {**ENDPOINTS, **ERRORS}[row]

    missing = [name for name in named if name not in _tests()]

    assert named
    assert not missing, missing


@each("route", [route for route in ENDPOINTS if route != "webhooks"])
def test_an_endpoint_of_the_contract_is_described_and_has_a_golden_body(route: str) -> None:
    """In /openapi.json, with at least one golden answer."""
    examples = DESCRIBED[route].examples

    assert examples
    assert all((GOLDEN / f"{name}.json").is_file() for name in examples)


@each("row", ERRORS)
def test_an_error_of_the_contract_has_a_golden_body(row: str) -> None:
    """With its code; and its class, if it is a refusal, has its status."""
    status, code = row.split()

    bodies = [json.loads(path.read_text("utf-8")) for path in GOLDEN.glob("error_*.json")]
    statuses = {kind.status for kind in errors.Refusal.__subclasses__() if kind.code == code}
    statuses |= {FAILURE_STATUSES[code]} if code in FAILURE_STATUSES else set()

    assert code in {body["error"]["code"] for body in bodies}
    assert int(status) in statuses or code == "INTERNAL_SERVER_ERROR"


def test_customers_meet_no_code_that_is_not_listed() -> None:
    """Whatever an operation of customers may be refused with is the contract's, or one of our own."""
    codes = {f"{kind.status} {kind.code}" for operation in DESCRIBED.values() for kind in operation.refusals}

    assert {row for row in codes if row not in ERRORS and row.split()[1] not in OWN} == set()


@each("route", [route for route in DESCRIBED if route != CALL])
def test_every_route_is_asked_for_by_some_test(route: str) -> None:
    """Its path stands in a test, its open segments filled with anything."""
    path = re.sub(r"\\{\w+\\}", r"[^/\"' ]+", re.escape(route.partition(" ")[2]))

    asked = re.compile(path + r"(?![\w/])")

    assert any(asked.search(text) for text in _texts())


@cache
def _tests() -> frozenset[str]:
    """Every test function, by file and name."""
    return frozenset(
        f"{path.relative_to(TESTS).as_posix()}::{name}"
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    )


@cache
def _texts() -> tuple[str, ...]:
    """The tests that ask servers, and what they share."""
    return tuple(path.read_text("utf-8") for path in TESTS.rglob("*.py") if path.parent.name != "architecture")
