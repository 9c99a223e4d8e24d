-- Erase an organization with everything it owns, a bounded number of rows at a time.

-- name: update_erasing
-- Mark an organization for erasing and disable it: from now on it accepts and starts nothing.
UPDATE organization
SET erasing = 1,
    disabled = 1
WHERE id = :id;

-- name: find_erasing
-- Find organizations that are being erased, by organization_erasing.
SELECT id
FROM organization
WHERE erasing = 1
ORDER BY id
LIMIT :most;

-- name: find_organization_leases
-- Find up to :most leases of an organization.
SELECT id, kind
FROM lease
WHERE organization_id = :organization_id
ORDER BY task_id
LIMIT :most;

-- name: find_organization_tasks
-- Find up to :most tasks of an organization, with their keys.
SELECT id, idempotency_key
FROM task
WHERE organization_id = :organization_id
ORDER BY id
LIMIT :most;

-- name: find_organization_deliveries
-- Find up to :most deliveries of an organization, by delivery_organization.
SELECT id
FROM delivery
WHERE organization_id = :organization_id
ORDER BY id
LIMIT :most;

-- name: erase_calls
-- Delete up to :most calls of an organization.
DELETE FROM call
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM call WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING id;

-- name: erase_keys
-- Delete up to :most keys of an organization, by api_key_organization.
DELETE FROM api_key
WHERE id IN (SELECT id FROM api_key WHERE organization_id = :organization_id LIMIT :most)
RETURNING id;

-- name: erase_webhook_secrets
-- Delete up to :most webhook secrets of an organization, by webhook_secret_organization.
DELETE FROM webhook_secret
WHERE id IN (SELECT id FROM webhook_secret WHERE organization_id = :organization_id LIMIT :most)
RETURNING id;

-- name: erase_credit_grants
-- Delete up to :most grants of an organization; return their amounts.
DELETE FROM credit_grant
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM credit_grant WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING amount;

-- name: erase_usage_months
-- Delete up to :most month rows of an organization.
DELETE FROM usage_month
WHERE organization_id = :organization_id
  AND month IN (SELECT month FROM usage_month WHERE organization_id = :organization_id ORDER BY month LIMIT :most)
RETURNING month;

-- name: erase_bulk_parts
-- Delete up to :most parts of bulks in an organization, by bulk_part_organization.
DELETE FROM bulk_part
WHERE organization_id = :organization_id
  AND bulk_id IN (SELECT bulk_id
                  FROM bulk_part
                  WHERE organization_id = :organization_id
                  ORDER BY organization_id
                  LIMIT :most)
RETURNING bulk_id;

-- name: erase_bulks
-- Delete up to :most bulks of an organization, by bulk_organization.
DELETE FROM bulk
WHERE id IN (SELECT id FROM bulk WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING id;

-- name: erase_organization
-- Delete an organization's row.
DELETE FROM organization
WHERE id = :id;
