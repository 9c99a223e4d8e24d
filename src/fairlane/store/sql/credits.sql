-- Credits: grants, and one organization's totals.

-- name: find_credits
-- Find an organization's credits.
SELECT credits_on, credits_granted, credits_charged, credits_held
FROM organization
WHERE id = :organization_id;

-- name: find_grant
-- Find one grant of an organization.
SELECT id, amount, reason, actor, created_at
FROM credit_grant
WHERE organization_id = :organization_id
  AND id = :id;

-- name: find_grants
-- Find an organization's newest grants, by credit_grant_created.
SELECT id, amount, reason, actor, created_at
FROM credit_grant
WHERE organization_id = :organization_id
ORDER BY created_at DESC, id DESC
LIMIT :most;

-- name: insert_grant
-- Insert a grant.
INSERT INTO credit_grant (organization_id, id, amount, reason, actor, created_at)
VALUES (:organization_id, :id, :amount, :reason, :actor, :now);
