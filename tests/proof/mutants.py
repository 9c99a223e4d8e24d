"""Named mutants: the product with one promise taken out of it. The suite has to fail for each of them.

Each is one replaced piece of text, applied to a copy of the repository, and the tests that should notice it; the table
says which did. A piece that no longer stands in the source once fails ``test_mutants.py``, so the list stays true.

    python -m tests.proof.mutants                 all of them
    python -m tests.proof.mutants --only fence    those with the word in their names
    python -m tests.proof.mutants --share 3/10    every tenth, from the third on
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
SECONDS_MOST = 900
"""A run of tests that lasts longer counts as one that did not notice."""


@dataclass(frozen=True)
class Mutant:
    """One replaced piece of text."""

    name: str
    file: str
    """Below ``src/fairlane``."""
    old: str
    new: str
    tests: str
    """What should fail, as arguments of pytest."""


MUTANTS = (
    # Fences, slots and limits -----------------------------------------------------------------------------------------
    Mutant("any session settles any lease", "store/settling.py",
           "if lease is not None and lease.session_id == session_id:", "if lease is not None:",
           "tests/store/test_settling.py::test_a_report_from_another_session_is_gone"),
    Mutant("all attempts have one fence", "store/store.py",
           "return [text[start : start + 16] for start in range(0, len(text), 16)]", 'return ["0" * 16] * count',
           "tests/store/test_settling.py::test_a_report_after_a_retry_does_not_end_the_next_attempt "
           "tests/store/test_settling.py::test_a_report_after_the_sweep_is_gone_and_changes_nothing"),
    Mutant("an organization is read without its lock", "store/sql/organizations.sql",
           "WHERE id = ANY (:ids[bigint])\nORDER BY id\nFOR NO KEY UPDATE;",
           "WHERE id = ANY (:ids[bigint])\nORDER BY id;",
           "tests/store/test_postgres.py::test_limits_hold_across_servers "
           "tests/store/test_postgres.py::test_what_is_due_is_taken_by_one_server_each"),
    Mutant("calls do not count as slots in use", "store/locked.py",
           "return self.processing + self.calls", "return self.processing",
           "tests/store/test_calls.py::test_tasks_and_calls_share_the_slots"),
    Mutant("one slot too many", "store/locked.py",
           "return max(0, self.slots_max - self.used())", "return max(0, self.slots_max + 1 - self.used())",
           "tests/store/test_claiming.py::test_never_more_than_the_slots"),
    Mutant("a paused organization starts tasks", "store/locked.py",
           "return bool(self.paused or self.disabled)", "return bool(self.disabled)",
           "tests/store/test_claiming.py::test_nothing_starts_while_paused_or_disabled"),
    Mutant("leases are returned when they have lasted long", "store/sessions.py",
           "before = now - 2 * transaction.config.kill_grace_ms", "before = now + 3_600_000",
           "tests/store/test_sessions.py::test_an_expired_session_may_renew_until_a_sweep_has_seen_it "
           "tests/store/test_sessions.py::test_attempts_long_past_their_deadline_are_taken_back"),
    Mutant("a lease without a session row stays for ever", "store/sql/sessions.sql",
           "      FROM lease AS l\n      WHERE NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = l.session_id"
           " AND s.dead = 0)",
           "      FROM lease AS l\n      WHERE EXISTS (SELECT 1 FROM session AS s WHERE s.id = l.session_id"
           " AND s.dead = 1)",
           "tests/store/test_sessions.py::test_a_lease_whose_session_is_missing_goes_back"),
    Mutant("a session ends and its leases stay", "store/sessions.py",
           "    return (yield from return_leases(transaction, returns))", "    return len(returns)",
           "tests/store/test_sessions.py::test_an_ended_session_returns_everything_at_once"),
    Mutant("a dead session renews itself", "store/sql/sessions.sql",
           "WHERE id = :id\n  AND dead = 0\n  AND key_id", "WHERE id = :id\n  AND key_id",
           "tests/store/test_sessions.py::test_a_dead_session_never_comes_back"),
    Mutant("a dead session claims", "store/sql/sessions.sql",
           "FROM session\nWHERE dead = 0\n  AND id IN (SELECT value FROM json_each(:ids));",
           "FROM session\nWHERE id IN (SELECT value FROM json_each(:ids));",
           "tests/store/test_exchanges.py::test_a_dead_session_exchanges_nothing "
           "tests/store/test_exchanges.py::test_a_dead_session_does_not_fail_its_neighbours"),
    Mutant("another worker's key renews a session", "store/sql/sessions.sql",
           "  AND dead = 0\n  AND key_id IS NOT DISTINCT FROM CAST(:key_id AS TEXT)\nRETURNING lease_ms, draining;",
           "  AND dead = 0\nRETURNING lease_ms, draining;",
           "tests/store/test_sessions.py::test_a_session_belongs_to_the_key_that_opened_it"),
    Mutant("a worker's name is its session", "api/worker.py",
           "            id=new_id(),\n            name=register.name,",
           "            id=register.name,\n            name=register.name,",
           "tests/api/test_worker_routes.py"),
    Mutant("an answered exchange claims again", "store/leases.py",
           "leases = answered.get((one.session_id, one.id))", "leases = None",
           "tests/store/test_exchanges.py::test_the_same_exchange_yields_the_same_leases"),
    Mutant("an exchange gives up when others hold the first in turn", "store/claiming.py",
           "continue  # other transactions hold those next in turn; there may be more behind them", "break",
           "tests/store/test_postgres.py::test_a_claim_looks_behind_all_whose_turn_it_is_and_who_are_held "
           "tests/store/test_postgres.py::test_what_others_have_queued_is_claimed_while_somebody_holds_a_row"),
    # Attempts and outcomes --------------------------------------------------------------------------------------------
    Mutant("a lost attempt does not count", "rules/attempts.py",
           "if isinstance(ending, Released):", "if isinstance(ending, Released | Lost):",
           "tests/test_rules.py::test_a_lost_attempt_counts_and_is_made_again_at_once"),
    Mutant("one attempt more than allowed", "rules/attempts.py",
           "attempt >= attempts:", "attempt > attempts:",
           "tests/test_rules.py::test_the_last_failed_attempt_ends_the_task"),
    Mutant("a canceled task completes", "store/settling.py",
           "canceled = lease.canceled_at is not None", "canceled = False",
           "tests/store/test_canceling.py::test_a_running_task_ends_canceled_however_its_handler_ends"),
    Mutant("an outcome owes no webhook", "store/settling.py",
           "for lease, _ in completed if lease.webhook]",
           "for lease, _ in completed if lease.webhook and not reported]",
           "tests/store/test_deliveries.py::test_a_delivery_is_owed_with_the_outcome"),
    Mutant("held credits are returned twice", "store/settling.py",
           "organization.release(cost)", "organization.release(2 * cost)",
           "tests/store/test_credits.py::test_a_completed_task_is_charged_once "
           "tests/store/test_credits.py::test_a_task_waits_for_credits_that_running_work_holds "
           "tests/store/test_credits.py::test_switching_takes_what_runs_along"),
    Mutant("a failure is charged", "store/settling.py",
           "after.cause, 0, lease.attempt,", "after.cause, lease.cost, lease.attempt,",
           "tests/store/test_credits.py::test_what_does_not_complete_costs_nothing"),
    # Submitting -------------------------------------------------------------------------------------------------------
    Mutant("keys are looked up before the lock", "store/tasks.py",
           '    bound = query("find_used_keys", asked, into=UsedKeyRow, keys=asked)\n'
           "    locked = yield from transaction.lock((one.organization_id for one in submissions), bound)\n"
           "    now = transaction.now\n    used = {(row.organization_id, row.key) for row in bound.rows}",
           '    bound = yield from rows_if("find_used_keys", asked, into=UsedKeyRow, keys=asked)\n'
           "    locked = yield from transaction.lock(one.organization_id for one in submissions)\n"
           "    now = transaction.now\n    used = {(row.organization_id, row.key) for row in bound}",
           "tests/store/test_changes_at_once.py::test_one_key_through_two_servers_at_once_makes_one_task"),
    Mutant("a key may be used twice in one request", "store/tasks.py",
           "used.add((organization.id, task.idempotency_key))", "pass",
           "tests/store/test_submitting.py::test_a_key_is_used_once_inside_one_submission "
           "tests/store/test_submitting.py::test_a_key_is_used_once_inside_one_commit"),
    Mutant("one queued task more than the limit", "store/tasks.py",
           "organization.queued + wanted <= organization.queue_limit",
           "organization.queued + wanted <= organization.queue_limit + 1",
           "tests/store/test_submitting.py::test_the_queue_limit_is_exact"),
    Mutant("a batch may cost more than the balance", "store/tasks.py",
           "organization.can_pay(task.cost, besides=spent)", "organization.can_pay(task.cost, besides=0)",
           "tests/store/test_credits.py::test_one_request_cannot_overshoot_by_itself"),
    Mutant("a delayed task is ready at once", "store/tasks.py",
           "if due_at is None or due_at <= transaction.now:", "if True:",
           "tests/store/test_scheduling.py::test_a_task_starts_on_its_moment_and_not_before"),
    Mutant("a disabled organization submits", "store/tasks.py",
           "    if organization is None or organization.disabled:\n        return KeyRefused()\n"
           "    if task.idempotency_key",
           "    if organization is None:\n        return KeyRefused()\n    if task.idempotency_key",
           "tests/store/test_submitting.py::test_a_disabled_organization_submits_nothing"),
    # The fair order ---------------------------------------------------------------------------------------------------
    Mutant("priorities are ignored", "rules/fairness.py",
           "return PRIORITY_HIGHEST - priority", "return 0 * priority",
           "tests/test_rules.py::test_priorities_rank_from_the_highest"),
    Mutant("weights are ignored", "rules/fairness.py",
           "return milliseconds * VIRTUAL_UNITS_PER_MS // weight", "return milliseconds * VIRTUAL_UNITS_PER_MS",
           "tests/test_rules.py::test_a_share_is_proportional_to_weight"),
    Mutant("an idle organization saves up service", "rules/fairness.py",
           "return max(own, present)", "return own",
           "tests/store/test_fairness.py::test_an_idle_organization_banks_no_credit"),
    Mutant("an attempt that was short is charged as estimated", "store/settling.py",
           "sum(took_ms) - sum([lease.estimate_ms for lease in leases])", "0",
           "tests/store/test_fairness.py::test_slow_tasks_are_charged_for_what_they_took"),
    # Commits, adapters, outages ---------------------------------------------------------------------------------------
    Mutant("commits are not synced", "store/sqlite/opening.py",
           'connection.execute("PRAGMA synchronous = FULL")', 'connection.execute("PRAGMA synchronous = NORMAL")',
           "tests/store/test_sqlite.py::test_acknowledged_means_synced "
           "tests/proof/test_power_cuts.py::test_no_power_cut_loses_what_was_acknowledged"),
    Mutant("a transaction commits after it was called undone", "store/sql/connection.sql",
           "SELECT 1 / count(*) FROM marked", "SELECT 1 + count(*) FROM marked",
           "tests/store/test_lost_commits.py::test_what_was_not_committed_can_no_longer_commit"),
    Mutant("a commit that was called undone is called committed when it is asked for again", "store/sql/connection.sql",
           "THEN 1 ELSE last_commit.undone END", "THEN 1 ELSE 0 END",
           "tests/store/test_lost_commits.py::test_what_was_not_committed_can_no_longer_commit"),
    Mutant("a commit without an answer counts as committed", "store/postgres/commits.py",
           "return not undone", "return True",
           "tests/store/test_lost_commits.py::test_a_transaction_is_not_taken_for_another_of_the_same_number"),
    Mutant("a server writes on after a failed sync", "store/sqlite/writing.py",
           "                self.break_off(error)\n            if self.connection.in_transaction:",
           "                pass\n            if self.connection.in_transaction:",
           "tests/store/test_sqlite.py::test_after_a_failed_sync_nothing_is_acknowledged_any_more"),
    Mutant("readers may keep the log for ever", "store/sqlite/writing.py",
           "waits=pages >= LOG_PAGES_MOST and", "waits=False and",
           "tests/store/test_reads.py::test_a_long_read_does_not_let_the_log_grow_for_ever "
           "tests/store/test_reads.py::test_readers_one_after_the_other_do_not_let_the_log_grow_for_ever"),
    Mutant("a commit without an answer counts as done", "store/postgres/writing.py",
           "            if attempt.changed and not self._committed(attempt.number):\n"
           '                raise ConnectionResetError("the transaction was not committed") from error',
           "            pass",
           "tests/store/test_postgres.py::test_a_commit_without_an_answer_is_looked_up"),
    Mutant("one bad request fails its whole batch", "store/batching.py",
           "if len(requests) == 1 or isinstance(error, StoreUnreachable):", "if True:",
           "tests/store/test_group_commit.py::test_a_request_that_breaks_does_not_fail_its_neighbours"),
    Mutant("requests are answered in the wrong order", "store/batching.py",
           "self._answer(list(zip(requests, answers, strict=True)), effects)",
           "self._answer(list(zip(requests, answers[::-1], strict=True)), effects)",
           "tests/store/test_group_commit.py::test_a_full_queue_refuses_the_right_members "
           "tests/store/test_group_commit.py::test_a_refusal_does_not_undo_its_neighbours"),
    Mutant("leases expire while the database is away", "sweeper.py",
           "trusted = now - self._contact_since >= self._settings.lease_seconds", "trusted = True",
           "tests/api/test_sweeper.py::test_nobody_is_judged_before_a_lease_of_contact "
           "tests/api/test_sweeper.py::test_an_outage_starts_the_lease_of_contact_anew"),
    Mutant("upkeep runs once", "sweeper.py",
           "        while True:\n            await self.sweep_once()", "        for _ in (1,):\n"
           "            await self.sweep_once()",
           "tests/api/test_sweeper.py::test_upkeep_outlives_its_faults "
           "tests/api/test_sweeper.py::test_what_drifted_is_found_on_one_pass_and_mended_on_a_later_one"),
    Mutant("a clock that was set ends leases", "store/jumps.py",
           'yield from run("extend_sessions", now=now)', "pass",
           "tests/store/test_sessions.py::test_a_jump_of_the_clock_kills_nobody "
           "tests/api/test_sweeper.py::test_a_clock_that_was_set_kills_nobody"),
    Mutant("what began after the clock was set is moved with it", "store/sql/sessions.sql",
           "WHERE NOT (started_at >= :since AND started_at <= :now);", "WHERE :since <= :now + 10000000;",
           "tests/store/test_sessions.py::test_a_lease_taken_before_a_jump_is_noticed_keeps_its_deadline"),
    Mutant("the moment of a lock wait is the transaction's begin", "store/sql/connection.sql",
           "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;",
           "SELECT (extract(epoch FROM now()) * 1000)::bigint;",
           "tests/store/test_changes_at_once.py"
           "::test_what_waited_for_a_lock_is_as_old_as_the_lock_let_it_become"),
    # Waiting exchanges and hints --------------------------------------------------------------------------------------
    Mutant("a hint between claim and parking is lost", "api/parking.py",
           "        if self._hints == hints or parked.places == 0:\n            return",
           "        return",
           "tests/api/test_parking.py::test_work_that_comes_while_an_exchange_is_about_to_wait_is_not_overlooked"),
    Mutant("work left over is not passed on", "api/parking.py",
           "        if types and not self._draining:\n            self.hint(types)", "        return",
           "tests/api/test_parking.py::test_more_work_than_one_worker_has_places_wakes_the_next"),
    Mutant("lost hints are never made good", "api/parking.py",
           "                if parked.places > 0 and not parked.trying:\n", "                if False:\n",
           "tests/api/test_parking.py::test_a_lost_hint_costs_a_second_at_most"),
    Mutant("a draining server hands out work", "api/parking.py",
           "            return Settled(reply=await self._claim(exchange, places=0), draining=True)",
           "            return Settled(reply=await self._claim(exchange, places=exchange.places), draining=True)",
           "tests/api/test_parking.py::test_draining_answers_everybody_and_hands_out_nothing"),
    Mutant("hints stay at their own server", "store/postgres/wakeups.py",
           "            self._something.set()", "            pass",
           "tests/servers/test_wakeups.py::test_a_notice_is_enough"),
    # Keys, guards, limits of requests ---------------------------------------------------------------------------------
    Mutant("a revoked key works on from memory", "store/keys.py",
           "        finally:\n            self._callers.clear()\n            self._holders.clear()",
           "        finally:\n            pass",
           "tests/store/test_operators.py::test_a_revoked_key_works_no_more "
           "tests/store/test_installation_keys.py::test_a_key_lets_its_holder_in_until_it_is_revoked"),
    Mutant("a key that was read before its end is remembered", "store/cache.py",
           "        if emptied != self._emptied:\n            return\n", "",
           "tests/store/test_cache.py"),
    Mutant("keys are remembered for a minute", "store/keys.py",
           "KEPT_MS = 4_000", "KEPT_MS = 60_000",
           "tests/store/test_installation_keys.py::test_a_key_revoked_elsewhere_is_refused_within_five_seconds"),
    Mutant("a task of another organization is shown", "store/sql/tasks.sql",
           "webhook_url, run_at, retry_of\n      FROM task\n      WHERE organization_id = :organization_id\n"
           "        AND id = coalesce("
           "(SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),",
           "webhook_url, run_at, retry_of\n      FROM task\n      WHERE id ="
           " coalesce((SELECT id FROM task WHERE id = :reference),",
           "tests/api/test_authorization.py::test_what_is_anothers_answers_as_what_is_not_there"),
    Mutant("a delivery of another organization is sent again", "store/sql/deliveries.sql",
           "WHERE id = :id\n  AND organization_id = :organization_id\n  AND claimed_until IS NULL;",
           "WHERE id = :id\n  AND claimed_until IS NULL;",
           "tests/store/test_deliveries.py::test_nobody_redelivers_what_is_anothers"),
    Mutant("one request a second more than allowed", "api/rates.py",
           "if left < 0:", "if left < -1:",
           "tests/api/test_rates.py::test_the_limit_is_exact_and_refilled_every_second"),
    Mutant("more keys give an organization more requests", "api/rates.py",
           "min(self._limit - made, KEYS_AT_FULL_RATE * self._limit - together)", "self._limit - made",
           "tests/api/test_rates.py::test_the_keys_of_an_organization_have_a_limit_together"),
    Mutant("keys can be guessed at the login", "dashboard/tries.py",
           "return free", "return True",
           "tests/dashboard/test_tries.py::test_one_try_comes_back_every_few_seconds"),
    Mutant("the last of two equal keys counts", "api/reader.py",
           "if len(members) != len(pairs):", "if False:",
           "tests/api/test_reader.py::test_what_readers_read_differently_is_refused"),
    Mutant("bodies have no budget together", "api/bodies.py",
           "return held <= _share(limit_bytes) and held <= max(FREE_BYTES, left)", "return True",
           "tests/api/test_bodies.py::test_a_holder_has_its_share_and_no_more"),
    # Webhooks ---------------------------------------------------------------------------------------------------------
    Mutant("the signature leaves its moment out", "webhooks/signing.py",
           'b"%d.%b" % (seconds, body)', "body",
           "tests/webhooks/test_signing.py::test_the_contracts_vector"),
    Mutant("the older secret signs", "webhooks/signing.py",
           "_contract_signature(secrets[0], seconds, body)", "_contract_signature(secrets[-1], seconds, body)",
           "tests/webhooks/test_signing.py::test_during_rotation_only_the_newest_secret_signs_the_contracts_header"),
    Mutant("one public address makes a name public", "webhooks/guard.py",
           "all(is_public(address) for address in addresses)", "any(is_public(address) for address in addresses)",
           "tests/webhooks/test_network.py"),
    Mutant("an address inside NAT64 is public", "webhooks/addresses.py",
           "return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))", "return True",
           "tests/webhooks/test_guard.py::test_a_forbidden_address_is_not_public"),
    Mutant("any port may be reached", "webhooks/guard.py",
           "if not any(port in allowed for allowed in reach.ports):", "if False:",
           "tests/webhooks/test_guard.py::test_a_bad_url_is_refused_with_its_classs_message"),
    Mutant("a message may come later than its time", "rules/deliveries.py",
           "(1 - DELIVERY_JITTER + DELIVERY_JITTER * chance)", "(1 + DELIVERY_JITTER * chance)",
           "tests/test_rules.py::test_a_failed_try_is_followed_by_its_pause"),
    Mutant("tries of others at the same host hold a message up", "rules/deliveries.py",
           "if self._hosts[host] >= limits.host and self._pairs[organization_id, host]:",
           "if self._hosts[host] >= limits.host:",
           "tests/webhooks/test_sender.py::test_an_organization_is_heard_at_a_host_that_others_fill"),
    Mutant("a delivered message is tried again", "store/deliveries.py",
           "        delivery.due_at = delivery.claimed_until = None\n        delivery.delivered_at",
           "        delivery.claimed_until = None\n        delivery.delivered_at",
           "tests/store/test_deliveries.py::test_the_first_success_ends_it"),
    Mutant("old webhooks are genuine", "client/webhooks.py",
           "    if not _is_recent(timestamp, tolerance_seconds, now):\n        return False\n    expected",
           "    expected",
           "tests/client/test_verify.py::test_the_time_is_looked_at_in_both_directions"),
    # Workers ----------------------------------------------------------------------------------------------------------
    Mutant("a worker without its session goes on", "worker/child.py",
           '                self.refused = f"the server refuses this worker: {refused}"\n        self._kill()',
           '                self.refused = f"the server refuses this worker: {refused}"',
           "tests/worker/test_supervisor.py::test_child_whose_session_cannot_be_renewed_is_killed "
           "tests/worker/test_supervisor.py::test_session_that_is_gone_ends_its_child"),
    Mutant("an overdue attempt runs on", "worker/child.py",
           "            if overdue:\n                logger", "            if False:\n                logger",
           "tests/worker/test_supervisor.py::test_thread_that_overruns_takes_its_process_and_is_named_alone"),
    Mutant("a blocked worker keeps what it cannot start", "worker/child.py",
           "            await self._withdraw(self._session)", "            pass",
           "tests/whole/test_failure.py::test_what_a_frozen_worker_cannot_read_runs_elsewhere "
           "tests/whole/test_failure.py"
           "::test_a_handler_that_holds_the_interpreter_stops_neither_the_api_nor_its_neighbours"),
    Mutant("what a drain hands back counts as an attempt", "worker/child.py",
           'self._reason = "drained"\n        self.tally', 'self._reason = "lost"\n        self.tally',
           "tests/worker/test_supervisor.py::test_drain_hands_back_what_does_not_end "
           "tests/worker/test_supervisor.py::test_drain_tells_what_finished_and_what_was_lost"),
    Mutant("a submit without a key is sent twice", "client/retrying.py",
           "return repeatable or not error.sent", "return True",
           "tests/client/test_retrying.py::test_a_call_is_never_run_twice"),
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What came of one mutant."""

    mutant: Mutant
    killed_by: str | None
    """The first test that failed, or None if none did."""
    seconds: float


