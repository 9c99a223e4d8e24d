-- Upkeep that belongs to no single noun.

-- name: empty_probe [sqlite]
-- Empty the table of the trial write.
DELETE FROM probe;

-- name: empty_probe [postgres]
-- The same; TRUNCATE gives the table a new file, so that filling it needs room on the disk.
TRUNCATE probe;

-- name: fill_probe
-- Insert the row of the trial write.
INSERT INTO probe (filler)
VALUES (:filler);

-- name: find_size [sqlite]
-- Read the size of the database in bytes; what is not in its file yet is left out.
SELECT c.page_count * s.page_size AS size
FROM pragma_page_count AS c
CROSS JOIN pragma_page_size AS s;

-- name: find_size [postgres]
-- The same, of this database of the server.
SELECT pg_database_size(current_database()) AS size;

-- name: find_least_recount
-- Find the oldest of all organizations' last recounts, by organization_audited.
SELECT min(audited_at) AS at
FROM organization;
