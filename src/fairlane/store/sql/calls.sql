-- Calls: requests with waiting callers.

-- name: insert_calls [sqlite]
-- Insert calls that wait for a free place.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
INSERT INTO call
  (organization_id, id, seq, task_type, payload, cost, server_id, ready, created_at, give_up_at)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, 1, :now, :give_up_at
FROM e;

-- name: insert_calls [postgres]
-- The same; the set is passed as arrays.
INSERT INTO call
  (organization_id, id, seq, task_type, payload, cost, server_id, ready, created_at, give_up_at)
SELECT e.organization_id, e.id, e.seq, e.task_type, e.payload, e.cost, e.server_id, 1, :now, :give_up_at
FROM unnest(:calls[bigint, text, bigint, text, text, bigint, text])
     AS e (organization_id, id, seq, task_type, payload, cost, server_id);

-- name: insert_call_leases [sqlite]
-- Insert the leases of calls, held by their server until a worker takes them.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:leases))
INSERT INTO lease
  (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
   first_started_at, started_at, deadline_at, webhook, session_id, exchange_id, kind)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, 0, e.row ->> 4, e.row ->> 5, 0, e.row ->> 6, e.row ->> 7, 0,
       :now, :now, :give_up_at, 0, e.row ->> 8, '', 1
FROM e;

-- name: insert_call_leases [postgres]
-- The same; the set is passed as arrays.
INSERT INTO lease
  (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
   first_started_at, started_at, deadline_at, webhook, session_id, exchange_id, kind)
SELECT e.organization_id, e.task_id, e.id, e.task_type, 0, e.seq, e.cost, 0, e.attempts, e.limited, 0,
       :now, :now, :give_up_at, 0, e.session_id, '', 1
FROM unnest(:leases[bigint, text, text, text, bigint, bigint, bigint, bigint, text])
     AS e (organization_id, task_id, id, task_type, seq, cost, attempts, limited, session_id);

-- name: count_ready_calls [sqlite] packed
-- Count these organizations' calls that wait for a free place, by type, by call_ready.
SELECT json_group_array(json_array(organization_id, task_type, count))
FROM (SELECT organization_id, task_type, count(*) AS count
      FROM call
      WHERE ready = 1
        AND organization_id IN (SELECT value FROM json_each(:ids))
      GROUP BY organization_id, task_type);

-- name: count_ready_calls [postgres]
-- The same; the set is passed as arrays.
SELECT organization_id, task_type, count(*)
FROM call
WHERE ready = 1
  AND organization_id = ANY (:ids[bigint])
GROUP BY organization_id, task_type;

-- name: find_ready_calls [sqlite] packed
-- Find these organizations' calls of these types that wait for a free place, oldest first, by call_ready. There are no
-- more than slots.
SELECT json_group_array(json_array(organization_id, id, task_type, give_up_at, cost))
FROM (SELECT organization_id, id, task_type, give_up_at, cost
      FROM call
      WHERE ready = 1
        AND organization_id IN (SELECT value FROM json_each(:ids))
        AND task_type IN (SELECT value FROM json_each(:types))
      ORDER BY organization_id, seq);

-- name: find_ready_calls [postgres]
-- The same; the sets are passed as arrays.
SELECT organization_id, id, task_type, give_up_at, cost
FROM call
WHERE ready = 1
  AND organization_id = ANY (:ids[bigint])
  AND task_type = ANY (:types[text])
ORDER BY organization_id, seq;

-- name: find_claimed_calls [sqlite] packed
-- Find what a claim needs of the calls it takes.
SELECT json_group_array(json_array(
         c.organization_id, c.id, c.task_type, c.payload, c.give_up_at, l.attempt, l.attempts))
FROM json_each(:calls) AS e
CROSS JOIN call AS c
CROSS JOIN lease AS l
WHERE c.organization_id = e.value ->> 0
  AND c.id = e.value ->> 1
  AND l.organization_id = c.organization_id
  AND l.task_id = c.id;

-- name: find_claimed_calls [postgres]
-- The same; the set is passed as arrays.
SELECT c.organization_id, c.id, c.task_type, c.payload, c.give_up_at, l.attempt, l.attempts
FROM unnest(:calls[bigint, text]) AS e (organization_id, id)
JOIN call AS c ON c.organization_id = e.organization_id AND c.id = e.id
JOIN lease AS l ON l.organization_id = c.organization_id AND l.task_id = c.id;

-- name: start_call_leases [sqlite]
-- Give the leases of these calls to a worker.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:leases))
UPDATE lease
SET id = e.row ->> 2,
    attempt = e.row ->> 3,
    estimate_ms = e.row ->> 4,
    deadline_at = e.row ->> 5,
    started_at = :now,
    session_id = :session_id,
    exchange_id = :exchange_id
