-- Leases, and the outcomes that end them.

-- name: find_leases [sqlite] packed
-- Find those of these (organization, task, lease) that still hold their slot.
SELECT json_group_array(json_array(
         l.organization_id, l.task_id, l.id, l.task_type, l.rank, l.seq, l.cost, l.attempt, l.attempts,
         l.estimate_ms, l.first_started_at, l.started_at, l.deadline_at, l.session_id, l.webhook, l.kind,
         l.canceled_at, l.starts, l.slot_wait_ms, l.worker_wait_ms))
FROM json_each(:leases) AS e
CROSS JOIN lease AS l
WHERE l.organization_id = e.value ->> 0
  AND l.task_id = e.value ->> 1
  AND l.id = e.value ->> 2;

-- name: find_leases [postgres] packed
-- The same; the set is passed as arrays.
SELECT coalesce(json_agg(json_build_array(
         l.organization_id, l.task_id, l.id, l.task_type, l.rank, l.seq, l.cost, l.attempt, l.attempts,
         l.estimate_ms, l.first_started_at, l.started_at, l.deadline_at, l.session_id, l.webhook, l.kind,
         l.canceled_at, l.starts, l.slot_wait_ms, l.worker_wait_ms)), '[]')
FROM unnest(:leases[bigint, text, text]) AS e (organization_id, task_id, id)
JOIN lease AS l ON l.organization_id = e.organization_id AND l.task_id = e.task_id AND l.id = e.id;

-- name: find_ended [sqlite] packed
-- Find which lease wrote the outcome of each of these tasks.
SELECT json_group_array(json_array(o.task_id, o.lease_id))
FROM json_each(:tasks) AS e
CROSS JOIN outcome AS o
WHERE o.task_id = e.value ->> 1;

-- name: find_ended [postgres]
-- The same; the set is passed as arrays.
SELECT o.task_id, o.lease_id
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
JOIN outcome AS o ON o.task_id = e.task_id;

-- name: cancel_leases [sqlite]
-- Store cancel requests, and move the deadlines up, so that the attempts cannot run much longer.
UPDATE lease
SET canceled_at = :now,
    deadline_at = e.value ->> 2
FROM json_each(:leases) AS e
WHERE lease.organization_id = e.value ->> 0
  AND lease.task_id = e.value ->> 1;

-- name: cancel_leases [postgres]
-- The same; the set is passed as arrays.
UPDATE lease AS l
SET canceled_at = :now,
    deadline_at = e.deadline_at
FROM unnest(:leases[bigint, text, bigint]) AS e (organization_id, task_id, deadline_at)
WHERE l.organization_id = e.organization_id
  AND l.task_id = e.task_id;

-- name: find_canceled [sqlite] packed
-- Find these sessions' leases with a cancel request, by lease_canceled.
SELECT json_group_array(json_array(session_id, id))
FROM lease
WHERE canceled_at IS NOT NULL
  AND session_id IN (SELECT value FROM json_each(:sessions));

-- name: find_canceled [postgres]
-- The same; the set is passed as arrays.
SELECT session_id, id
FROM lease
WHERE canceled_at IS NOT NULL
  AND session_id = ANY (:sessions[text]);

-- name: delete_leases [sqlite]
-- Delete the leases of these tasks and calls.
DELETE FROM lease
WHERE (organization_id, task_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:leases));

-- name: delete_leases [postgres]
-- The same; the set is passed as arrays.
DELETE FROM lease AS l
USING unnest(:leases[bigint, text]) AS e (organization_id, task_id)
WHERE l.organization_id = e.organization_id
  AND l.task_id = e.task_id;

-- name: insert_leases [sqlite]
-- Insert leases of one exchange.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:leases))
INSERT INTO lease
  (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
   first_started_at, started_at, deadline_at, webhook, starts, slot_wait_ms, worker_wait_ms, session_id, exchange_id)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, e.row ->> 7,
       e.row ->> 8, e.row ->> 9, e.row ->> 10, e.row ->> 11, :now, e.row ->> 12, e.row ->> 13, e.row ->> 14,
       e.row ->> 15, e.row ->> 16, :session_id, :exchange_id
FROM e;

-- name: insert_leases [postgres]
-- The same; the set is passed as arrays.
INSERT INTO lease
  (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
   first_started_at, started_at, deadline_at, webhook, starts, slot_wait_ms, worker_wait_ms, session_id, exchange_id)
SELECT e.organization_id, e.task_id, e.id, e.task_type, e.rank, e.seq, e.cost, e.attempt, e.attempts, e.limited,
       e.estimate_ms, e.first_started_at, :now, e.deadline_at, e.webhook, e.starts, e.slot_wait_ms,
       e.worker_wait_ms, :session_id, :exchange_id
FROM unnest(:leases[bigint, text, text, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint,
                    bigint, bigint, bigint, bigint])
     AS e (organization_id, task_id, id, task_type, rank, seq, cost, attempt, attempts, limited, estimate_ms,
           first_started_at, deadline_at, webhook, starts, slot_wait_ms, worker_wait_ms);

