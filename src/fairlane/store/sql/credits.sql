-- Credits: grants, and one organization's totals.

-- name: find_credits
-- Find an organization's credits.
SELECT credits_on, credits_granted, credits_charged, credits_held, monthly_credits
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

-- name: find_without_month
-- Find organizations that are not marked with this month, by organization_credits_month. A later mark is left after the
-- clock was set back.
SELECT id
FROM (SELECT id
      FROM organization
      WHERE credits_on = 1
        AND erasing = 0
        AND monthly_credits > 0
        AND credits_month < :month
      ORDER BY credits_month, id
      LIMIT :most) AS earlier
UNION ALL
SELECT id
FROM (SELECT id
      FROM organization
      WHERE credits_on = 1
        AND erasing = 0
        AND monthly_credits > 0
        AND credits_month > :month
      ORDER BY credits_month, id
      LIMIT :most) AS later
LIMIT :most;

-- name: mark_month [sqlite]
-- Mark these organizations with this month, and return what a grant of it is now.
UPDATE organization
SET credits_month = :month
WHERE id IN (SELECT value FROM json_each(:ids))
  AND credits_on = 1
  AND erasing = 0
  AND monthly_credits > 0
RETURNING id, monthly_credits;

-- name: mark_month [postgres]
-- The same; the set is passed as arrays.
UPDATE organization
SET credits_month = :month
WHERE id = ANY (:ids[bigint])
  AND credits_on = 1
  AND erasing = 0
  AND monthly_credits > 0
RETURNING id, monthly_credits;

-- name: insert_grants [sqlite]
-- Insert grants with one id, for an organization each; a grant that exists stays as it is. Return the new ones.
INSERT INTO credit_grant (organization_id, id, amount, reason, actor, created_at)
SELECT value ->> 0, :id, value ->> 1, :reason, :actor, :now
FROM json_each(:grants)
WHERE TRUE
ON CONFLICT DO NOTHING
RETURNING organization_id;

-- name: insert_grants [postgres]
-- The same; the set is passed as arrays.
INSERT INTO credit_grant (organization_id, id, amount, reason, actor, created_at)
SELECT organization_id, :id, amount, :reason, :actor, :now
FROM unnest(:grants[bigint, bigint]) AS e (organization_id, amount)
ON CONFLICT DO NOTHING
RETURNING organization_id;