def run(mutant: Mutant, copy: Path) -> Outcome:
    """Apply a mutant to the copy, run its tests until one fails, and take it out again."""
    file = copy / "src" / "fairlane" / mutant.file
    sound = file.read_text("utf-8")
    assert sound.count(mutant.old) == 1, f"{mutant.name}: its text stands {sound.count(mutant.old)} times"
    began = time.monotonic()
    file.write_text(sound.replace(mutant.old, mutant.new), "utf-8")
    try:
        failed = first_failure(mutant.tests.split(), copy)
    finally:
        file.write_text(sound, "utf-8")
    return Outcome(mutant, failed, time.monotonic() - began)


def first_failure(tests: Collection[str], copy: Path) -> str | None:
    """Run these tests on the copy until one fails; return its name, or None if all passed or did not end in time.

    A copy that does not even run proves nothing: RuntimeError.
    """
    try:
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", *tests],
            cwd=copy,
            env=os.environ | {"PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_MOST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if ran.returncode not in (0, 1) or re.search(
        r"^E +(?:NameError|SyntaxError|ImportError)", ran.stdout, re.MULTILINE
    ):
        raise RuntimeError(f"the tests {' '.join(tests)} did not run:\n{ran.stdout[-2_000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", ran.stdout, re.MULTILINE)
    return failed[1] if failed else None


