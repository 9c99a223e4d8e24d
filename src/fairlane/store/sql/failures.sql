-- Failures by cause: counts of each organization, hour and group.

-- name: count_failures [sqlite]
-- Add failures to their groups of this hour. A group that is new is counted as :other if its organization has :most.
WITH e AS MATERIALIZED (
       SELECT value ->> 0 AS organization_id, value ->> 1 AS group_id, value ->> 2 AS task_type, value ->> 3 AS code,
              value ->> 4 AS ending, value ->> 5 AS exception, value ->> 6 AS place, value ->> 7 AS line,
              value ->> 8 AS failures, value ->> 9 AS retried, value ->> 10 AS task_id
       FROM json_each(:failures)),
     fresh AS MATERIALIZED (
       SELECT e.organization_id, e.group_id,
              row_number() OVER (PARTITION BY e.organization_id ORDER BY e.group_id)
              + (SELECT count(*) FROM failure_hour AS h
                 WHERE h.organization_id = e.organization_id AND h.hour = :hour) AS number
       FROM e
       WHERE NOT EXISTS (SELECT 1 FROM failure_hour AS h
                         WHERE h.organization_id = e.organization_id AND h.hour = :hour AND h.group_id = e.group_id)),
     counted AS MATERIALIZED (
       SELECT e.organization_id, e.group_id, e.task_type, e.code, e.ending, e.exception, e.place, e.line, e.failures,
              e.retried, e.task_id, f.number IS NOT NULL AND f.number > :most AS is_other
       FROM e
       LEFT JOIN fresh AS f ON f.organization_id = e.organization_id AND f.group_id = e.group_id)
INSERT INTO failure_hour
  (organization_id, hour, group_id, task_type, code, ending, exception, place, line, failures, retried, first_at,
   last_at, task_id)
SELECT organization_id, :hour, CASE WHEN is_other THEN :other ELSE group_id END,
       max(CASE WHEN is_other THEN '' ELSE task_type END), max(CASE WHEN is_other THEN '' ELSE code END),
       max(CASE WHEN is_other THEN '' ELSE ending END), max(CASE WHEN is_other THEN '' ELSE exception END),
       max(CASE WHEN is_other THEN '' ELSE place END), max(CASE WHEN is_other THEN 0 ELSE line END),
       sum(failures), sum(retried), :now, :now, max(task_id)
FROM counted
WHERE true
GROUP BY 1, 3
ON CONFLICT (organization_id, hour, group_id) DO UPDATE
SET line = excluded.line,
    failures = failure_hour.failures + excluded.failures,
    retried = failure_hour.retried + excluded.retried,
    last_at = excluded.last_at,
    task_id = CASE WHEN excluded.failures > 0 OR failure_hour.failures = 0 THEN excluded.task_id
                   ELSE failure_hour.task_id END;

-- name: count_failures [postgres]
-- The same; the set is passed as arrays.
WITH e AS MATERIALIZED (
       SELECT organization_id, group_id, task_type, code, ending, exception, place, line, failures, retried, task_id
       FROM unnest(:failures[bigint, text, text, text, text, text, text, bigint, bigint, bigint, text])
            AS e (organization_id, group_id, task_type, code, ending, exception, place, line, failures, retried,
                  task_id)),
     fresh AS MATERIALIZED (
       SELECT e.organization_id, e.group_id,
              row_number() OVER (PARTITION BY e.organization_id ORDER BY e.group_id)
              + (SELECT count(*) FROM failure_hour AS h
                 WHERE h.organization_id = e.organization_id AND h.hour = :hour) AS number
       FROM e
       WHERE NOT EXISTS (SELECT 1 FROM failure_hour AS h
                         WHERE h.organization_id = e.organization_id AND h.hour = :hour AND h.group_id = e.group_id)),
     counted AS MATERIALIZED (
       SELECT e.organization_id, e.group_id, e.task_type, e.code, e.ending, e.exception, e.place, e.line, e.failures,
              e.retried, e.task_id, f.number IS NOT NULL AND f.number > :most AS is_other
       FROM e
       LEFT JOIN fresh AS f ON f.organization_id = e.organization_id AND f.group_id = e.group_id)
