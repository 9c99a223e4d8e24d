-- Calls: the requests whose callers wait.

-- name: insert_calls [sqlite]
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
INSERT INTO call
  (organization_id, id, seq, task_type, payload, cost, server_id, ready, created_at, give_up_at)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, 1, :now, :give_up_at
FROM e;

-- name: insert_call_leases [sqlite]
-- The slot of a call, held for its server until a worker takes it.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:leases))
INSERT INTO lease
  (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
   first_started_at, started_at, deadline_at, webhook, session_id, exchange_id, kind)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, 0, e.row ->> 4, e.row ->> 5, 0, e.row ->> 6, e.row ->> 7, 0,
       :now, :now, :give_up_at, 0, e.row ->> 8, '', 1
FROM e;

-- name: count_ready_calls [sqlite] packed
-- Of these organizations the calls that wait for a free place, by type.
SELECT json_group_array(json_array(organization_id, task_type, count))
FROM (SELECT organization_id, task_type, count(*) AS count
      FROM call
      WHERE ready = 1
        AND organization_id IN (SELECT value FROM json_each(:ids))
      GROUP BY organization_id, task_type);

-- name: find_ready_calls [sqlite] packed
-- Of these organizations and types the calls that wait for a free place, oldest first. No more than there are slots.
SELECT json_group_array(json_array(organization_id, id, task_type, give_up_at, cost))
FROM (SELECT organization_id, id, task_type, give_up_at, cost
      FROM call
      WHERE ready = 1
        AND organization_id IN (SELECT value FROM json_each(:ids))
        AND task_type IN (SELECT value FROM json_each(:types))
      ORDER BY organization_id, seq);

-- name: find_claimed_calls [sqlite] packed
-- What a claim needs of the calls it takes.
SELECT json_group_array(json_array(
         c.organization_id, c.id, c.task_type, c.payload, c.give_up_at, l.attempt, l.attempts))
FROM json_each(:calls) AS e
CROSS JOIN call AS c
CROSS JOIN lease AS l
WHERE c.organization_id = e.value ->> 0
  AND c.id = e.value ->> 1
  AND l.organization_id = c.organization_id
  AND l.task_id = c.id;

-- name: start_call_leases [sqlite]
-- A worker takes the slots of these calls over.
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

-- name: return_call_leases [sqlite]
-- Their server holds the slots of these calls again, for another attempt.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
UPDATE lease
SET attempt = e.row ->> 4,
    deadline_at = e.row ->> 5,
    session_id = e.row ->> 6,
    exchange_id = ''
FROM e
WHERE lease.organization_id = e.row ->> 0
  AND lease.task_id = e.row ->> 1;

-- name: update_calls_ready [sqlite]
-- Whether these calls wait for a free place, or pause until due_at, or neither.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:calls))
UPDATE call
SET ready = e.row ->> 2,
    due_at = e.row ->> 3
FROM e
WHERE call.organization_id = e.row ->> 0
  AND call.id = e.row ->> 1;

-- name: find_calls [sqlite] packed
-- These calls, and whether their caller still waits: not canceled, and its server alive.
SELECT json_group_array(json_array(
         c.organization_id, c.id, c.task_type, c.server_id, c.ready, c.give_up_at, c.status IS NOT NULL, c.cost,
         c.canceled = 0 AND EXISTS (SELECT 1 FROM session AS s WHERE s.id = c.server_id AND s.dead = 0)))
FROM json_each(:calls) AS e
CROSS JOIN call AS c
WHERE c.organization_id = e.value ->> 0
  AND c.id = e.value ->> 1;

-- name: find_waiting_calls [sqlite] packed
-- Those of these calls that no worker has: they wait for a place, or pause.
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

-- name: end_calls [sqlite]
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

-- name: cancel_calls [sqlite]
UPDATE call
SET canceled = 1
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:calls));

-- name: delete_calls [sqlite]
DELETE FROM call
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:calls));

-- name: find_due_calls [sqlite] packed
SELECT json_group_array(json_array(organization_id, id, task_type))
FROM (SELECT organization_id, id, task_type
      FROM call
      WHERE due_at <= :now
      ORDER BY due_at
      LIMIT :most);

-- name: find_ended_calls [sqlite] packed
-- Those of a server's calls that ended, but for the ones it has taken already.
SELECT json_group_array(json_array(organization_id, id, status, result, failure, charged))
FROM (SELECT organization_id, id, status, result, failure, charged
      FROM call
      WHERE server_id = :server_id
        AND status IS NOT NULL
        AND id NOT IN (SELECT value FROM json_each(:taken))
      LIMIT :most);

-- name: find_server_calls [sqlite] packed
-- A server's calls, ended or not.
SELECT json_group_array(id)
FROM call
WHERE server_id = :server_id;

-- name: delete_orphaned_calls
-- Those that ended and whose server is gone: nobody fetches them.
DELETE FROM call
WHERE status IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = call.server_id AND s.dead = 0);

-- name: move_calls
UPDATE call
SET give_up_at = give_up_at + :moved_ms,
    due_at = due_at + :moved_ms
WHERE status IS NULL;
