-- Who holds an organization's slots.

-- name: find_slots
-- In the order of the ids of tasks and calls, so of their acceptance, from after :after.
SELECT task_id, task_type, rank, attempt, attempts, started_at, deadline_at, kind
FROM lease
WHERE organization_id = :organization_id
  AND task_id > :after
ORDER BY task_id
LIMIT :most;
