-- Attempts by type and minute, of an organization or of all.

-- name: insert_type_usage [sqlite]
-- Insert what a sample added.
INSERT INTO type_usage (organization_id, minute, task_type, sample_id, started, completed, failed, waits, runs)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8
FROM json_each(:usage)
WHERE true
ON CONFLICT DO NOTHING;

-- name: insert_type_usage [postgres]
-- The same; the set is passed as arrays.
INSERT INTO type_usage (organization_id, minute, task_type, sample_id, started, completed, failed, waits, runs)
SELECT organization_id, minute, task_type, sample_id, started, completed, failed, waits, runs
FROM unnest(:usage[bigint, bigint, text, text, bigint, bigint, bigint, text, text])
     AS e (organization_id, minute, task_type, sample_id, started, completed, failed, waits, runs)
ON CONFLICT DO NOTHING;

-- name: find_type_usage
-- Find an organization's rows of these minutes, at most :most, in the order of its key.
SELECT minute, task_type, started, completed, failed, waits, runs
FROM type_usage
WHERE organization_id = :organization_id
  AND minute >= :first
  AND minute < :last
ORDER BY minute, task_type
LIMIT :most;

-- name: find_old_type_usage
-- Find rows before :before, by type_usage_minute.
SELECT organization_id, minute, task_type, sample_id
FROM type_usage
WHERE minute < :before
ORDER BY minute
LIMIT :most;

-- name: delete_type_usage [sqlite]
-- Delete these rows.
DELETE FROM type_usage
WHERE (organization_id, minute, task_type, sample_id) IN
      (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:rows));

-- name: delete_type_usage [postgres]
-- The same; the set is passed as arrays.
DELETE FROM type_usage AS u
USING unnest(:rows[bigint, bigint, text, text]) AS e (organization_id, minute, task_type, sample_id)
WHERE u.organization_id = e.organization_id
  AND u.minute = e.minute
  AND u.task_type = e.task_type
  AND u.sample_id = e.sample_id;

-- name: erase_type_usage
-- Delete up to :most minutes of an organization.
DELETE FROM type_usage
WHERE organization_id = :organization_id
  AND minute IN (SELECT minute FROM type_usage WHERE organization_id = :organization_id ORDER BY minute LIMIT :most)
RETURNING task_type;
