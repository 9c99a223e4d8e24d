-- Tasks and sessions of all organizations, for operators.

-- name: find_task_facts [sqlite]
-- Find these (organization, task) with their state and owner, in any order.
SELECT t.organization_id, o.name AS organization, t.id, t.task_type, t.priority, t.created_at, t.idempotency_key,
       t.cost,
       f.status, f.failure, f.cause, f.charged, f.attempt, f.first_started_at, f.finished_at,
       l.attempt AS running_attempt, l.first_started_at AS running_since, l.session_id, l.deadline_at, w.due_at,
       coalesce(f.slot_wait_ms, l.slot_wait_ms) AS slot_wait_ms,
       coalesce(f.worker_wait_ms, l.worker_wait_ms) AS worker_wait_ms
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1
JOIN organization AS o ON o.id = t.organization_id
LEFT JOIN outcome AS f ON f.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN waiting AS w ON w.organization_id = t.organization_id AND w.seq = t.seq;

-- name: find_task_facts [postgres]
-- The same. LATERAL with a limit looks up each row by key, whatever PostgreSQL knows of its tables.
SELECT t.organization_id, o.name AS organization, t.id, t.task_type, t.priority, t.created_at, t.idempotency_key,
       t.cost,
       f.status, f.failure, f.cause, f.charged, f.attempt, f.first_started_at, f.finished_at,
       l.attempt AS running_attempt, l.first_started_at AS running_since, l.session_id, l.deadline_at, w.due_at,
       coalesce(f.slot_wait_ms, l.slot_wait_ms) AS slot_wait_ms,
       coalesce(f.worker_wait_ms, l.worker_wait_ms) AS worker_wait_ms
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
CROSS JOIN LATERAL (SELECT organization_id, id, seq, task_type, priority, created_at, idempotency_key, cost
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.task_id
                    LIMIT 1) AS t
CROSS JOIN LATERAL (SELECT name FROM organization WHERE id = t.organization_id LIMIT 1) AS o
LEFT JOIN LATERAL (SELECT status, failure, cause, charged, attempt, first_started_at, finished_at, slot_wait_ms,
                          worker_wait_ms
                   FROM outcome
                   WHERE task_id = t.id
                   LIMIT 1) AS f ON true
LEFT JOIN LATERAL (SELECT attempt, first_started_at, session_id, deadline_at, slot_wait_ms, worker_wait_ms
                   FROM lease
                   WHERE organization_id = t.organization_id
                     AND task_id = t.id
                   LIMIT 1) AS l ON true
LEFT JOIN LATERAL (SELECT due_at
                   FROM waiting
                   WHERE organization_id = t.organization_id
                     AND seq = t.seq
                   LIMIT 1) AS w ON true;

-- name: find_trace [sqlite]
-- Find tasks that ended in a span and after this one, in the order of their ends, by outcome_finished and outcome_kept;
-- first_started_at is null if the task never started.
SELECT f.finished_at, f.task_id AS id, o.name AS organization, t.task_type, t.priority, t.created_at AS accepted_at,
       t.run_at, f.first_started_at AS started_at
FROM (SELECT organization_id, task_id, first_started_at, finished_at
      FROM (SELECT organization_id, task_id, first_started_at, finished_at
            FROM outcome
            WHERE expires_at IS NULL
              AND finished_at >= :start
              AND finished_at < :before
              AND (finished_at > :start OR task_id > :id)
            ORDER BY finished_at, task_id
            LIMIT :most) AS usual
      UNION ALL
      SELECT organization_id, task_id, first_started_at, finished_at
      FROM (SELECT organization_id, task_id, first_started_at, finished_at
            FROM outcome
            WHERE coalesce(expires_at, 0) > 0
              AND finished_at >= :start
              AND finished_at < :before
              AND (finished_at > :start OR task_id > :id)
            ORDER BY finished_at, task_id
            LIMIT :most) AS kept
      ORDER BY finished_at, task_id
      LIMIT :most) AS f
JOIN organization AS o ON o.id = f.organization_id
JOIN task AS t ON t.organization_id = f.organization_id AND t.id = f.task_id
ORDER BY f.finished_at, f.task_id;

-- name: find_trace [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT f.finished_at, f.task_id AS id, o.name AS organization, t.task_type, t.priority, t.created_at AS accepted_at,
       t.run_at, f.first_started_at AS started_at
FROM (SELECT organization_id, task_id, first_started_at, finished_at
      FROM (SELECT organization_id, task_id, first_started_at, finished_at
            FROM outcome
            WHERE expires_at IS NULL
              AND finished_at >= :start
              AND finished_at < :before
              AND (finished_at > :start OR task_id > :id)
            ORDER BY finished_at, task_id
            LIMIT :most) AS usual
      UNION ALL
      SELECT organization_id, task_id, first_started_at, finished_at
      FROM (SELECT organization_id, task_id, first_started_at, finished_at
            FROM outcome
            WHERE coalesce(expires_at, 0) > 0
              AND finished_at >= :start
              AND finished_at < :before
              AND (finished_at > :start OR task_id > :id)
            ORDER BY finished_at, task_id
            LIMIT :most) AS kept
      ORDER BY finished_at, task_id
      LIMIT :most) AS f
CROSS JOIN LATERAL (SELECT name FROM organization WHERE id = f.organization_id LIMIT 1) AS o
CROSS JOIN LATERAL (SELECT task_type, priority, created_at, run_at
                    FROM task
                    WHERE organization_id = f.organization_id
                      AND id = f.task_id
                    LIMIT 1) AS t
ORDER BY f.finished_at, f.task_id;

-- name: find_task_owner [sqlite]
-- Find which of these organizations owns the task; one look-up for each, because the index begins with the
-- organization.
SELECT organization_id
FROM task
WHERE id = :id
  AND organization_id IN (SELECT value FROM json_each(:ids));

-- name: find_task_owner [postgres]
-- The same; the set is passed as arrays.
SELECT organization_id
FROM task
WHERE id = :id
  AND organization_id = ANY (:ids[bigint]);

-- name: find_result
-- Find the result of one task that ended; null if it failed.
SELECT result
FROM outcome
WHERE task_id = :task_id;
