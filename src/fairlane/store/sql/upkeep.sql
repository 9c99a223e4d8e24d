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