FROM e
WHERE lease.organization_id = e.row ->> 0
  AND lease.task_id = e.row ->> 1;

-- name: start_call_leases [postgres]
-- The same; the set is passed as arrays.
UPDATE lease AS l
SET id = e.id,
    attempt = e.attempt,
    estimate_ms = e.estimate_ms,
    deadline_at = e.deadline_at,
    started_at = :now,
    session_id = :session_id,
    exchange_id = :exchange_id
FROM unnest(:leases[bigint, text, text, bigint, bigint, bigint])
     AS e (organization_id, task_id, id, attempt, estimate_ms, deadline_at)
WHERE l.organization_id = e.organization_id
  AND l.task_id = e.task_id;

-- name: return_call_leases [sqlite]
-- Return the leases of these calls to their server, for another attempt.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
UPDATE lease
SET attempt = e.row ->> 4,
    deadline_at = e.row ->> 5,
    session_id = e.row ->> 6,
    exchange_id = ''
FROM e
WHERE lease.organization_id = e.row ->> 0
  AND lease.task_id = e.row ->> 1;

-- name: return_call_leases [postgres]
-- The same; the set is passed as arrays.
UPDATE lease AS l
SET attempt = e.attempt,
    deadline_at = e.deadline_at,
    session_id = e.session_id,
    exchange_id = ''
FROM unnest(:calls[bigint, text, bigint, bigint, bigint, bigint, text])
     AS e (organization_id, task_id, ready, due_at, attempt, deadline_at, session_id)
WHERE l.organization_id = e.organization_id
  AND l.task_id = e.task_id;

-- name: update_calls_ready [sqlite]
-- Set whether these calls wait for a free place, pause until due_at, or neither.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
UPDATE call
SET ready = e.row ->> 2,
    due_at = e.row ->> 3
FROM e
WHERE call.organization_id = e.row ->> 0
  AND call.id = e.row ->> 1;

-- name: update_calls_ready [postgres]
-- The same; the set is passed as arrays.
UPDATE call AS c
SET ready = e.ready,
    due_at = e.due_at
FROM unnest(:calls[bigint, text, bigint, bigint]) AS e (organization_id, id, ready, due_at)
WHERE c.organization_id = e.organization_id
  AND c.id = e.id;

-- name: find_calls [sqlite] packed
-- Find these calls, and whether their caller still waits: not canceled, and its server alive.
SELECT json_group_array(json_array(
         c.organization_id, c.id, c.task_type, c.server_id, c.ready, c.give_up_at, c.status IS NOT NULL, c.cost,
         c.canceled = 0 AND EXISTS (SELECT 1 FROM session AS s WHERE s.id = c.server_id AND s.dead = 0)))
FROM json_each(:calls) AS e
CROSS JOIN call AS c
WHERE c.organization_id = e.value ->> 0
  AND c.id = e.value ->> 1;

-- name: find_calls [postgres]
-- The same; the set is passed as arrays.
SELECT c.organization_id, c.id, c.task_type, c.server_id, c.ready, c.give_up_at, c.status IS NOT NULL AS ended, c.cost,
       c.canceled = 0 AND EXISTS (SELECT 1 FROM session AS s WHERE s.id = c.server_id AND s.dead = 0) AS wanted
FROM unnest(:calls[bigint, text]) AS e (organization_id, id)
JOIN call AS c ON c.organization_id = e.organization_id AND c.id = e.id;

-- name: find_waiting_calls [sqlite] packed
-- Find those of these calls that no worker has: they wait for a place, or pause.
SELECT json_group_array(json_array(l.organization_id, l.task_id))
FROM json_each(:calls) AS e
CROSS JOIN lease AS l
CROSS JOIN call AS c
WHERE l.organization_id = e.value ->> 0
  AND l.task_id = e.value ->> 1
  AND l.kind = 1
  AND c.organization_id = l.organization_id
  AND c.id = l.task_id
  AND l.session_id = c.server_id;

-- name: find_waiting_calls [postgres]
-- The same; the set is passed as arrays.
SELECT l.organization_id, l.task_id AS id
FROM unnest(:calls[bigint, text]) AS e (organization_id, id)
JOIN lease AS l ON l.organization_id = e.organization_id AND l.task_id = e.id AND l.kind = 1
JOIN call AS c ON c.organization_id = l.organization_id AND c.id = l.task_id AND l.session_id = c.server_id;

-- name: end_calls [sqlite]
-- Write how these calls ended.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
UPDATE call
SET ready = 0,
    due_at = NULL,
    status = e.row ->> 2,
    result = e.row ->> 3,
    failure = e.row ->> 4,
    cause = e.row ->> 5,
    charged = e.row ->> 6
