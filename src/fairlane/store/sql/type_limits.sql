-- Limits of task types across all organizations.

-- name: lock_type_limits [sqlite] packed
-- Find the limits of these types, in order. SQLite has one writer, so reading is locking.
SELECT json_group_array(json_array(task_type, most))
FROM (SELECT task_type, most
      FROM type_limit
      WHERE task_type IN (SELECT value FROM json_each(:types))
      ORDER BY task_type);

-- name: lock_type_limits [postgres]
-- Find the limits of these types, locked in order until the end.
SELECT task_type, most
FROM type_limit
WHERE task_type = ANY (:types[text])
ORDER BY task_type
FOR UPDATE;

-- name: count_limited [sqlite] packed
-- Count the leases of these limited types, of tasks and calls, by lease_limited. A statement of its own, after the
-- lock.
SELECT json_group_array(json_array(task_type, used))
FROM (SELECT task_type, count(*) AS used
      FROM lease
      WHERE limited = 1
        AND task_type IN (SELECT value FROM json_each(:types))
      GROUP BY task_type);

-- name: count_limited [postgres]
-- The same; the set is passed as arrays.
SELECT task_type, count(*) AS used
FROM lease
WHERE limited = 1
  AND task_type = ANY (:types[text])
GROUP BY task_type;

-- name: upsert_type_limit
-- Set a type's limit.
INSERT INTO type_limit (task_type, most)
VALUES (:task_type, :most)
ON CONFLICT (task_type) DO UPDATE
SET most = excluded.most;

-- name: insert_type_limit
-- Set a type's limit if it has none.
INSERT INTO type_limit (task_type, most)
VALUES (:task_type, :most)
ON CONFLICT (task_type) DO NOTHING;

-- name: delete_type_limits [sqlite]
-- Delete the limits of these types, unless more than :servers servers are live; null means any number.
DELETE FROM type_limit
WHERE task_type IN (SELECT value FROM json_each(:types))
  AND coalesce((SELECT count(*) FROM session WHERE dead = 0 AND types = '[]') <= :servers, 1);

-- name: delete_type_limits [postgres]
-- The same; the set is passed as arrays.
DELETE FROM type_limit
WHERE task_type = ANY (:types[text])
  AND coalesce((SELECT count(*) FROM session WHERE dead = 0 AND types = '[]') <= CAST(:servers AS BIGINT), true);

-- name: find_unlimited [sqlite] packed
-- Find organizations with leases of these types that do not count towards a limit; reads the whole of lease.
SELECT json_group_array(json_array(organization_id))
FROM (SELECT DISTINCT organization_id
      FROM lease
      WHERE limited = 0
        AND task_type IN (SELECT value FROM json_each(:types)));

-- name: find_unlimited [postgres]
-- The same; the set is passed as arrays.
SELECT DISTINCT organization_id
FROM lease
WHERE limited = 0
  AND task_type = ANY (:types[text]);

-- name: limit_leases [sqlite]
-- Let leases of these types count towards their limit; only those of locked organizations.
UPDATE lease
SET limited = 1
WHERE limited = 0
  AND task_type IN (SELECT value FROM json_each(:types))
  AND organization_id IN (SELECT value FROM json_each(:ids));

-- name: limit_leases [postgres]
-- The same; the sets are passed as arrays.
UPDATE lease
SET limited = 1
WHERE limited = 0
  AND task_type = ANY (:types[text])
  AND organization_id = ANY (:ids[bigint]);
