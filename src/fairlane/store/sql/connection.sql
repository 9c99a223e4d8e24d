-- Questions of the PostgreSQL adapter to the server itself.

-- name: read_clock [postgres]
-- Read the server's clock.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;

-- name: limit_transaction [postgres]
-- Set how long the running transaction may wait and work, and its plans as in steady_plans; they are kept, because
-- planning takes longer than the work of a small transaction.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true),
       set_config('plan_cache_mode', 'force_generic_plan', true),
       set_config('lock_timeout', CAST(:lock AS TEXT), true),
       set_config('statement_timeout', CAST(:statement AS TEXT), true),
       set_config('idle_in_transaction_session_timeout', CAST(:idle AS TEXT), true);

-- name: steady_plans [postgres]
-- Let the running transaction read by indexes, and in their order. Every statement has an index that gives its rows in
-- order; otherwise a plan made while a table was empty, or with statistics of that time, would later read and sort all
-- rows of an organization. The first or last row is asked for by ORDER BY and LIMIT 1: of an aggregate such as min, the
-- planner may read all rows.
SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
       set_config('enable_sort', 'off', true), set_config('enable_incremental_sort', 'off', true);

-- name: mark_commit [postgres]
-- Write the number of this server's transaction, which is about to commit. Fails, by a division by zero, if decide_commit
-- has taken the number.
WITH marked AS (
  INSERT INTO last_commit (server_id, remainder, number, undone, at)
  VALUES (:server_id, :remainder, CAST(:number AS BIGINT), 0, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
  ON CONFLICT (server_id, remainder) DO UPDATE SET number = excluded.number, undone = 0, at = excluded.at
  WHERE last_commit.number < excluded.number
  RETURNING 1
)
SELECT 1 / count(*) FROM marked;

-- name: decide_commit [postgres]
-- Return 0 if this server's transaction of this number was committed, else 1; then it can no longer commit. Waits for
-- one that is just being committed. Writes in both cases: where a commit waits for a standby, so does this answer.
INSERT INTO last_commit (server_id, remainder, number, undone, at)
VALUES (:server_id, :remainder, CAST(:number AS BIGINT), 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint)
ON CONFLICT (server_id, remainder) DO UPDATE SET
  number = excluded.number,
  undone = CASE WHEN last_commit.number < excluded.number THEN 1 ELSE last_commit.undone END,
  at = excluded.at
RETURNING undone;

-- name: delete_last_commits [postgres]
-- Delete the numbers of servers that have committed nothing for a day.
DELETE FROM last_commit
WHERE at < (extract(epoch FROM clock_timestamp()) * 1000)::bigint - 86400000;

-- name: find_safety [postgres]
-- Read the version and the settings that decide whether a commit is durable and every text can be stored.
SELECT name, setting
FROM pg_settings
WHERE name IN ('server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'transaction_read_only',
               'server_encoding');

-- name: notify [postgres]
-- Send payloads to every listening server; used outside of any other transaction.
SELECT CAST(pg_notify(:channel, p.payload) AS TEXT)
FROM unnest(:payloads[text]) AS p (payload);
