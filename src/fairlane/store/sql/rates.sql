-- Requests of organizations with a rate limit of their own, as servers tell each other.

-- name: find_request_counts
-- Find what the other live servers told; reads a row for each server.
SELECT at, counts
FROM request_count
WHERE server_id <> :server_id
  AND at BETWEEN :earliest AND :latest;

-- name: upsert_request_counts
-- Write what this server counted.
INSERT INTO request_count (server_id, at, counts)
VALUES (:server_id, :now, :counts)
ON CONFLICT (server_id) DO UPDATE
SET at = excluded.at, counts = excluded.counts;

-- name: delete_request_counts
-- Delete the rows of servers that ended; reads a row for each server.
DELETE FROM request_count
WHERE at NOT BETWEEN :earliest AND :latest;
