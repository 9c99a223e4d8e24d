-- Plans and the installation's own flag.

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

-- name: find_maintenance
SELECT maintenance
FROM installation;

-- name: update_maintenance
UPDATE installation
SET maintenance = :maintenance;
