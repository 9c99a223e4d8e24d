-- Plans and the installation's own row.

-- name: insert_plan
-- Insert a plan; no row if its name exists.
INSERT INTO plan (name, slots, queue_limit, weight, priority_limit, task_types, monthly_credits, rate_limit, retention_seconds, created_at)
VALUES (:name, :slots, :queue_limit, :weight, :priority_limit, :task_types, :monthly_credits, :rate_limit, :retention_seconds, :now)
ON CONFLICT DO NOTHING
RETURNING name;

-- name: find_plans
-- Find one plan, or all by name.
SELECT name, slots, queue_limit, weight, priority_limit, task_types, monthly_credits, rate_limit, retention_seconds, created_at
FROM plan
WHERE CAST(:name AS TEXT) IS NULL OR name = :name
ORDER BY name;

-- name: lock_plan [sqlite]
-- Lock a plan for a change; SQLite has one writer, so reading is locking.
SELECT name
FROM plan
WHERE name = :name;

-- name: lock_plan [postgres]
-- Lock a plan for a change; used alone, or after its organizations' locks.
SELECT name
FROM plan
WHERE name = :name
FOR UPDATE;

-- name: keep_plan [sqlite]
-- Keep a plan unchanged until the transaction ends; SQLite has one writer, so reading is locking.
SELECT name
FROM plan
WHERE name = :name;

-- name: keep_plan [postgres]
-- Keep a plan unchanged while an organization gets it; a later change of the plan then finds the organization.
SELECT name
FROM plan
WHERE name = :name
FOR SHARE;

-- name: update_plan
-- Write a plan's limits.
UPDATE plan
SET slots = :slots,
    queue_limit = :queue_limit,
    weight = :weight,
    priority_limit = :priority_limit,
    task_types = :task_types,
    monthly_credits = :monthly_credits,
    rate_limit = :rate_limit,
    retention_seconds = :retention_seconds
WHERE name = :name;

-- name: delete_plan
-- Delete a plan that no organization uses, checked by organization_plan.
DELETE FROM plan
WHERE name = :name
  AND NOT EXISTS (SELECT 1 FROM organization AS o WHERE o.plan = plan.name)
RETURNING name;

-- name: lock_installation [sqlite]
-- Lock the installation's row; SQLite has one writer, so reading is locking.
SELECT clock_jumps, clock_even_until
FROM installation;

-- name: lock_installation [postgres]
-- Lock the installation's row, before any organization.
SELECT clock_jumps, clock_even_until
FROM installation
FOR NO KEY UPDATE;
