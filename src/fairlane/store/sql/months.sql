-- Organizations' usage in each month: differences of running sums at the start of months.

-- name: insert_month
-- Insert the sums of a new organization, all 0.
INSERT INTO usage_month (organization_id, month, opened_at, submitted, completed, failed, charged, slot_ms)
VALUES (:organization_id, :month, :now, 0, 0, 0, 0, 0);

-- name: open_months
-- Insert this month's row for organizations that have none; reads organizations by id.
INSERT INTO usage_month (organization_id, month, opened_at, submitted, completed, failed, charged, slot_ms)
SELECT o.id, :month, :now, o.submitted, o.completed, o.failed, o.credits_charged,
       o.slot_ms + (o.processing + o.calls) * CASE WHEN o.integrals_at < :now THEN :now - o.integrals_at ELSE 0 END
FROM organization AS o
WHERE NOT EXISTS (SELECT 1 FROM usage_month AS m WHERE m.organization_id = o.id AND m.month = :month)
ORDER BY o.id
LIMIT :most
RETURNING organization_id;

-- name: find_months
-- Find the sums at the start of this month, and at the start of the next known month, or else now.
SELECT o.id, o.name,
       a.opened_at, a.submitted, a.completed, a.failed, a.charged, a.slot_ms,
       b.opened_at AS closed_at, coalesce(b.submitted, o.submitted) AS end_submitted,
       coalesce(b.completed, o.completed) AS end_completed, coalesce(b.failed, o.failed) AS end_failed,
       coalesce(b.charged, o.credits_charged) AS end_charged,
       coalesce(b.slot_ms, o.slot_ms + (o.processing + o.calls)
                           * CASE WHEN o.integrals_at < :now THEN :now - o.integrals_at ELSE 0 END) AS end_slot_ms
FROM organization AS o
JOIN usage_month AS a ON a.organization_id = o.id AND a.month = :month
LEFT JOIN usage_month AS b
  ON b.organization_id = o.id
  AND b.month = (SELECT n.month FROM usage_month AS n WHERE n.organization_id = o.id AND n.month > :month
                 ORDER BY n.month LIMIT 1)
WHERE o.id > :after
  AND (CAST(:organization_id AS BIGINT) IS NULL OR o.id = :organization_id)
ORDER BY o.id
LIMIT :most;
