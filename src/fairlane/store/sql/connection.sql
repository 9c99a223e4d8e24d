-- Questions of the PostgreSQL adapter to the server itself.

-- name: read_clock [postgres]
-- Read the server's clock, and the transaction's identity if it has written or locked anything yet.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_current_xact_id_if_assigned()::text;

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

-- name: find_transaction [postgres]
-- Read the transaction's identity, or null if it has written and locked nothing.
SELECT pg_current_xact_id_if_assigned()::text;

-- name: find_fate [postgres]
-- Read the outcome of a transaction: committed, aborted, in progress, or unknown (null).
SELECT pg_xact_status(CAST(CAST(:identity AS TEXT) AS xid8));

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
