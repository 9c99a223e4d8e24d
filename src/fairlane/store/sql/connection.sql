-- What the PostgreSQL adapter asks of the server itself.

-- name: read_clock [postgres]
-- The server's clock, and the transaction's identity if it has written or locked anything yet.
SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_current_xact_id_if_assigned()::text;

-- name: find_transaction [postgres]
SELECT pg_current_xact_id_if_assigned()::text;

-- name: find_fate [postgres]
-- What became of a transaction: committed, aborted, in progress, or unknown (null).
SELECT pg_xact_status(CAST(CAST(:identity AS TEXT) AS xid8));

-- name: find_safety [postgres]
SELECT name, setting
FROM pg_settings
WHERE name IN ('server_version_num', 'fsync', 'full_page_writes', 'synchronous_commit', 'transaction_read_only',
               'server_encoding');

-- name: notify [postgres]
-- Tells every server that listens; outside of any other transaction.
SELECT CAST(pg_notify(:channel, p.payload) AS TEXT)
FROM unnest(:payloads[text]) AS p (payload);

-- name: empty_probe [sqlite]
DELETE FROM probe;

-- name: empty_probe [postgres]
-- TRUNCATE gives the table a new file, so that filling it needs room on the disk.
TRUNCATE probe;

-- name: fill_probe
INSERT INTO probe (filler)
VALUES (:filler);
