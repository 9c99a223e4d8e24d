-- Who holds an organization's slots.

-- name: find_slots
-- In the order of the tasks' ids, so of their acceptance, from after :after.
SELECT task_id, task_type, rank, attempt, attempts, started_at, deadline_at
FROM lease
WHERE organization_id = :organization_id
  AND task_id > :after
ORDER BY task_id
LIMIT :most;