FROM e
WHERE call.organization_id = e.row ->> 0
  AND call.id = e.row ->> 1;

-- name: end_calls [postgres]
-- The same; the set is passed as arrays.
UPDATE call AS c
SET ready = 0,
    due_at = NULL,
    status = e.status,
    result = e.result,
    failure = e.failure,
    cause = e.cause,
    charged = e.charged
FROM unnest(:calls[bigint, text, text, text, text, text, bigint])
     AS e (organization_id, id, status, result, failure, cause, charged)
WHERE c.organization_id = e.organization_id
  AND c.id = e.id;

-- name: cancel_calls [sqlite]
-- Mark these calls as canceled.
UPDATE call
SET canceled = 1
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:calls));

-- name: cancel_calls [postgres]
-- The same; the set is passed as arrays.
UPDATE call AS c
SET canceled = 1
FROM unnest(:calls[bigint, text]) AS e (organization_id, id)
WHERE c.organization_id = e.organization_id
  AND c.id = e.id;

-- name: delete_calls [sqlite]
-- Delete these calls.
DELETE FROM call
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:calls));

-- name: delete_calls [postgres]
-- The same; the set is passed as arrays.
DELETE FROM call AS c
USING unnest(:calls[bigint, text]) AS e (organization_id, id)
WHERE c.organization_id = e.organization_id
  AND c.id = e.id;

-- name: find_due_calls [sqlite] packed
-- Find calls at the end of their pause, by call_due.
SELECT json_group_array(json_array(organization_id, id))
FROM (SELECT organization_id, id
      FROM call
      WHERE due_at <= :now
      ORDER BY due_at
      LIMIT :most);

-- name: find_due_calls [postgres]
-- The same, not packed.
SELECT organization_id, id
FROM call
WHERE due_at <= :now
ORDER BY due_at
LIMIT :most;

-- name: ready_due_calls [sqlite]
-- Make those of these calls ready that still pause and are due.
UPDATE call
SET ready = 1,
    due_at = NULL
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:calls))
  AND due_at <= :now
RETURNING organization_id, task_type;

-- name: ready_due_calls [postgres]
-- The same; the set is passed as arrays.
UPDATE call AS c
SET ready = 1,
    due_at = NULL
FROM unnest(:calls[bigint, text]) AS e (organization_id, id)
WHERE c.organization_id = e.organization_id
  AND c.id = e.id
  AND c.due_at <= :now
RETURNING c.organization_id, c.task_type;

-- name: find_ended_calls [sqlite]
-- Find a server's ended calls that it has not taken yet, with the remaining credits, by call_server. Not packed: a
-- result may have megabytes.
SELECT c.organization_id, c.id, c.result, c.failure, c.charged,
       o.credits_on, o.credits_granted, o.credits_charged, o.credits_held
FROM (SELECT organization_id, id, result, failure, charged
      FROM call
      WHERE server_id = :server_id
        AND status IS NOT NULL
        AND id NOT IN (SELECT value FROM json_each(:taken))
      LIMIT :most) AS c
JOIN organization AS o ON o.id = c.organization_id;

-- name: find_ended_calls [postgres]
-- The same; the set is passed as arrays.
SELECT c.organization_id, c.id, c.result, c.failure, c.charged,
       o.credits_on, o.credits_granted, o.credits_charged, o.credits_held
FROM call AS c
JOIN organization AS o ON o.id = c.organization_id
WHERE c.server_id = :server_id
  AND c.status IS NOT NULL
  AND c.id <> ALL (:taken[text])
LIMIT :most;

-- name: find_server_calls
-- Find a server's calls, ended or not, by call_server.
SELECT id
FROM call
WHERE server_id = :server_id;

-- name: delete_orphaned_calls [sqlite]
-- Delete ended calls of servers that are gone, so that their results are never fetched; reads the whole of call.
DELETE FROM call
WHERE status IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = call.server_id AND s.dead = 0);

-- name: delete_orphaned_calls [postgres]
-- The same, skipping locked rows, because the organizations are not locked.
DELETE FROM call
WHERE (organization_id, id) IN (SELECT c.organization_id, c.id
                                FROM call AS c
                                WHERE c.status IS NOT NULL
                                  AND NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = c.server_id AND s.dead = 0)
                                FOR UPDATE OF c SKIP LOCKED);

-- name: move_calls
-- Move the times of all running calls after a jump of the clock, but not of those that began after it; reads the whole
-- of call.
UPDATE call
SET give_up_at = give_up_at + :moved_ms,
    due_at = due_at + :moved_ms
WHERE status IS NULL
  AND NOT (created_at >= :since AND created_at <= :now);