-- name: find_exchanged [sqlite] packed
-- Find leases that these exchanges handed out before, whose answers were lost on the way, by lease_session.
SELECT json_group_array(json_array(l.organization_id, l.task_id, l.id))
FROM json_each(:exchanges) AS e
CROSS JOIN lease AS l
WHERE l.session_id = e.value ->> 0
  AND l.exchange_id = e.value ->> 1;

-- name: find_exchanged [postgres]
-- The same; the set is passed as arrays.
SELECT l.organization_id, l.task_id, l.id
FROM unnest(:exchanges[text, text]) AS e (session_id, exchange_id)
JOIN lease AS l ON l.session_id = e.session_id AND l.exchange_id = e.exchange_id;

-- name: find_yielded [sqlite] packed
-- Find everything that an answer says of these leases, to send it again.
SELECT json_group_array(json_array(l.exchange_id, l.id, l.task_id, l.organization_id, o.name, l.task_type,
                                   l.attempt, l.attempts, l.deadline_at - l.started_at, l.started_at,
                                   CASE l.kind
                                   WHEN 0 THEN (SELECT payload FROM task AS t
                                                WHERE t.organization_id = l.organization_id AND t.id = l.task_id)
                                   ELSE (SELECT payload FROM call AS c
                                         WHERE c.organization_id = l.organization_id AND c.id = l.task_id)
                                   END, l.session_id, l.kind,
                                   (SELECT traceparent FROM task AS t
                                    WHERE l.kind = 0 AND t.organization_id = l.organization_id
                                      AND t.id = l.task_id)))
FROM json_each(:leases) AS e
CROSS JOIN lease AS l
CROSS JOIN organization AS o
WHERE l.organization_id = e.value ->> 0
  AND l.task_id = e.value ->> 1
  AND l.id = e.value ->> 2
  AND o.id = l.organization_id;

-- name: find_yielded [postgres]
-- The same; the set is passed as arrays.
SELECT l.exchange_id, l.id, l.task_id, l.organization_id, o.name AS organization, l.task_type, l.attempt, l.attempts,
       l.deadline_at - l.started_at AS timeout_ms, l.started_at, coalesce(t.payload, c.payload) AS payload,
       l.session_id, l.kind,
       t.traceparent
FROM unnest(:leases[bigint, text, text]) AS e (organization_id, task_id, id)
JOIN lease AS l ON l.organization_id = e.organization_id AND l.task_id = e.task_id AND l.id = e.id
JOIN organization AS o ON o.id = l.organization_id
LEFT JOIN task AS t ON l.kind = 0 AND t.organization_id = l.organization_id AND t.id = l.task_id
LEFT JOIN call AS c ON l.kind = 1 AND c.organization_id = l.organization_id AND c.id = l.task_id;

-- name: insert_outcomes [sqlite]
-- Insert the outcomes of tasks. A failure of a group that was not told apart in this hour is in the group :other.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:outcomes))
INSERT INTO outcome
  (task_id, organization_id, status, result, failure, cause, charged, attempt, first_started_at, finished_at, lease_id,
   started_at, failure_group, slot_wait_ms, worker_wait_ms, expires_at)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, e.row ->> 7,
       e.row ->> 8, :now, e.row ->> 9, e.row ->> 10,
       CASE WHEN e.row ->> 11 IS NOT NULL
            THEN coalesce((SELECT h.group_id FROM failure_hour AS h
                           WHERE h.organization_id = e.row ->> 1 AND h.hour = :hour AND h.group_id = e.row ->> 11), :other)
       END, e.row ->> 12, e.row ->> 13, e.row ->> 14
FROM e;

-- name: insert_outcomes [postgres]
-- The same; the set is passed as arrays.
INSERT INTO outcome
  (task_id, organization_id, status, result, failure, cause, charged, attempt, first_started_at, finished_at, lease_id,
   started_at, failure_group, slot_wait_ms, worker_wait_ms, expires_at)
SELECT e.task_id, e.organization_id, e.status, e.result, e.failure, e.cause, e.charged, e.attempt, e.first_started_at,
       :now, e.lease_id, e.started_at,
       CASE WHEN e.failure_group IS NOT NULL
            THEN coalesce((SELECT h.group_id FROM failure_hour AS h
                           WHERE h.organization_id = e.organization_id AND h.hour = :hour
                             AND h.group_id = e.failure_group), :other)
       END, e.slot_wait_ms, e.worker_wait_ms, e.expires_at
FROM unnest(:outcomes[text, bigint, text, text, text, text, bigint, bigint, bigint, text, bigint, text, bigint,
                     bigint, bigint])
     AS e (task_id, organization_id, status, result, failure, cause, charged, attempt, first_started_at, lease_id,
           started_at, failure_group, slot_wait_ms, worker_wait_ms, expires_at);
