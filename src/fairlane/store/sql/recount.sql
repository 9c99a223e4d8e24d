-- The recount, which compares the counters with the rows that they count.

-- name: find_least_audited
-- Find the organizations with the oldest last recount, by organization_audited.
SELECT id
FROM organization
ORDER BY audited_at, id
LIMIT :most;

-- name: find_drifted
-- Find organizations with drifted counts, by organization_drifted.
SELECT name
FROM organization
WHERE drifted = 1
ORDER BY name
LIMIT :most;

-- name: update_audited [sqlite]
-- Set the moment of these organizations' last recount.
UPDATE organization
SET audited_at = :now
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: update_audited [postgres]
-- The same; the set is passed as arrays.
UPDATE organization
SET audited_at = :now
WHERE id = ANY (:ids[bigint]);

-- name: recount_organizations [sqlite]
-- Return the counts in these organizations' rows, each followed by the count of its rows. Queues are counted in steps.
-- Credit grants by credit_grant_created, calls by call_ready and their key.
SELECT o.id, o.name, o.ready, o.queued - o.ready AS waiting,
       o.processing, (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id AND l.kind = 0) AS leases,
       o.credits_held, (SELECT coalesce(sum(l.cost), 0) FROM lease AS l WHERE l.organization_id = o.id) AS lease_costs,
       o.credits_granted,
       (SELECT coalesce(sum(g.amount), 0) FROM credit_grant AS g WHERE g.organization_id = o.id) AS grants,
       o.calls, (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id AND l.kind = 1) AS call_leases,
       o.calls_ready, (SELECT count(*) FROM call AS c WHERE c.organization_id = o.id AND c.ready = 1) AS ready_calls,
       (SELECT count(*) FROM call AS c WHERE c.organization_id = o.id AND c.status IS NULL) AS open_calls
FROM organization AS o
WHERE o.id IN (SELECT value FROM json_each(:ids))
ORDER BY o.id;

-- name: recount_organizations [postgres]
-- The same; the set is passed as arrays.
SELECT o.id, o.name, o.ready, o.queued - o.ready AS waiting,
       o.processing, (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id AND l.kind = 0) AS leases,
       o.credits_held,
       (SELECT coalesce(sum(l.cost), 0)::bigint FROM lease AS l WHERE l.organization_id = o.id) AS lease_costs,
       o.credits_granted,
       (SELECT coalesce(sum(g.amount), 0)::bigint FROM credit_grant AS g WHERE g.organization_id = o.id) AS grants,
       o.calls, (SELECT count(*) FROM lease AS l WHERE l.organization_id = o.id AND l.kind = 1) AS call_leases,
       o.calls_ready, (SELECT count(*) FROM call AS c WHERE c.organization_id = o.id AND c.ready = 1) AS ready_calls,
       (SELECT count(*) FROM call AS c WHERE c.organization_id = o.id AND c.status IS NULL) AS open_calls
FROM organization AS o
WHERE o.id = ANY (:ids[bigint])
ORDER BY o.id;

-- name: count_queue_entries [sqlite]
-- Count the next :most queue entries behind this place, up to the organization :last, by lane: number, first, last.
SELECT organization_id, task_type, rank, count(*) AS count, min(seq) AS head, max(seq) AS newest
FROM (SELECT organization_id, task_type, rank, seq
      FROM queue_entry
      WHERE organization_id <= :last
        AND (organization_id, task_type, rank, seq) > (:organization_id, :task_type, :rank, :seq)
      ORDER BY organization_id, task_type, rank, seq
      LIMIT :most) AS entries
GROUP BY organization_id, task_type, rank
ORDER BY organization_id, task_type, rank;

-- name: count_queue_entries [postgres]
-- The same. The first condition follows from the third: without it PostgreSQL takes another index and sorts its rows.
SELECT organization_id, task_type, rank, count(*), min(seq) AS head, max(seq) AS newest
FROM (SELECT organization_id, task_type, rank, seq
      FROM queue_entry
      WHERE organization_id >= :organization_id
        AND organization_id <= :last
        AND (organization_id, task_type, rank, seq) > (:organization_id, :task_type, :rank, :seq)
      ORDER BY organization_id, task_type, rank, seq
      LIMIT :most) AS entries
GROUP BY organization_id, task_type, rank
ORDER BY organization_id, task_type, rank;

-- name: count_waiting [sqlite]
-- Count the next :most waiting tasks behind this one, up to the organization :last, by lane: number and last.
SELECT organization_id, task_type, rank, count(*) AS count, max(seq) AS last
FROM (SELECT organization_id, seq, task_type, rank
      FROM waiting
      WHERE organization_id <= :last
        AND (organization_id, seq) > (:organization_id, :seq)
      ORDER BY organization_id, seq
      LIMIT :most) AS entries
GROUP BY organization_id, task_type, rank;

-- name: count_waiting [postgres]
-- The same; the first condition is there for the reason given at count_queue_entries.
SELECT organization_id, task_type, rank, count(*), max(seq) AS last
FROM (SELECT organization_id, seq, task_type, rank
      FROM waiting
      WHERE organization_id >= :organization_id
        AND organization_id <= :last
        AND (organization_id, seq) > (:organization_id, :seq)
      ORDER BY organization_id, seq
      LIMIT :most) AS entries
GROUP BY organization_id, task_type, rank;

