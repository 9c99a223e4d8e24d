-- Starts of workers that failed, by the machine and the application.

-- name: upsert_failed_start
-- Count failed starts of one application on one machine. The report that was counted last counts nothing again, and one
-- that was written before a worker of its supervisor registered is dropped (index session_supervisor).
INSERT INTO failed_start (key_id, host, application, cause, version, failures, first_at, last_at, supervisor, report)
SELECT :key_id, :host, :application, :cause, :version, CAST(:failures AS BIGINT), CAST(:now AS BIGINT),
       CAST(:now AS BIGINT), :supervisor, CAST(:report AS BIGINT)
WHERE NOT EXISTS (SELECT 1
                  FROM session
                  WHERE supervisor = :supervisor
                    AND supervisor <> ''
                    AND reports >= :report)
ON CONFLICT (key_id, host, application) DO UPDATE
SET cause = excluded.cause,
    version = excluded.version,
    failures = failed_start.failures
               + CASE WHEN failed_start.supervisor = excluded.supervisor AND failed_start.report = excluded.report
                      THEN 0
                      ELSE excluded.failures
                 END,
    last_at = excluded.last_at,
    supervisor = excluded.supervisor,
    report = excluded.report;

-- name: find_failed_starts
-- Find the failed starts that were reported since this moment and are not over; reads the whole of failed_start, which is
-- bounded. Two servers of PostgreSQL may write a report and the registration that ends it at once (index
-- session_supervisor).
SELECT nullif(f.key_id, '') AS key, f.host, f.application, f.cause, f.version, f.failures, f.first_at, f.last_at
FROM failed_start AS f
WHERE f.last_at >= :since
  AND NOT EXISTS (SELECT 1
                  FROM session AS s
                  WHERE s.supervisor = f.supervisor
                    AND s.supervisor <> ''
                    AND s.reports >= f.report)
ORDER BY f.first_at, f.key_id, f.host, f.application;

-- name: delete_failed_start
-- Delete what is known of failed starts of this application on this machine: a worker of it registered.
DELETE FROM failed_start
WHERE key_id = :key_id
  AND host = :host
  AND application = :application;

-- name: delete_old_failed_starts
-- Delete failed starts that were not reported since this moment, and those beyond the newest :kept; reads the whole of
-- failed_start, which is bounded.
DELETE FROM failed_start
WHERE last_at < :before
   OR (key_id, host, application) IN (SELECT key_id, host, application
                                      FROM failed_start
                                      ORDER BY last_at DESC, key_id, host, application
                                      LIMIT :most OFFSET :kept)
RETURNING host;