def copied(folder: Path) -> Path:
    """Return a copy of the files that belong to the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in listed.stdout.splitlines():
        if (REPOSITORY / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    return folder


def main() -> int:
    """Run the chosen mutants; return 0 if all of them were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="WORD", help="mutants with this text in their names")
    parser.add_argument("--share", metavar="I/N", default="1/1", help="every Nth mutant, from the Ith on")
    chosen = parser.parse_args()
    first, every = map(int, chosen.share.split("/"))
    mutants = [one for one in MUTANTS if chosen.only is None or chosen.only in one.name][first - 1 :: every]
    with tempfile.TemporaryDirectory(prefix="fairlane-mutants-") as folder:
        copy = copied(Path(folder))
        if failed := first_failure({test for one in mutants for test in one.tests.split()}, copy):
            print(f"mutants: {failed} fails without a mutant, so nothing can be said")
            return 1
        outcomes = []
        for mutant in mutants:
            outcome = run(mutant, copy)
            outcomes.append(outcome)
            print(f"{outcome.seconds:6.1f} s  {mutant.name:<62} {outcome.killed_by or 'SURVIVED'}", flush=True)
    killed = sum(one.killed_by is not None for one in outcomes)
    print(f"mutants: {killed} of {len(outcomes)} killed")
    return killed != len(outcomes)


if __name__ == "__main__":
    sys.exit(main())
