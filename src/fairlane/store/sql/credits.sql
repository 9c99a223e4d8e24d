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

-- name: find_costs [sqlite] packed
-- Find the costs of these tasks, and whether they have a webhook.
SELECT json_group_array(json_array(t.id, t.cost, t.webhook_url IS NOT NULL))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t
WHERE t.organization_id = e.value ->> 0
  AND t.id = e.value ->> 1;

-- name: find_costs [postgres]
-- The same; the set is passed as arrays.
SELECT t.id AS task_id, t.cost, (t.webhook_url IS NOT NULL)::int AS webhook
FROM unnest(:tasks[bigint, text]) AS e (organization_id, id)
JOIN task AS t ON t.organization_id = e.organization_id AND t.id = e.id;
