-- Starts of workers that failed, by the machine and the application.

-- name: upsert_failed_start
-- Count failed starts of one application on one machine; a report with the id of the last one counts nothing.
INSERT INTO failed_start (key_id, host, application, cause, version, failures, first_at, last_at, report_id)
VALUES (:key_id, :host, :application, :cause, :version, :failures, :now, :now, :report_id)
ON CONFLICT (key_id, host, application) DO UPDATE
SET cause = excluded.cause,
    version = excluded.version,
    failures = failed_start.failures
               + CASE WHEN failed_start.report_id = excluded.report_id THEN 0 ELSE excluded.failures END,
    last_at = excluded.last_at,
    report_id = excluded.report_id;

-- name: find_failed_starts
-- Find the failed starts that were reported since this moment; reads the whole of failed_start, which is bounded.
SELECT nullif(key_id, '') AS key, host, application, cause, version, failures, first_at, last_at
FROM failed_start
WHERE last_at >= :since
ORDER BY first_at, key_id, host, application;

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
