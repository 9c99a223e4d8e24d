-- Jumps of the database's clock.

-- name: update_clock
UPDATE installation
SET clock_jumps = :jumps,
    clock_even_until = :now;

-- name: lock_every_organization [sqlite]
SELECT count(*)
FROM organization;

-- name: lock_every_organization [postgres]
-- In id order, as everybody does. Who claims waits, and reads the clock after it.
SELECT count(*)
FROM (SELECT 1 FROM organization ORDER BY id FOR NO KEY UPDATE) AS locked;
