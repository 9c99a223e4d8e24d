-- Jumps of the database's clock.

-- name: update_clock
-- Write the number of jumps, and the moment until which the clock ran normally.
UPDATE installation
SET clock_jumps = :jumps,
    clock_even_until = :now;

-- name: lock_every_organization [sqlite]
-- Lock every organization; SQLite has one writer, so reading is locking.
SELECT count(*)
FROM organization;

-- name: lock_every_organization [postgres]
-- Lock every organization in id order, as everywhere. A claim waits, and reads the clock after it.
SELECT count(*)
FROM (SELECT 1 FROM organization ORDER BY id FOR NO KEY UPDATE) AS locked;
