-- What some organizations have in their slots and in their queues, for operators.

-- name: find_watched [sqlite]
-- Find these organizations, with what decides about their next start.
SELECT o.id, o.name, o.plan, o.slots_max, o.processing + o.calls AS used, o.weight, o.paused, o.disabled, o.queued,
       o.virtual_time,
       CASE WHEN o.credits_on = 1
              AND o.credits_wanted BETWEEN 1 AND o.credits_granted - o.credits_charged
              AND o.credits_wanted > o.credits_granted - o.credits_charged - o.credits_held
            THEN 1 ELSE 0
       END AS waits_for_credits
FROM organization AS o
WHERE o.id IN (SELECT value FROM json_each(:ids));

-- name: find_watched [postgres]
-- The same; the set is passed as arrays.
SELECT o.id, o.name, o.plan, o.slots_max, o.processing + o.calls AS used, o.weight, o.paused, o.disabled, o.queued,
       o.virtual_time,
       CASE WHEN o.credits_on = 1
              AND o.credits_wanted BETWEEN 1 AND o.credits_granted - o.credits_charged
              AND o.credits_wanted > o.credits_granted - o.credits_charged - o.credits_held
            THEN 1 ELSE 0
       END AS waits_for_credits
FROM organization AS o
WHERE o.id = ANY (:ids[bigint]);

-- name: find_watched_lanes [sqlite]
-- Find the lanes of these organizations that have tasks, by organization, the first to start first.
SELECT l.organization_id, l.task_type, l.rank, l.ready, l.waiting
FROM lane AS l
WHERE l.organization_id IN (SELECT value FROM json_each(:ids))
  AND l.ready + l.waiting > 0
ORDER BY l.organization_id, l.rank, l.head_seq;

-- name: find_watched_lanes [postgres]
-- The same; the set is passed as arrays.
SELECT l.organization_id, l.task_type, l.rank, l.ready, l.waiting
FROM lane AS l
WHERE l.organization_id = ANY (:ids[bigint])
  AND l.ready + l.waiting > 0
ORDER BY l.organization_id, l.rank, l.head_seq;

-- name: find_watched_slots [sqlite]
-- Find up to :most holders of the slots of each of these organizations, in the order of acceptance.
SELECT l.organization_id, l.task_id AS id, l.task_type, l.rank, l.attempt, l.attempts, l.started_at, l.deadline_at, l.kind,
       l.progress
FROM json_each(:ids) AS e
CROSS JOIN lease AS l
WHERE l.organization_id = e.value
  AND l.task_id IN (SELECT task_id FROM lease WHERE organization_id = e.value ORDER BY task_id LIMIT :most)
ORDER BY l.organization_id, l.task_id;

-- name: find_watched_slots [postgres]
-- The same; the set is passed as arrays.
SELECT l.organization_id, l.id, l.task_type, l.rank, l.attempt, l.attempts, l.started_at, l.deadline_at, l.kind,
       l.progress
FROM unnest(:ids[bigint]) AS e (organization_id)
CROSS JOIN LATERAL (SELECT organization_id, task_id AS id, task_type, rank, attempt, attempts, started_at, deadline_at,
                           kind, progress
                    FROM lease
                    WHERE organization_id = e.organization_id
                    ORDER BY task_id
                    LIMIT :most) AS l
ORDER BY l.organization_id, l.id;

-- name: find_type_uses
-- Find how many of each limited type may run at once, and how many do, by lease_limited.
SELECT m.task_type, m.most, (SELECT count(*) FROM lease AS l WHERE l.limited = 1 AND l.task_type = m.task_type) AS used
FROM type_limit AS m;
