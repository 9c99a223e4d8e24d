-- Which migrations were applied.

-- name: create_schema_version
CREATE TABLE IF NOT EXISTS schema_version (
  version    INTEGER PRIMARY KEY,
  applied_at INTEGER NOT NULL
);

-- name: find_schema_version
SELECT coalesce(max(version), 0)
FROM schema_version;

-- name: insert_schema_version
INSERT INTO schema_version (version, applied_at)
VALUES (:version, :now);
