-- Why a task waits: its state, the tasks before it, and what its organization and its type can get.

-- name: find_wait
-- Find one task by id, or else by idempotency key, and in which of its four places it is.
SELECT t.id AS task_id, t.task_type, t.priority, t.seq, o.status AS ended, l.started_at, w.attempt, w.due_at, l.progress
FROM (SELECT organization_id, id, task_type, priority, seq
      FROM task
      WHERE organization_id = :organization_id
        AND id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                          (SELECT task_id FROM idempotency
                           WHERE organization_id = :organization_id AND key = :reference))
      LIMIT 1) AS t
LEFT JOIN outcome AS o ON o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN waiting AS w ON w.organization_id = t.organization_id AND w.seq = t.seq;

-- name: find_standing
-- Find an organization's flags, slots, weight and virtual time, and whether its next task waits for credits.
SELECT paused, disabled, slots_max, processing + calls AS used, weight, virtual_time,
       CASE WHEN credits_on = 1
              AND credits_wanted BETWEEN 1 AND credits_granted - credits_charged
              AND credits_wanted > credits_granted - credits_charged - credits_held
            THEN 1 ELSE 0
       END AS waits_for_credits
FROM organization
WHERE id = :organization_id;

-- name: count_ahead
-- Count ready tasks before this place in the queue, by type: whole lanes of higher priority, and in lanes of the same
-- priority those accepted earlier, at most :most in each.
SELECT l.task_type,
       CASE WHEN l.rank < :rank THEN l.ready
            ELSE (SELECT count(*)
                  FROM (SELECT q.seq
                        FROM queue_entry AS q
                        WHERE q.organization_id = l.organization_id
                          AND q.task_type = l.task_type
                          AND q.rank = l.rank
                          AND q.seq >= l.head_seq
                          AND q.seq < :seq
                        LIMIT :most) AS earlier)
       END AS count,
       CASE WHEN l.rank < :rank THEN 0 ELSE 1 END AS own_rank
FROM lane AS l
WHERE l.organization_id = :organization_id
  AND l.rank <= :rank
  AND l.ready > 0;

-- name: find_type_limit
-- Find how many of this type may run at once, and how many do, by lease_limited.
SELECT m.most, (SELECT count(*) FROM lease AS l WHERE l.limited = 1 AND l.task_type = m.task_type) AS used
FROM type_limit AS m
WHERE m.task_type = :task_type;

-- name: find_serving
-- Find every live worker that takes tasks: its types, its places, and how many of them are taken, by lease_session.
SELECT s.types, s.places, (SELECT count(*) FROM lease AS l WHERE l.session_id = s.id) AS taken, s.id
FROM session AS s
WHERE s.dead = 0
  AND s.draining = 0
  AND s.lease_until >= :now;

-- name: find_running_of_organization
-- Find up to :most leases of an organization, with their types and starts.
SELECT task_type, started_at
FROM lease
WHERE organization_id = :organization_id
LIMIT :most;

-- name: find_running_of_type
-- Find up to :most leases of a limited type, with their starts, by lease_limited.
SELECT task_type, started_at
FROM lease
WHERE limited = 1
  AND task_type = :task_type
LIMIT :most;

-- name: find_running_of_sessions [sqlite]
-- Find up to :most leases of these sessions, with their types and starts, by lease_session.
SELECT task_type, started_at
FROM lease
WHERE session_id IN (SELECT value FROM json_each(:ids))
LIMIT :most;

-- name: find_running_of_sessions [postgres]
-- The same; the set is passed as arrays.
SELECT task_type, started_at
FROM lease
WHERE session_id = ANY (:ids[text])
LIMIT :most;

-- name: find_rivals
-- Among up to :most other organizations that could start tasks of this type now, and as many that could start calls,
-- count those that come first, and sum all weights. An organization in both lists has one virtual time, and counts
-- once.
SELECT CAST(coalesce(sum(CASE WHEN t.virtual_time < :virtual_time
                                OR (t.virtual_time = :virtual_time AND t.organization_id < :organization_id)
                              THEN 1 ELSE 0 END), 0) AS BIGINT) AS before,
       CAST(coalesce(sum(o.weight), 0) AS BIGINT) AS weights
FROM (SELECT virtual_time, organization_id
      FROM (SELECT virtual_time, organization_id
            FROM turn
            WHERE task_type = :task_type
              AND kind = 0
              AND organization_id <> :organization_id
            ORDER BY virtual_time, organization_id
            LIMIT :most) AS tasks
      UNION
      SELECT virtual_time, organization_id
      FROM (SELECT virtual_time, organization_id
            FROM turn
            WHERE task_type = :task_type
              AND kind = 1
              AND organization_id <> :organization_id
            ORDER BY virtual_time, organization_id
            LIMIT :most) AS calls) AS t
JOIN organization AS o ON o.id = t.organization_id;
