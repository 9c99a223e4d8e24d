-- The whole installation at one moment, for metrics and autoscalers.

-- name: sum_fleet
-- Sum the counts of all organizations; runnable (the fifth) is the number that could start if there were enough
-- workers.
SELECT count(*) AS organizations,
       CAST(coalesce(sum(processing + calls), 0) AS BIGINT) AS slots_used,
       CAST(coalesce(sum(coalesce(slots_max, 0)), 0) AS BIGINT) AS slots_max,
       CAST(coalesce(sum(calls_ready), 0) AS BIGINT) AS calls_ready,
       CAST(coalesce(sum(CASE WHEN paused = 1 OR disabled = 1 OR slots_max IS NULL OR processing + calls >= slots_max
                                THEN 0
                              WHEN ready < slots_max - processing - calls
                                THEN ready
                              ELSE slots_max - processing - calls
                         END), 0) AS BIGINT) AS runnable,
       CAST(coalesce(sum(drifted), 0) AS BIGINT) AS organizations_drifted
FROM organization;

-- name: sum_lanes
-- Sum ready and waiting tasks by type, over all lanes.
SELECT task_type, CAST(sum(ready) AS BIGINT) AS ready, CAST(sum(waiting) AS BIGINT) AS waiting
FROM lane
WHERE ready + waiting > 0
GROUP BY task_type;

-- name: count_running
-- Count all leases by type and kind.
SELECT task_type, kind, count(*) AS count
FROM lease
GROUP BY task_type, kind;

-- name: find_oldest_ready
-- Find since when the oldest ready task of each type could have started: the first row of each lane, from the lane's
-- bound. Not a join: the database could begin it with the queue, and read all of it.
SELECT l.task_type,
       min((SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END
            FROM task AS t
            WHERE t.organization_id = l.organization_id
              AND t.id = (SELECT q.task_id
                          FROM queue_entry AS q
                          WHERE q.organization_id = l.organization_id AND q.task_type = l.task_type AND q.rank = l.rank
                            AND q.seq >= l.head_seq
                          ORDER BY q.seq
                          LIMIT 1))) AS ready_at
FROM lane AS l
WHERE l.ready > 0
GROUP BY l.task_type;

-- name: count_open_deliveries
-- Count open deliveries, by delivery_due.
SELECT count(*)
FROM delivery
WHERE due_at IS NOT NULL;

-- name: count_troubles
-- Count failing hosts of webhooks (webhook_host_failing) and running bulks (bulk_state), up to :most of each.
SELECT (SELECT count(*)
        FROM (SELECT 1
              FROM webhook_host
              WHERE organization_id = 0 AND failing_since IS NOT NULL
              LIMIT :most) AS failing) AS hosts_failing,
       (SELECT count(*)
        FROM (SELECT 1
              FROM bulk
              WHERE state = 'RUNNING'
              LIMIT :most) AS running) AS bulks_running;

-- name: find_type_limits
-- Find the limits of all types that have one; reads the whole of type_limit.
SELECT task_type, most
FROM type_limit
ORDER BY task_type;
