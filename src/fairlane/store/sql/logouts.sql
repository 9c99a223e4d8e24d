-- Sessions of the dashboard that were ended before their cookies expire.

-- name: insert_logout
-- Insert an ended session; a second time changes nothing.
INSERT INTO logout (id, expires_at)
VALUES (:id, :expires_at)
ON CONFLICT DO NOTHING;

-- name: find_logouts [sqlite]
-- Find which of these sessions were ended.
SELECT id
FROM logout
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: find_logouts [postgres]
-- The same with an array: the number of sessions varies, and the statement is prepared once.
SELECT id
FROM logout
WHERE id IN (SELECT * FROM unnest(:ids[text]));

-- name: purge_logouts
-- Delete the oldest rows of expired cookies, by logout_expires.
DELETE FROM logout
WHERE id IN (SELECT id FROM logout WHERE expires_at <= :before ORDER BY expires_at LIMIT :most)
RETURNING id;
