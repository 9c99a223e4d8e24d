-- Applied versions of the schema. The tables are in schema.sql.

-- name: create_schema_version
-- Create the table of applied migrations.
CREATE TABLE IF NOT EXISTS schema_version (
  version    BIGINT PRIMARY KEY,
  applied_at BIGINT NOT NULL
);

-- name: insert_schema_lock
-- Insert the row that a migrating server locks.
INSERT INTO schema_version (version, applied_at)
VALUES (0, :now)
ON CONFLICT DO NOTHING;

-- name: lock_schema_version [postgres]
-- Lock out other servers that migrate or move.
SELECT version
FROM schema_version
WHERE version = 0
FOR UPDATE;

-- name: find_schema_versions
-- Find the applied migrations.
SELECT version
FROM schema_version
WHERE version > 0
ORDER BY version;

-- name: has_schema_version [sqlite]
-- Count whether the table of applied migrations exists.
SELECT count(*)
FROM sqlite_schema
WHERE type = 'table'
  AND name = 'schema_version';

-- name: has_schema_version [postgres]
-- The same, from PostgreSQL's catalog.
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: insert_schema_version
-- Record a migration as applied.
INSERT INTO schema_version (version, applied_at)
VALUES (:version, :now);
