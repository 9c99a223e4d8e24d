-- Alerts: what organizations want to be told of.

-- name: insert_alert
INSERT INTO alert (id, organization_id, kind, threshold, for_ms, url, host, created_at)
VALUES (:id, :organization_id, :kind, :threshold, :for_ms, :url, :host, :now);

-- name: count_alerts
SELECT count(*)
FROM alert
WHERE organization_id = :organization_id;

-- name: find_alerts
-- An organization's alerts, oldest first.
SELECT id, kind, threshold, for_ms, url, host, firing, since, changed_at, created_at
FROM alert
WHERE organization_id = :organization_id
ORDER BY id;

-- name: find_alert
SELECT id, kind, threshold, for_ms, url, host, firing, since, changed_at, created_at
FROM alert
WHERE organization_id = :organization_id
  AND id = :id;

-- name: update_alert
-- Another rule: whether it holds is found out anew.
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
DELETE FROM alert
WHERE organization_id = :organization_id
  AND id = :id
RETURNING id;

-- name: find_alerts_to_evaluate
-- In the order of their ids, each with the numbers of its organization.
SELECT a.id, a.kind, a.threshold, a.for_ms, a.url, a.host, a.firing, a.since, a.changed_at, a.created_at,
       a.organization_id, o.name, o.queued, o.processing + o.calls, o.slots_max, o.failed
FROM alert AS a
JOIN organization AS o ON o.id = a.organization_id
WHERE a.id > :after
ORDER BY a.id
LIMIT :most;

-- name: find_oldest_of_organization
-- Since when the oldest ready task might have started: the first row of each lane.
SELECT min(CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END)
FROM lane AS l
JOIN queue_entry AS q
  ON q.organization_id = l.organization_id AND q.task_type = l.task_type AND q.rank = l.rank
 AND q.seq = (SELECT min(h.seq)
              FROM queue_entry AS h
              WHERE h.organization_id = l.organization_id AND h.task_type = l.task_type AND h.rank = l.rank
                AND h.seq >= l.head_seq)
JOIN task AS t ON t.organization_id = q.organization_id AND t.id = q.task_id
WHERE l.organization_id = :organization_id
  AND l.ready > 0;

-- name: find_failed_before
-- How many tasks had failed at the last sample of this minute or before it; none: as many as ever.
SELECT failed
FROM usage
WHERE organization_id = :organization_id
  AND minute <= :minute
ORDER BY minute DESC
LIMIT 1;

-- name: move_alert
-- Only from the state that was judged, by the rule that was judged: of several servers one moves it, and one message goes
-- out.
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
INSERT INTO delivery (id, organization_id, alert_id, url, host, body, due_at, created_at)
VALUES (:id, :organization_id, :alert_id, :url, :host, :body, :now, :now);

-- name: erase_alerts
DELETE FROM alert
WHERE organization_id = :organization_id
  AND id IN (SELECT id FROM alert WHERE organization_id = :organization_id ORDER BY id LIMIT :most)
RETURNING id;
