-- Holders of an organization's slots.

-- name: find_slots
-- Find holders after :after, in the order of the ids of tasks and calls, which is that of acceptance.
SELECT task_id AS id, task_type, rank, attempt, attempts, started_at, deadline_at, kind, progress
FROM lease
WHERE organization_id = :organization_id
  AND task_id > :after
ORDER BY task_id
LIMIT :most;

-- name: update_progress [sqlite]
-- Write progress to leases that this session holds.
UPDATE lease
SET progress = e.value ->> 4
FROM json_each(:progress) AS e
WHERE lease.organization_id = e.value ->> 0
  AND lease.task_id = e.value ->> 1
  AND lease.id = e.value ->> 2
  AND lease.session_id = e.value ->> 3;

-- name: update_progress [postgres]
-- The same, skipping locked rows: the transaction that locked the organization may want other leases of this statement.
WITH free AS (SELECT l.organization_id, l.task_id, e.progress
              FROM unnest(:progress[bigint, text, text, text, text])
                   AS e (organization_id, task_id, id, session_id, progress)
              JOIN lease AS l ON l.organization_id = e.organization_id
                             AND l.task_id = e.task_id
                             AND l.id = e.id
                             AND l.session_id = e.session_id
              FOR NO KEY UPDATE OF l SKIP LOCKED)
UPDATE lease AS l
SET progress = f.progress
FROM free AS f
WHERE l.organization_id = f.organization_id
  AND l.task_id = f.task_id;