INSERT INTO failure_hour
  (organization_id, hour, group_id, task_type, code, ending, exception, place, line, failures, retried, first_at,
   last_at, task_id)
SELECT organization_id, :hour, CASE WHEN is_other THEN CAST(:other AS TEXT) ELSE group_id END AS kept,
       max(CASE WHEN is_other THEN '' ELSE task_type END), max(CASE WHEN is_other THEN '' ELSE code END),
       max(CASE WHEN is_other THEN '' ELSE ending END), max(CASE WHEN is_other THEN '' ELSE exception END),
       max(CASE WHEN is_other THEN '' ELSE place END), max(CASE WHEN is_other THEN 0 ELSE line END),
       CAST(sum(failures) AS BIGINT), CAST(sum(retried) AS BIGINT), :now, :now, max(task_id)
FROM counted
GROUP BY organization_id, kept
ON CONFLICT (organization_id, hour, group_id) DO UPDATE
SET line = excluded.line,
    failures = failure_hour.failures + excluded.failures,
    retried = failure_hour.retried + excluded.retried,
    last_at = excluded.last_at,
    task_id = CASE WHEN excluded.failures > 0 OR failure_hour.failures = 0 THEN excluded.task_id
                   ELSE failure_hour.task_id END;

-- name: find_failure_groups
-- Sum up the groups of all organizations since this hour, by failure_hour_hour, those with most failures first; of each
-- the newest sample, by its place among the rows of the group.
SELECT group_id, max(task_type) AS task_type, max(code) AS code, max(ending) AS ending, max(exception) AS exception,
       max(place) AS place, max(CASE WHEN newest = 1 THEN line ELSE 0 END) AS line,
       CAST(sum(failures) AS BIGINT) AS failures, CAST(sum(retried) AS BIGINT) AS retried,
       count(DISTINCT organization_id) AS organizations, min(first_at) AS first_at, max(last_at) AS last_at,
       max(CASE WHEN newest = 1 THEN organization_id ELSE 0 END) AS organization_id,
       max(CASE WHEN newest = 1 THEN task_id ELSE '' END) AS task_id
FROM (SELECT group_id, task_type, code, ending, exception, place, line, failures, retried, organization_id, first_at,
             last_at, task_id,
             row_number() OVER (PARTITION BY group_id ORDER BY last_at DESC, organization_id) AS newest
      FROM (SELECT group_id, task_type, code, ending, exception, place, line, failures, retried, organization_id,
                   first_at, last_at, task_id
            FROM failure_hour
            WHERE hour >= :since
            ORDER BY hour DESC
            LIMIT :rows) AS h) AS n
GROUP BY group_id
ORDER BY sum(failures) + sum(retried) DESC, group_id
LIMIT :most;

-- name: find_failure_groups_of
-- Sum up the groups of one organization since this hour in the same way.
SELECT group_id, max(task_type) AS task_type, max(code) AS code, max(ending) AS ending, max(exception) AS exception,
       max(place) AS place, max(CASE WHEN newest = 1 THEN line ELSE 0 END) AS line,
       CAST(sum(failures) AS BIGINT) AS failures, CAST(sum(retried) AS BIGINT) AS retried,
       count(DISTINCT organization_id) AS organizations, min(first_at) AS first_at, max(last_at) AS last_at,
       max(CASE WHEN newest = 1 THEN organization_id ELSE 0 END) AS organization_id,
       max(CASE WHEN newest = 1 THEN task_id ELSE '' END) AS task_id
FROM (SELECT group_id, task_type, code, ending, exception, place, line, failures, retried, organization_id, first_at,
             last_at, task_id,
             row_number() OVER (PARTITION BY group_id ORDER BY last_at DESC, organization_id) AS newest
      FROM (SELECT group_id, task_type, code, ending, exception, place, line, failures, retried, organization_id,
                   first_at, last_at, task_id
            FROM failure_hour
            WHERE organization_id = :organization_id
              AND hour >= :since
            ORDER BY hour DESC
            LIMIT :rows) AS h) AS n
