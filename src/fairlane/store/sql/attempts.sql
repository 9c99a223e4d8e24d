-- Attempts that did not complete their task, and the lists of attempts.

-- name: insert_attempts [sqlite]
-- Insert attempts that ended. Each takes the place of the oldest attempt of its task once :kept are there.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:attempts))
INSERT INTO attempt
  (organization_id, task_id, place, starts, number, lease_id, started_at, ended_at, ending, code, message, cause,
   worker, due_at, slot_wait_ms, worker_wait_ms)
SELECT e.row ->> 0, e.row ->> 1, (e.row ->> 2) % :kept, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, :now,
       e.row ->> 6, e.row ->> 7, e.row ->> 8, e.row ->> 9,
       (SELECT s.name FROM session AS s WHERE s.id = e.row ->> 10), e.row ->> 11, e.row ->> 12, e.row ->> 13
FROM e
WHERE true
ON CONFLICT (organization_id, task_id, place) DO UPDATE
SET starts = excluded.starts,
    number = excluded.number,
    lease_id = excluded.lease_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    ending = excluded.ending,
    code = excluded.code,
    message = excluded.message,
    cause = excluded.cause,
    worker = excluded.worker,
    due_at = excluded.due_at,
    slot_wait_ms = excluded.slot_wait_ms,
    worker_wait_ms = excluded.worker_wait_ms;

-- name: insert_attempts [postgres]
-- The same; the set is passed as arrays.
INSERT INTO attempt
  (organization_id, task_id, place, starts, number, lease_id, started_at, ended_at, ending, code, message, cause,
   worker, due_at, slot_wait_ms, worker_wait_ms)
SELECT e.organization_id, e.task_id, e.starts % :kept, e.starts, e.number, e.lease_id, e.started_at, :now, e.ending,
       e.code, e.message, e.cause, (SELECT s.name FROM session AS s WHERE s.id = e.session_id), e.due_at,
       e.slot_wait_ms, e.worker_wait_ms
FROM unnest(:attempts[bigint, text, bigint, bigint, text, bigint, text, text, text, text, text, bigint, bigint,
                      bigint])
     AS e (organization_id, task_id, starts, number, lease_id, started_at, ending, code, message, cause, session_id,
           due_at, slot_wait_ms, worker_wait_ms)
ON CONFLICT (organization_id, task_id, place) DO UPDATE
SET starts = excluded.starts,
    number = excluded.number,
    lease_id = excluded.lease_id,
    started_at = excluded.started_at,
    ended_at = excluded.ended_at,
    ending = excluded.ending,
    code = excluded.code,
    message = excluded.message,
    cause = excluded.cause,
    worker = excluded.worker,
    due_at = excluded.due_at,
    slot_wait_ms = excluded.slot_wait_ms,
    worker_wait_ms = excluded.worker_wait_ms;

-- name: find_attempted
-- Find one task by id, or else by idempotency key, with the attempt that runs now and the one that completed it.
SELECT t.id, l.attempt AS running, l.started_at AS running_since, l.id AS lease_id,
       (SELECT s.name FROM session AS s WHERE s.id = l.session_id) AS worker,
       o.attempt AS completed, o.started_at AS completed_since, o.finished_at, o.lease_id AS completed_lease_id,
       coalesce(l.slot_wait_ms, o.slot_wait_ms) AS slot_wait_ms,
       coalesce(l.worker_wait_ms, o.worker_wait_ms) AS worker_wait_ms
FROM (SELECT organization_id, id
      FROM task
      WHERE organization_id = :organization_id
        AND id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                          (SELECT task_id FROM idempotency
                           WHERE organization_id = :organization_id AND key = :reference))
      LIMIT 1) AS t
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN outcome AS o ON o.task_id = t.id AND o.status = 'COMPLETED';

-- name: find_attempts
-- Find the attempts of one task that did not complete it, the oldest first.
SELECT starts, number, started_at, ended_at, ending, code, message, due_at, cause, worker, lease_id AS lease,
       slot_wait_ms, worker_wait_ms
FROM attempt
WHERE organization_id = :organization_id
  AND task_id = :task_id
ORDER BY starts;

-- name: delete_attempts [sqlite]
-- Delete the attempts of these tasks.
DELETE FROM attempt
WHERE (organization_id, task_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:tasks));

-- name: delete_attempts [postgres]
-- The same; the set is passed as arrays.
DELETE FROM attempt AS a
USING unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
WHERE a.organization_id = e.organization_id
  AND a.task_id = e.task_id;
