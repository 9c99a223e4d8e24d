-- Alerts of organizations.

-- name: insert_alert
-- Insert an alert.
INSERT INTO alert (id, organization_id, kind, threshold, for_ms, url, host, created_at)
VALUES (:id, :organization_id, :kind, :threshold, :for_ms, :url, :host, :now);

-- name: count_alerts
-- Count an organization's alerts, by alert_organization.
SELECT count(*)
FROM alert
WHERE organization_id = :organization_id;

-- name: find_alerts
-- Find an organization's alerts, oldest first, by alert_organization.
SELECT id, kind, threshold, for_ms, url, host, firing, since, changed_at, created_at
FROM alert
WHERE organization_id = :organization_id
ORDER BY id;

-- name: find_alert
-- Find one alert of an organization.
SELECT id, kind, threshold, for_ms, url, host, firing, since, changed_at, created_at
FROM alert
WHERE organization_id = :organization_id
  AND id = :id;

-- name: update_alert
-- Replace an alert's rule and reset its state, which is judged again.
UPDATE alert
SET kind = :kind,
    threshold = :threshold,
    for_ms = :for_ms,
    url = :url,
    host = :host,
    firing = 0,
    since = NULL,
    changed_at = NULL
WHERE organization_id = :organization_id
  AND id = :id
RETURNING id;

-- name: delete_alert
-- Delete one alert of an organization.
DELETE FROM alert
WHERE organization_id = :organization_id
  AND id = :id
RETURNING id;

-- name: find_alerts_to_evaluate
-- Find the next :most alerts after an id, each with the numbers of its organization.
SELECT a.id, a.kind, a.threshold, a.for_ms, a.url, a.host, a.firing, a.since, a.changed_at, a.created_at,
       a.organization_id, o.name AS organization, o.queued, o.processing + o.calls AS used, o.slots_max, o.failed
FROM alert AS a
JOIN organization AS o ON o.id = a.organization_id
WHERE a.id > :after
ORDER BY a.id
LIMIT :most;

-- name: find_oldest_of_organization
-- Find since when the oldest ready task could have started: the first row of each lane, by the primary key of
-- queue_entry.
SELECT min((SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END
            FROM task AS t
            WHERE t.organization_id = l.organization_id
              AND t.id = (SELECT q.task_id
                          FROM queue_entry AS q
                          WHERE q.organization_id = l.organization_id AND q.task_type = l.task_type AND q.rank = l.rank
                            AND q.seq >= l.head_seq
                          ORDER BY q.seq
                          LIMIT 1))) AS at
FROM lane AS l
WHERE l.organization_id = :organization_id
  AND l.ready > 0;

-- name: find_failed_before
-- Find how many tasks had failed at the last sample of this minute or before it; no row if there is no sample.
SELECT failed
FROM usage
WHERE organization_id = :organization_id
  AND minute <= :minute
ORDER BY minute DESC
LIMIT 1;

-- name: move_alert
-- Change an alert's state, only from the state and rule that were judged: of several servers one changes it and sends
-- the message.
UPDATE alert
SET firing = :firing,
    since = :since,
    changed_at = :changed_at
WHERE id = :id
  AND firing = :was_firing
  AND coalesce(since, -1) = :was_since
  AND coalesce(changed_at, -1) = :was_changed_at
  AND kind = :kind
  AND threshold = :threshold
  AND for_ms = :for_ms
  AND url = :url
  AND host = :host
RETURNING id;

-- name: insert_alert_delivery
-- Insert the delivery of an alert's message, due now.
INSERT INTO delivery (id, organization_id, alert_id, url, host, body, due_at, created_at)
VALUES (:id, :organization_id, :alert_id, :url, :host, :body, :now, :now);

-- name: erase_alerts
-- Delete up to :most alerts of an organization, by alert_organization.
DELETE FROM alert
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM alert WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING id;
