-- Limits of task types across all organizations.

-- name: lock_type_limits [sqlite] packed
-- Those of these types that have a limit, in order. SQLite has one writer, so reading is locking.
SELECT json_group_array(json_array(task_type, most))
FROM (SELECT task_type, most
      FROM type_limit
      WHERE task_type IN (SELECT value FROM json_each(:types))
      ORDER BY task_type);

-- name: lock_type_limits [postgres]
-- Those of these types that have a limit, locked in order until the end.
SELECT task_type, most
FROM type_limit
WHERE task_type = ANY (:types[text])
ORDER BY task_type
FOR UPDATE;

-- name: count_limited [sqlite] packed
-- How many slots tasks and calls of these types hold. In a statement of its own, after the lock.
SELECT json_group_array(json_array(task_type, used))
FROM (SELECT task_type, count(*) AS used
      FROM lease
      WHERE limited = 1
        AND task_type IN (SELECT value FROM json_each(:types))
      GROUP BY task_type);

-- name: count_limited [postgres]
SELECT task_type, count(*)
FROM lease
WHERE limited = 1
  AND task_type = ANY (:types[text])
GROUP BY task_type;

-- name: upsert_type_limit
INSERT INTO type_limit (task_type, most)
VALUES (:task_type, :most)
ON CONFLICT (task_type) DO UPDATE
SET most = excluded.most;

-- name: insert_type_limit
INSERT INTO type_limit (task_type, most)
VALUES (:task_type, :most)
ON CONFLICT (task_type) DO NOTHING;

-- name: delete_type_limits [sqlite]
-- Unless more than so many servers live; null: however many.
DELETE FROM type_limit
WHERE task_type IN (SELECT value FROM json_each(:types))
  AND coalesce((SELECT count(*) FROM session WHERE dead = 0 AND types = '[]') <= :servers, 1);

-- name: delete_type_limits [postgres]
DELETE FROM type_limit
WHERE task_type = ANY (:types[text])
  AND coalesce((SELECT count(*) FROM session WHERE dead = 0 AND types = '[]') <= CAST(:servers AS BIGINT), true);

-- name: find_unlimited [sqlite] packed
-- Organizations with leases of these types that were taken while their type had no limit.
SELECT json_group_array(json_array(organization_id))
FROM (SELECT DISTINCT organization_id
      FROM lease
      WHERE limited = 0
        AND task_type IN (SELECT value FROM json_each(:types)));

-- name: find_unlimited [postgres]
SELECT DISTINCT organization_id
FROM lease
WHERE limited = 0
  AND task_type = ANY (:types[text]);

-- name: limit_leases [sqlite]
-- They count from now on. Only of organizations that are locked.
UPDATE lease
SET limited = 1
WHERE limited = 0
  AND task_type IN (SELECT value FROM json_each(:types))
  AND organization_id IN (SELECT value FROM json_each(:ids));

-- name: limit_leases [postgres]
UPDATE lease
SET limited = 1
WHERE limited = 0
  AND task_type = ANY (:types[text])
  AND organization_id = ANY (:ids[bigint]);
