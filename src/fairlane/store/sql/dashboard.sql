-- The dashboard's reads beyond the API: the secret of its sessions, and the live state for all viewers at once.

-- name: find_dashboard_secret
-- Read the secret that signs sessions.
SELECT dashboard_secret
FROM installation;

-- name: set_dashboard_secret
-- Store the secret, unless another server has stored one before.
UPDATE installation
SET dashboard_secret = :secret
WHERE dashboard_secret IS NULL;

-- name: find_totals
-- Find an organization's totals.
SELECT submitted, completed, failed
FROM organization
WHERE id = :id;

-- name: find_busiest
-- Find the organizations with most tasks queued and processing, and since when the oldest ready task of each could have
-- started: the first row of each lane, from the lane's bound. Sorts all organizations.
SELECT o.id, o.name, o.plan, o.queued, o.ready, o.processing + o.calls AS used, o.slots_max, o.paused, o.disabled,
       o.maintenance,
       o.drifted, o.submitted, o.completed, o.failed,
       (SELECT min((SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END
                    FROM task AS t
                    WHERE t.organization_id = l.organization_id
                      AND t.id = (SELECT q.task_id
                                  FROM queue_entry AS q
                                  WHERE q.organization_id = l.organization_id AND q.task_type = l.task_type AND q.rank = l.rank
                                    AND q.seq >= l.head_seq
                                  ORDER BY q.seq
                                  LIMIT 1)))
        FROM lane AS l
        WHERE l.organization_id = o.id
          AND l.ready > 0) AS oldest_ready_at
FROM (SELECT id
      FROM organization
      ORDER BY queued + processing DESC, name
      LIMIT :most) AS b
JOIN organization AS o ON o.id = b.id
ORDER BY o.queued + o.processing DESC, o.name;

-- name: sum_organizations
-- Sum the counts of all organizations.
SELECT count(*) AS organizations, CAST(coalesce(sum(queued), 0) AS BIGINT) AS queued,
       CAST(coalesce(sum(processing + calls), 0) AS BIGINT) AS used,
       CAST(coalesce(sum(submitted), 0) AS BIGINT) AS submitted,
       CAST(coalesce(sum(completed), 0) AS BIGINT) AS completed,
       CAST(coalesce(sum(failed), 0) AS BIGINT) AS failed, CAST(coalesce(sum(drifted), 0) AS BIGINT) AS drifted
FROM organization;
