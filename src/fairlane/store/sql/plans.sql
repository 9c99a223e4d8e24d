-- Plans and the installation's own row.

-- name: insert_plan
INSERT INTO plan (name, slots, queue_limit, weight, created_at)
VALUES (:name, :slots, :queue_limit, :weight, :now)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: find_plans
SELECT name, slots, queue_limit, weight, created_at
FROM plan
WHERE CAST(:name AS TEXT) IS NULL OR name = :name
ORDER BY name;

-- name: lock_plan [sqlite]
SELECT name
FROM plan
WHERE name = :name;

-- name: lock_plan [postgres]
-- SQLite has one writer. For whoever changes it; taken alone, or after its organizations' locks.
SELECT name
FROM plan
WHERE name = :name
FOR UPDATE;

-- name: keep_plan [sqlite]
SELECT name
FROM plan
WHERE name = :name;

-- name: keep_plan [postgres]
-- For whoever puts an organization on it: until then it does not change, and whoever changes it finds the organization.
SELECT name
FROM plan
WHERE name = :name
FOR SHARE;

-- name: update_plan
UPDATE plan
SET slots = :slots,
    queue_limit = :queue_limit,
    weight = :weight
WHERE name = :name;

-- name: delete_plan
DELETE FROM plan
WHERE name = :name
  AND NOT EXISTS (SELECT 1 FROM organization AS o WHERE o.plan = plan.name)
RETURNING name;

-- name: lock_installation [sqlite]
SELECT clock_jumps, clock_even_until
FROM installation;

-- name: lock_installation [postgres]
-- SQLite has one writer. Taken before any organization.
SELECT clock_jumps, clock_even_until
FROM installation
FOR NO KEY UPDATE;

-- name: find_maintenance
SELECT maintenance
FROM installation;

-- name: update_maintenance
UPDATE installation
SET maintenance = :maintenance;