GROUP BY group_id
ORDER BY sum(failures) + sum(retried) DESC, group_id
LIMIT :most;

-- name: find_failure_hours
-- Sum up the failures of each group and hour since this hour, by failure_hour_hour.
SELECT group_id, hour, CAST(sum(failures) AS BIGINT) AS failures, CAST(sum(retried) AS BIGINT) AS retried
FROM (SELECT group_id, hour, failures, retried
      FROM failure_hour
      WHERE hour >= :since
      ORDER BY hour DESC
      LIMIT :rows) AS h
GROUP BY group_id, hour
ORDER BY group_id, hour;

-- name: find_failure_behind
-- Find the hour of the newest count that is left out, :skipped behind the newest, by failure_hour_hour.
SELECT hour
FROM failure_hour
WHERE hour >= :since
ORDER BY hour DESC
LIMIT 1 OFFSET :skipped;

-- name: find_failure_hours_of
-- Find the failures of one organization by group and hour since this hour.
SELECT group_id, hour, failures, retried
FROM (SELECT group_id, hour, failures, retried
      FROM failure_hour
      WHERE organization_id = :organization_id
        AND hour >= :since
      ORDER BY hour DESC
      LIMIT :rows) AS h
ORDER BY group_id, hour;

-- name: find_failure_samples [sqlite] packed
-- Find these tasks with what is known of their failure: in the outcome, or in the newest attempt.
SELECT json_group_array(json_array(
         t.id, g.name, o.failure, o.cause,
         (SELECT a.message FROM attempt AS a WHERE a.organization_id = t.organization_id AND a.task_id = t.id
          ORDER BY a.starts DESC LIMIT 1),
         (SELECT a.cause FROM attempt AS a WHERE a.organization_id = t.organization_id AND a.task_id = t.id
          ORDER BY a.starts DESC LIMIT 1)))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1
CROSS JOIN organization AS g ON g.id = t.organization_id
LEFT JOIN outcome AS o ON o.task_id = t.id;

-- name: find_failure_samples [postgres]
-- The same, with LATERAL for the reason given at find_tasks_from.
SELECT t.id AS task_id, g.name AS organization, o.failure, o.cause, a.message, a.cause AS attempt_cause
FROM unnest(:tasks[bigint, text]) AS e (organization_id, id)
CROSS JOIN LATERAL (SELECT organization_id, id
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.id
                    LIMIT 1) AS t
CROSS JOIN LATERAL (SELECT name FROM organization WHERE id = t.organization_id LIMIT 1) AS g
LEFT JOIN LATERAL (SELECT failure, cause FROM outcome WHERE task_id = t.id LIMIT 1) AS o ON true
LEFT JOIN LATERAL (SELECT message, cause
                   FROM attempt
                   WHERE organization_id = t.organization_id
                     AND task_id = t.id
                   ORDER BY starts DESC
                   LIMIT 1) AS a ON true;

-- name: find_old_failures
-- Find counts of hours before :before, by failure_hour_hour.
SELECT organization_id, hour, group_id
FROM failure_hour
WHERE hour < :before
ORDER BY hour
LIMIT :most;

-- name: delete_failures [sqlite]
-- Delete these counts.
DELETE FROM failure_hour
WHERE (organization_id, hour, group_id) IN
      (SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(:keys));

-- name: delete_failures [postgres]
-- The same; the set is passed as arrays.
DELETE FROM failure_hour AS h
USING unnest(:keys[bigint, bigint, text]) AS e (organization_id, hour, group_id)
WHERE h.organization_id = e.organization_id
  AND h.hour = e.hour
  AND h.group_id = e.group_id;

-- name: erase_failures
-- Delete up to :most counts of an organization.
DELETE FROM failure_hour
WHERE organization_id = :organization_id
  AND (hour, group_id) IN (SELECT hour, group_id FROM failure_hour
                           WHERE organization_id = :organization_id
                           ORDER BY hour, group_id
                           LIMIT :most)
RETURNING group_id;
