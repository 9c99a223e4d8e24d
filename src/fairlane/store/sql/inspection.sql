-- Reads of the doctor, on a connection of its own.

-- name: find_planned_without_slots
-- Find plans and organizations without slots, in which nothing can start.
SELECT 'plan' AS noun, name
FROM plan
WHERE slots IS NULL
UNION ALL
SELECT 'organization', name
FROM organization
WHERE slots_max IS NULL
ORDER BY 1, 2;

-- name: find_flagged
-- Find organizations that are drifted, paused or disabled; reads organizations by name.
SELECT name, drifted, paused, disabled
FROM organization
WHERE drifted = 1 OR paused = 1 OR disabled = 1
ORDER BY name
LIMIT :most;

-- name: find_living
-- Find live workers and servers by name; servers serve no types.
SELECT name, types
FROM session
WHERE dead = 0
  AND lease_until >= :now
ORDER BY name;

-- name: find_working [postgres]
-- Find whether the database's process :process runs a statement or waits for a lock.
SELECT 1
FROM pg_stat_activity
WHERE pid = CAST(:process AS INT)
  AND state = 'active';

-- name: find_identity [postgres]
-- Find whether the process id of this connection belongs to the database: a pooler gives its clients another one.
SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = CAST(:process AS INT)),
       current_setting('server_version'), current_setting('autovacuum');

-- name: find_dead_rows [postgres]
-- Find the live and dead rows of each table, and whether autovacuum is on for it.
SELECT s.relname::text, s.n_live_tup, s.n_dead_tup,
       NOT coalesce('autovacuum_enabled=false' = ANY (c.reloptions), false)
FROM pg_stat_user_tables AS s
JOIN pg_class AS c ON c.oid = s.relid
WHERE s.schemaname = current_schema()
ORDER BY s.n_dead_tup DESC, s.relname;

-- name: find_oldest_transaction [postgres]
-- Find the oldest transaction of this database, which holds back its clean-up; prepared transactions count, too.
SELECT seconds, who
FROM (SELECT extract(epoch FROM clock_timestamp() - xact_start)::bigint AS seconds,
             concat('process ', pid, ' of ', usename, ', ', state) AS who
      FROM pg_stat_activity
      WHERE datname = current_database()
        AND xact_start IS NOT NULL
        AND usename IS NOT NULL
        AND pid <> CAST(:process AS INT)
      UNION ALL
      SELECT extract(epoch FROM clock_timestamp() - prepared)::bigint, concat('prepared ', gid, ' of ', owner)
      FROM pg_prepared_xacts
      WHERE database = current_database()) AS transactions
ORDER BY seconds DESC
LIMIT 1;
