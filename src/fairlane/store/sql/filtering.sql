-- Tasks that meet a filter: the steps of a walk.

-- name: find_looked [sqlite] packed
-- Find these (organization, task) with all that a filter may ask for, in any order.
SELECT json_group_array(json_array(
         t.id, t.seq, t.task_type, t.priority, t.created_at, t.idempotency_key, o.status, substr(o.failure, 1, 640),
         o.failure_group, l.id IS NOT NULL))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1
LEFT JOIN outcome AS o ON o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id;

-- name: find_looked [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT t.id, t.seq, t.task_type, t.priority, t.created_at, t.idempotency_key, o.status AS ended, o.failure,
       o.failure_group, l.id IS NOT NULL AS leased
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
CROSS JOIN LATERAL (SELECT organization_id, id, seq, task_type, priority, created_at, idempotency_key
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.task_id
                    LIMIT 1) AS t
LEFT JOIN LATERAL (SELECT status, substr(failure, 1, 640) AS failure, failure_group
                   FROM outcome
                   WHERE task_id = e.task_id
                   LIMIT 1) AS o ON true
LEFT JOIN LATERAL (SELECT id
                   FROM lease
                   WHERE organization_id = e.organization_id
                     AND task_id = e.task_id
                   LIMIT 1) AS l ON true;

-- name: find_newest_of_group [sqlite]
-- Find an organization's newest tasks of a group of failures, below :before, by outcome_failure_group.
SELECT task_id
FROM outcome
WHERE organization_id = :organization_id
  AND failure_group = :group
  AND task_id < :before
ORDER BY task_id DESC
LIMIT :most;

-- name: find_newest_of_group [postgres]
-- The same; span and order name the organization for the reason given at find_deliveries.
SELECT task_id
FROM outcome
WHERE failure_group IS NOT NULL
  AND (organization_id, failure_group, task_id) >= (:organization_id, :group, '')
  AND (organization_id, failure_group, task_id) < (:organization_id, :group, :before)
ORDER BY organization_id DESC, failure_group DESC, task_id DESC
LIMIT :most;

-- name: find_keys_between
-- Find an organization's idempotency keys from :least on, behind :after and before :before, with their tasks.
SELECT key, task_id
FROM idempotency
WHERE organization_id = :organization_id
  AND key >= :least
  AND key > :after
  AND key < :before
ORDER BY key
LIMIT :most;

-- name: find_organizations_having [sqlite]
-- Find the newest organizations below :below, each with whether it has tasks of this status, or any if it is null.
SELECT o.id,
       CASE CAST(:status AS TEXT)
         WHEN 'QUEUED' THEN o.queued > 0
         WHEN 'PROCESSING' THEN o.processing > 0
         ELSE coalesce((SELECT status FROM outcome WHERE organization_id = o.id AND status = :status LIMIT 1),
                       (SELECT id FROM task WHERE organization_id = o.id AND :status IS NULL LIMIT 1)) IS NOT NULL
       END AS has
FROM organization AS o
WHERE o.id < :below
ORDER BY o.id DESC
LIMIT :most;

-- name: find_organizations_having [postgres]
-- The same; span and order name the organization for the reason given at find_deliveries.
SELECT o.id,
       CASE CAST(:status AS TEXT)
         WHEN 'QUEUED' THEN o.queued > 0
         WHEN 'PROCESSING' THEN o.processing > 0
         ELSE coalesce((SELECT f.status
                        FROM outcome AS f
                        WHERE (f.organization_id, f.status, f.task_id) >= (o.id, CAST(:status AS TEXT), '')
                          AND (f.organization_id, f.status, f.task_id) < (o.id, CAST(:status AS TEXT), 'g')
                        ORDER BY f.organization_id, f.status, f.task_id
                        LIMIT 1),
                       (SELECT t.id
                        FROM task AS t
                        WHERE (t.organization_id, t.id) >= (o.id, '')
                          AND (t.organization_id, t.id) < (o.id, 'g')
                          AND CAST(:status AS TEXT) IS NULL
                        ORDER BY t.organization_id, t.id
                        LIMIT 1)) IS NOT NULL
       END AS has
FROM organization AS o
WHERE o.id < :below
ORDER BY o.id DESC
LIMIT :most;