-- name: recount_turns [sqlite]
-- Find differences between the turns kept and the turns that should exist; reads the whole of turn, and calls by
-- call_ready.
WITH due AS (
  SELECT DISTINCT l.task_type, 0 AS kind, o.virtual_time, o.id AS organization_id
  FROM organization AS o
  JOIN lane AS l ON l.organization_id = o.id AND l.ready > 0
  WHERE o.paused = 0 AND o.disabled = 0 AND o.processing + o.calls < o.slots_max
    AND NOT (o.credits_on = 1 AND o.credits_wanted > o.credits_granted - o.credits_charged - o.credits_held
             AND o.credits_wanted BETWEEN 1 AND o.credits_granted - o.credits_charged)
    AND o.id IN (SELECT value FROM json_each(:ids))
  UNION
  SELECT c.task_type, 1, o.virtual_time, o.id
  FROM organization AS o
  JOIN call AS c ON c.organization_id = o.id AND c.ready = 1
  WHERE o.id IN (SELECT value FROM json_each(:ids))
),
kept AS (
  SELECT task_type, kind, virtual_time, organization_id
  FROM turn
  WHERE organization_id IN (SELECT value FROM json_each(:ids))
)
SELECT coalesce(k.organization_id, d.organization_id) AS organization_id,
       coalesce(k.task_type, d.task_type) AS task_type,
       k.organization_id IS NOT NULL AS kept, d.organization_id IS NOT NULL AS due
FROM kept AS k
FULL JOIN due AS d
  ON d.organization_id = k.organization_id AND d.task_type = k.task_type AND d.kind = k.kind
 AND d.virtual_time = k.virtual_time
WHERE k.organization_id IS NULL OR d.organization_id IS NULL
ORDER BY 1, 2, 3;

-- name: recount_turns [postgres]
-- The same; the sets are passed as arrays.
WITH due AS (
  SELECT DISTINCT l.task_type, 0 AS kind, o.virtual_time, o.id AS organization_id
  FROM organization AS o
  JOIN lane AS l ON l.organization_id = o.id AND l.ready > 0
  WHERE o.paused = 0 AND o.disabled = 0 AND o.processing + o.calls < o.slots_max
    AND NOT (o.credits_on = 1 AND o.credits_wanted > o.credits_granted - o.credits_charged - o.credits_held
             AND o.credits_wanted BETWEEN 1 AND o.credits_granted - o.credits_charged)
    AND o.id = ANY (:ids[bigint])
  UNION
  SELECT c.task_type, 1, o.virtual_time, o.id
  FROM organization AS o
  JOIN call AS c ON c.organization_id = o.id AND c.ready = 1
  WHERE o.id = ANY (:ids[bigint])
),
kept AS (
  SELECT task_type, kind, virtual_time, organization_id
  FROM turn
  WHERE organization_id = ANY (:ids[bigint])
)
SELECT coalesce(k.organization_id, d.organization_id) AS organization_id,
       coalesce(k.task_type, d.task_type) AS task_type,
       (k.organization_id IS NOT NULL)::int AS kept, (d.organization_id IS NOT NULL)::int AS due
FROM kept AS k
FULL JOIN due AS d
  ON d.organization_id = k.organization_id AND d.task_type = k.task_type AND d.kind = k.kind
 AND d.virtual_time = k.virtual_time
WHERE k.organization_id IS NULL OR d.organization_id IS NULL
ORDER BY 1, 2, 3;

-- name: count_states
-- Count the next :most tasks behind this one by how many of the four states they are in.
SELECT states, count(*) AS count
FROM (SELECT (SELECT count(*) FROM queue_entry AS q
              WHERE q.organization_id = t.organization_id AND q.task_type = t.task_type
                AND q.rank = 10 - t.priority AND q.seq = t.seq)
           + (SELECT count(*) FROM waiting AS w WHERE w.organization_id = t.organization_id AND w.seq = t.seq)
           + (SELECT count(*) FROM lease AS l WHERE l.organization_id = t.organization_id AND l.task_id = t.id)
           + (SELECT count(*) FROM outcome AS o WHERE o.task_id = t.id) AS states
      FROM (SELECT organization_id, id, task_type, priority, seq
            FROM task
            WHERE (organization_id, id) > (:organization_id, :id)
            ORDER BY organization_id, id
            LIMIT :most) AS t) AS counted
GROUP BY states;

-- name: find_task_behind
-- Find the task that is :skipped tasks behind the next one.
SELECT organization_id, id
FROM task
WHERE (organization_id, id) > (:organization_id, :id)
ORDER BY organization_id, id
LIMIT 1 OFFSET :skipped;

-- name: count_call_states
-- Count all calls by how many of lease and end they have.
SELECT states, count(*) AS count
FROM (SELECT (SELECT count(*) FROM lease AS l
              WHERE l.organization_id = c.organization_id AND l.task_id = c.id AND l.kind = 1)
           + CASE WHEN c.status IS NULL THEN 0 ELSE 1 END AS states
      FROM call AS c) AS counted
GROUP BY states;

-- name: delete_lanes [sqlite]
-- Delete the lanes of these organizations.
DELETE FROM lane
WHERE organization_id IN (SELECT value FROM json_each(:ids));

-- name: delete_lanes [postgres]
-- The same; the set is passed as arrays.
DELETE FROM lane
WHERE organization_id = ANY (:ids[bigint]);

-- name: delete_all_turns [sqlite]
-- Delete the turns of these organizations; reads the whole of turn.
DELETE FROM turn
WHERE organization_id IN (SELECT value FROM json_each(:ids));

-- name: delete_all_turns [postgres]
-- The same; the set is passed as arrays.
DELETE FROM turn
WHERE organization_id = ANY (:ids[bigint]);

-- name: find_organization_ids
-- Find the ids of all organizations.
SELECT id
FROM organization
ORDER BY id;

-- name: count_organizations
-- Count all organizations.
SELECT count(*)
FROM organization;
