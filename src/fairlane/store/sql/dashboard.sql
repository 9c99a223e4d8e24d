-- What the dashboard needs beyond the API: what signs its sessions, and what is live, for all viewers at once.

-- name: find_dashboard_secret
SELECT dashboard_secret
FROM installation;

-- name: set_dashboard_secret
-- Whoever comes first makes it; the others read it.
UPDATE installation
SET dashboard_secret = :secret
WHERE dashboard_secret IS NULL;

-- name: find_totals
SELECT submitted, completed, failed
FROM organization
WHERE id = :id;

-- name: find_busiest
-- The organizations with the most to do, for operators.
SELECT name, plan, queued, ready, processing, slots_max, paused, disabled, maintenance, drifted, submitted, completed,
       failed
FROM organization
ORDER BY queued + processing DESC, name
LIMIT :most;

-- name: sum_organizations
SELECT count(*), CAST(coalesce(sum(queued), 0) AS BIGINT), CAST(coalesce(sum(processing), 0) AS BIGINT),
       CAST(coalesce(sum(submitted), 0) AS BIGINT), CAST(coalesce(sum(completed), 0) AS BIGINT),
       CAST(coalesce(sum(failed), 0) AS BIGINT), CAST(coalesce(sum(drifted), 0) AS BIGINT)
FROM organization;
