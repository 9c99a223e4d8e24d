-- Which migrations were applied.

-- name: create_schema_version
CREATE TABLE IF NOT EXISTS schema_version (
  version    BIGINT PRIMARY KEY,
  applied_at BIGINT NOT NULL
);

-- name: insert_schema_lock
-- The row that whoever migrates locks.
INSERT INTO schema_version (version, applied_at)
VALUES (0, :now)
ON CONFLICT DO NOTHING;

-- name: lock_schema_version [postgres]
SELECT version
FROM schema_version
WHERE version = 0
FOR UPDATE;

-- name: find_schema_versions
SELECT version
FROM schema_version
WHERE version > 0
ORDER BY version;

-- name: has_schema_version [sqlite]
SELECT count(*)
FROM sqlite_schema
WHERE type = 'table'
  AND name = 'schema_version';

-- name: has_schema_version [postgres]
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: insert_schema_version
INSERT INTO schema_version (version, applied_at)
VALUES (:version, :now);
