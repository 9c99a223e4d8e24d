-- The whole installation minute by minute, for operators.

-- name: upsert_pulse
-- Write what this server saw in this minute.
INSERT INTO pulse
  (minute, server_id, at, queued, used, slots_max, places, places_used, submitted, completed, failed, started, waits)
VALUES
  (:minute, :server_id, :at, :queued, :used, :slots_max, :places, :places_used, :submitted, :completed, :failed,
   :started, :waits)
ON CONFLICT (minute, server_id) DO UPDATE
SET at = excluded.at, queued = excluded.queued, used = excluded.used, slots_max = excluded.slots_max,
    places = excluded.places, places_used = excluded.places_used, submitted = excluded.submitted,
    completed = excluded.completed, failed = excluded.failed, started = excluded.started, waits = excluded.waits;

-- name: find_pulses
-- Find what servers saw from this minute on.
SELECT minute, server_id, at, queued, used, slots_max, places, places_used, submitted, completed, failed, started, waits
FROM pulse
WHERE minute >= :first
ORDER BY minute, at;

-- name: delete_pulses
-- Delete up to :most rows of minutes before this one.
DELETE FROM pulse
WHERE (minute, server_id) IN (SELECT minute, server_id
                              FROM pulse
                              WHERE minute < :before
                              ORDER BY minute, server_id
                              LIMIT :most)
RETURNING minute;

-- name: find_first_due_delivery
-- Find when the first open delivery is due, by delivery_due.
SELECT (SELECT due_at FROM delivery WHERE due_at IS NOT NULL ORDER BY due_at LIMIT 1) AS at;

-- name: find_drifted_names
-- Find up to :most organizations with counts that differ from their rows, by organization_drifted.
SELECT name
FROM organization
WHERE drifted = 1
ORDER BY name
LIMIT :most;
