-- Why a task waits: where it is, what is ahead of it, and what its organization and its type can get.

-- name: find_wait
-- One task by id, or by idempotency key if no id fits, and which of its four places it is in.
SELECT t.id, t.task_type, t.priority, t.seq, o.status, l.started_at, w.attempt, w.due_at, l.progress
FROM task AS t
LEFT JOIN outcome AS o ON o.organization_id = t.organization_id AND o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN waiting AS w ON w.organization_id = t.organization_id AND w.task_id = t.id
WHERE t.organization_id = :organization_id
  AND t.id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                      (SELECT task_id FROM idempotency
                       WHERE organization_id = :organization_id AND key = :reference));

-- name: find_standing
SELECT paused, disabled, slots_max, processing + calls, weight, virtual_time,
       CASE WHEN credits_on = 1
              AND credits_wanted BETWEEN 1 AND credits_granted - credits_charged
              AND credits_wanted > credits_granted - credits_charged - credits_held
            THEN 1 ELSE 0
       END
FROM organization
WHERE id = :organization_id;

-- name: count_ahead
-- Ready tasks that come before this place in the queue, by type: whole lanes of higher priority, and of the own
-- priority those accepted earlier, counted no further than :most in each lane.
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
       END,
       CASE WHEN l.rank < :rank THEN 0 ELSE 1 END
FROM lane AS l
WHERE l.organization_id = :organization_id
  AND l.rank <= :rank
  AND l.ready > 0;

-- name: find_type_limit
-- How many of this type may run at once, and how many do.
SELECT m.most, (SELECT count(*) FROM lease AS l WHERE l.limited = 1 AND l.task_type = m.task_type)
FROM type_limit AS m
WHERE m.task_type = :task_type;

-- name: find_serving
-- Every live worker: what it serves, its places, and how many of them are taken.
SELECT s.types, s.places, (SELECT count(*) FROM lease AS l WHERE l.session_id = s.id), s.id
FROM session AS s
WHERE s.dead = 0
  AND s.lease_until >= :now;

-- name: find_running_of_organization
-- What holds its slots and since when, up to :most of it; so do the next two, for a type and for workers.
SELECT task_type, started_at
FROM lease
WHERE organization_id = :organization_id
LIMIT :most;

-- name: find_running_of_type
SELECT task_type, started_at
FROM lease
WHERE limited = 1
  AND task_type = :task_type
LIMIT :most;

-- name: find_running_of_sessions [sqlite]
SELECT task_type, started_at
FROM lease
WHERE session_id IN (SELECT value FROM json_each(:ids))
LIMIT :most;

-- name: find_running_of_sessions [postgres]
SELECT task_type, started_at
FROM lease
WHERE session_id = ANY (:ids[text])
LIMIT :most;

-- name: find_rivals
-- Of up to :most other organizations that could start tasks of this type now, and as many that could start calls: how
-- many come first, and all weights. Who could start both has one tag, and is one.
SELECT CAST(coalesce(sum(CASE WHEN t.virtual_time < :virtual_time
                                OR (t.virtual_time = :virtual_time AND t.organization_id < :organization_id)
                              THEN 1 ELSE 0 END), 0) AS BIGINT),
       CAST(coalesce(sum(o.weight), 0) AS BIGINT)
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
