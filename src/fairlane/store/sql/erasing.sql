-- Erasing an organization with everything it owns, a bounded number of rows at a time.

-- name: update_erasing
-- Disabled with it: nothing of it is accepted or started from now on.
UPDATE organization
SET erasing = 1,
    disabled = 1
WHERE id = :id;

-- name: find_erasing
SELECT id
FROM organization
WHERE erasing = 1
ORDER BY id
LIMIT :most;

-- name: find_organization_leases
SELECT id, kind
FROM lease
WHERE organization_id = :organization_id
ORDER BY task_id
LIMIT :most;

-- name: find_organization_tasks
SELECT id, idempotency_key
FROM task
WHERE organization_id = :organization_id
ORDER BY id
LIMIT :most;

-- name: find_organization_deliveries
SELECT id
FROM delivery
WHERE organization_id = :organization_id
ORDER BY id
LIMIT :most;

-- name: erase_calls
DELETE FROM call
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM call WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING id;

-- name: erase_keys
DELETE FROM api_key
WHERE id IN (SELECT id FROM api_key WHERE organization_id = :organization_id LIMIT :most)
RETURNING id;

-- name: erase_webhook_secrets
DELETE FROM webhook_secret
WHERE id IN (SELECT id FROM webhook_secret WHERE organization_id = :organization_id LIMIT :most)
RETURNING id;

-- name: erase_credit_grants
DELETE FROM credit_grant
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM credit_grant WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING amount;

-- name: erase_usage_months
DELETE FROM usage_month
WHERE organization_id = :organization_id
  AND month IN (SELECT month FROM usage_month WHERE organization_id = :organization_id ORDER BY month LIMIT :most)
RETURNING month;

-- name: erase_organization
DELETE FROM organization
WHERE id = :id;
