-- History: running totals of organizations, minute by minute.

-- name: find_usage_due
-- Find organizations with totals or integrals that may have changed since this moment; reads organizations by id.
SELECT id
FROM organization
WHERE (processing > 0 OR calls > 0 OR ready > 0 OR integrals_at >= :since)
  AND id > :after
ORDER BY id
LIMIT :most;

-- name: find_last_sampled
-- Find the last minute with a sample, by usage_minute; 0 if there is none.
SELECT coalesce((SELECT minute FROM usage ORDER BY minute DESC LIMIT 1), 0);

-- name: find_last_usage [sqlite] packed
-- Find the newest row of each of these organizations.
SELECT json_group_array(json_array(
         u.at, u.submitted, u.started, u.completed, u.failed, u.run_ms, u.slot_ms, u.plan_limited_ms, u.worker_limited_ms,
         u.waits, u.organization_id))
FROM json_each(:ids) AS e
CROSS JOIN usage AS u
WHERE u.organization_id = e.value
  AND u.minute = (SELECT max(minute) FROM usage WHERE organization_id = e.value);

-- name: find_last_usage [postgres]
-- The same; the set is passed as arrays.
SELECT u.at, u.submitted, u.started, u.completed, u.failed, u.run_ms, u.slot_ms, u.plan_limited_ms, u.worker_limited_ms,
       u.waits, u.organization_id
FROM unnest(:ids[bigint]) AS e (organization_id)
CROSS JOIN LATERAL (SELECT organization_id, at, submitted, started, completed, failed, run_ms, slot_ms,
                           plan_limited_ms, worker_limited_ms, waits
                    FROM usage
                    WHERE organization_id = e.organization_id
                    ORDER BY minute DESC
                    LIMIT 1) AS u;

-- name: upsert_usage [sqlite]
-- Write rows of a minute.
INSERT INTO usage
  (organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
   worker_limited_ms, waits)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8, value ->> 9, value ->> 10, value ->> 11
FROM json_each(:usage)
WHERE true
ON CONFLICT (organization_id, minute) DO UPDATE
SET at = excluded.at, submitted = excluded.submitted, started = excluded.started, completed = excluded.completed,
    failed = excluded.failed, run_ms = excluded.run_ms, slot_ms = excluded.slot_ms,
    plan_limited_ms = excluded.plan_limited_ms, worker_limited_ms = excluded.worker_limited_ms, waits = excluded.waits;

-- name: upsert_usage [postgres]
-- The same; the set is passed as arrays.
INSERT INTO usage
  (organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
   worker_limited_ms, waits)
SELECT organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
       worker_limited_ms, waits
FROM unnest(:usage[bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, text])
     AS e (organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
           worker_limited_ms, waits)
ON CONFLICT (organization_id, minute) DO UPDATE
SET at = excluded.at, submitted = excluded.submitted, started = excluded.started, completed = excluded.completed,
    failed = excluded.failed, run_ms = excluded.run_ms, slot_ms = excluded.slot_ms,
    plan_limited_ms = excluded.plan_limited_ms, worker_limited_ms = excluded.worker_limited_ms, waits = excluded.waits;

-- name: find_usage
-- Find an organization's rows of these minutes, and the row before them.
SELECT at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms, worker_limited_ms, waits
FROM usage
WHERE organization_id = :organization_id
  AND minute >= coalesce((SELECT minute FROM usage
                          WHERE organization_id = :organization_id AND minute < :first
                          ORDER BY minute DESC
                          LIMIT 1), :first)
  AND minute < :last
ORDER BY minute;

-- name: find_running_totals
-- Find the running totals of an organization, and what is needed to advance them to now.
SELECT created_at, submitted, completed, failed, slot_ms, plan_limited_ms, worker_limited_ms, integrals_at,
       ready, processing + calls AS used, slots_max,
       CASE WHEN paused = 1 OR disabled = 1
              OR (credits_on = 1
                  AND credits_wanted BETWEEN 1 AND credits_granted - credits_charged
                  AND credits_wanted > credits_granted - credits_charged - credits_held)
            THEN 1 ELSE 0
       END AS stopped
FROM organization
WHERE id = :organization_id;

-- name: find_old_usage
-- Find rows before :before, by usage_minute, but not each organization's last one of them: history continues from it.
SELECT u.organization_id, u.minute
FROM usage AS u
WHERE u.minute < :before
  AND EXISTS (SELECT 1 FROM usage AS n
              WHERE n.organization_id = u.organization_id AND n.minute > u.minute AND n.minute <= :before)
ORDER BY u.minute
LIMIT :most;

-- name: find_fine_usage
-- Find rows from :after on and before :before that are not the last of their hour, by usage_minute.
SELECT u.organization_id, u.minute
FROM usage AS u
WHERE u.minute >= :after
  AND u.minute < :before
  AND EXISTS (SELECT 1 FROM usage AS n
              WHERE n.organization_id = u.organization_id AND n.minute > u.minute
                AND n.minute < (u.minute / 60 + 1) * 60)
ORDER BY u.minute
LIMIT :most;

-- name: delete_usage [sqlite]
-- Delete these rows.
DELETE FROM usage
WHERE (organization_id, minute) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:rows));

-- name: delete_usage [postgres]
-- The same; the set is passed as arrays.
DELETE FROM usage AS u
USING unnest(:rows[bigint, bigint]) AS e (organization_id, minute)
WHERE u.organization_id = e.organization_id
  AND u.minute = e.minute;

-- name: erase_usage
-- Delete up to :most rows of an organization.
DELETE FROM usage
WHERE organization_id = :organization_id
  AND minute IN (SELECT minute FROM usage WHERE organization_id = :organization_id ORDER BY minute LIMIT :most)
RETURNING minute;

-- name: find_slots_max
-- Find an organization's slots.
SELECT slots_max
FROM organization
WHERE id = :organization_id;

-- name: find_ran [sqlite]
-- Of an organization's newest :most tasks with this outcome, by outcome_listed, find those that started and were
-- accepted since :since, newest first, with the moment since when each could have started.
SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END AS ready_at,
       o.first_started_at AS started_at, o.finished_at,
       t.priority, t.id
FROM (SELECT organization_id, task_id, first_started_at, finished_at
      FROM outcome
      WHERE organization_id = :organization_id
        AND status = :status
      ORDER BY task_id DESC
      LIMIT :most) AS o
JOIN task AS t ON t.organization_id = o.organization_id AND t.id = o.task_id
WHERE t.created_at >= :since
  AND o.first_started_at IS NOT NULL
ORDER BY o.task_id DESC;

-- name: find_ran [postgres]
-- The same; span and order as at find_deliveries. All ids are below 'g', because they begin with a hexadecimal digit.
SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END AS ready_at,
       o.first_started_at AS started_at, o.finished_at,
       t.priority, t.id
FROM (SELECT organization_id, task_id, first_started_at, finished_at
      FROM outcome
      WHERE (organization_id, status, task_id) >= (:organization_id, :status, '')
        AND (organization_id, status, task_id) < (:organization_id, :status, 'g')
      ORDER BY organization_id DESC, status DESC, task_id DESC
      LIMIT :most) AS o
CROSS JOIN LATERAL (SELECT id, priority, created_at, run_at
                    FROM task
                    WHERE organization_id = o.organization_id
                      AND id = o.task_id
                    LIMIT 1) AS t
WHERE t.created_at >= :since
  AND o.first_started_at IS NOT NULL
ORDER BY o.task_id DESC;
