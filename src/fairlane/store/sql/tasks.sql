-- Tasks: accepting them, reading them, and their queue.

-- name: find_used_keys [sqlite] packed
-- Find which of these (organization, idempotency key) already name a task.
SELECT json_group_array(json_array(i.organization_id, i.key))
FROM json_each(:keys) AS e
CROSS JOIN idempotency AS i ON i.organization_id = e.value ->> 0 AND i.key = e.value ->> 1;

-- name: find_used_keys [postgres]
-- The same; the set is passed as arrays.
SELECT i.organization_id, i.key
FROM unnest(:keys[bigint, text]) AS e (organization_id, key)
JOIN idempotency AS i ON i.organization_id = e.organization_id AND i.key = e.key;

-- name: insert_tasks [sqlite]
-- Insert tasks.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:tasks))
INSERT INTO task
  (id, organization_id, seq, task_type, priority, payload, idempotency_key, cost, webhook_url, webhook_host, run_at,
   retry_of, traceparent, created_at)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, e.row ->> 7,
       e.row ->> 8, e.row ->> 9, e.row ->> 10, e.row ->> 11, e.row ->> 12, :now
FROM e;

-- name: insert_tasks [postgres]
-- The same; the set is passed as arrays.
INSERT INTO task
  (id, organization_id, seq, task_type, priority, payload, idempotency_key, cost, webhook_url, webhook_host, run_at,
   retry_of, traceparent, created_at)
SELECT e.id, e.organization_id, e.seq, e.task_type, e.priority, e.payload, e.idempotency_key, e.cost, e.webhook_url,
       e.webhook_host, e.run_at, e.retry_of, e.traceparent, :now
FROM unnest(:tasks[text, bigint, bigint, text, bigint, text, text, bigint, text, text, bigint, text, text])
     AS e (id, organization_id, seq, task_type, priority, payload, idempotency_key, cost, webhook_url, webhook_host,
           run_at, retry_of, traceparent);

-- name: insert_idempotency [sqlite]
-- Insert the idempotency keys of tasks.
INSERT INTO idempotency (organization_id, key, task_id)
SELECT value ->> 0, value ->> 1, value ->> 2
FROM json_each(:keys);

-- name: insert_idempotency [postgres]
-- The same; the set is passed as arrays.
INSERT INTO idempotency (organization_id, key, task_id)
SELECT organization_id, key, task_id
FROM unnest(:keys[bigint, text, text]) AS e (organization_id, key, task_id);

-- name: insert_queue_entries [sqlite]
-- Insert ready tasks into the queue.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:entries))
INSERT INTO queue_entry
  (organization_id, task_type, rank, seq, task_id, attempt, first_started_at, starts, slot_wait_from, worker_wait_from)
SELECT e.row ->> 0, e.row ->> 1, e.row ->> 2, e.row ->> 3, e.row ->> 4, e.row ->> 5, e.row ->> 6, e.row ->> 7,
       e.row ->> 8, e.row ->> 9
FROM e;

-- name: insert_queue_entries [postgres]
-- The same; the set is passed as arrays.
INSERT INTO queue_entry
  (organization_id, task_type, rank, seq, task_id, attempt, first_started_at, starts, slot_wait_from, worker_wait_from)
SELECT organization_id, task_type, rank, seq, task_id, attempt, first_started_at, starts, slot_wait_from,
       worker_wait_from
FROM unnest(:entries[bigint, text, bigint, bigint, text, bigint, bigint, bigint, bigint, bigint])
     AS e (organization_id, task_type, rank, seq, task_id, attempt, first_started_at, starts, slot_wait_from,
           worker_wait_from);

-- name: find_heads [sqlite] packed
-- Find the oldest :most ready tasks of each of these lanes. The range ends :most rows on, because SQLite has no limit
-- for each lane of a join. Payloads longer than :inline are left out.
SELECT json_group_array(json_array(
         q.organization_id, q.task_type, q.rank, q.seq, q.task_id, q.attempt, q.first_started_at, q.starts,
         q.slot_wait_from, q.worker_wait_from, t.cost, t.webhook_url IS NOT NULL, CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END,
         t.traceparent, octet_length(t.payload), CASE WHEN octet_length(t.payload) <= :inline THEN t.payload END))
FROM json_each(:lanes) AS e
CROSS JOIN queue_entry AS q
CROSS JOIN task AS t ON t.organization_id = q.organization_id AND t.id = q.task_id
WHERE q.organization_id = e.value ->> 0
  AND q.task_type = e.value ->> 1
  AND q.rank = e.value ->> 2
  AND q.seq >= e.value ->> 3
  AND q.seq <= ifnull((SELECT seq
                       FROM queue_entry
                       WHERE organization_id = e.value ->> 0
                         AND task_type = e.value ->> 1
                         AND rank = e.value ->> 2
                         AND seq >= e.value ->> 3
                       ORDER BY seq
                       LIMIT 1 OFFSET :most - 1), 9223372036854775807);

-- name: find_heads [postgres]
-- The same, with LATERAL and a limit for each lane.
SELECT q.organization_id, q.task_type, q.rank, q.seq, q.task_id, q.attempt, q.first_started_at, q.starts,
       q.slot_wait_from, q.worker_wait_from, t.cost, (t.webhook_url IS NOT NULL)::int AS webhook, greatest(t.created_at, t.run_at) AS ready_at,
       t.traceparent, octet_length(t.payload) AS size,
       CASE WHEN octet_length(t.payload) <= :inline THEN t.payload END AS payload
FROM unnest(:lanes[bigint, text, bigint, bigint]) AS e (organization_id, task_type, rank, head_seq)
CROSS JOIN LATERAL (SELECT organization_id, task_type, rank, seq, task_id, attempt, first_started_at, starts,
                           slot_wait_from, worker_wait_from
                    FROM queue_entry
                    WHERE organization_id = e.organization_id
                      AND task_type = e.task_type
                      AND rank = e.rank
                      AND seq >= e.head_seq
                    ORDER BY seq
                    LIMIT :most) AS q
JOIN task AS t ON t.organization_id = q.organization_id AND t.id = q.task_id;

-- name: find_heads_ahead [postgres]
-- Find the next ready tasks of these types of each of these organizations, in the order of their start: at most
-- ``most`` for each, and no more than the slots that are free once ``ending`` of its leases have ended.
SELECT q.organization_id, q.task_type, q.rank, q.seq, q.task_id, q.attempt, q.first_started_at, q.starts,
       q.slot_wait_from, q.worker_wait_from, t.cost, (t.webhook_url IS NOT NULL)::int AS webhook, greatest(t.created_at, t.run_at) AS ready_at,
       t.traceparent, octet_length(t.payload) AS size,
       CASE WHEN octet_length(t.payload) <= :inline THEN t.payload END AS payload
FROM unnest(:organizations[bigint, bigint, bigint]) AS e (organization_id, most, ending)
JOIN organization AS o ON o.id = e.organization_id
CROSS JOIN LATERAL (SELECT h.organization_id, h.task_type, h.rank, h.seq, h.task_id, h.attempt, h.first_started_at,
                           h.starts, h.slot_wait_from, h.worker_wait_from
                    FROM lane AS l
                    CROSS JOIN LATERAL (SELECT organization_id, task_type, rank, seq, task_id, attempt, first_started_at,
                                               starts, slot_wait_from, worker_wait_from
                                        FROM queue_entry
                                        WHERE organization_id = l.organization_id
                                          AND task_type = l.task_type
                                          AND rank = l.rank
                                          AND seq >= l.head_seq
                                        ORDER BY seq
                                        LIMIT e.most) AS h
                    WHERE l.organization_id = e.organization_id
                      AND l.task_type = ANY (:types[text])
                      AND l.ready > 0
                    ORDER BY h.rank, h.seq
                    LIMIT least(e.most, greatest(0, o.slots_max - o.processing - o.calls) + e.ending)) AS q
JOIN task AS t ON t.organization_id = q.organization_id AND t.id = q.task_id;

-- name: find_payloads [sqlite] packed
-- Find the payloads of these tasks.
SELECT json_group_array(json_array(t.id, t.payload))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t
WHERE t.organization_id = e.value ->> 0
  AND t.id = e.value ->> 1;

-- name: find_payloads [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT e.id AS task_id, t.payload
FROM unnest(:tasks[bigint, text]) AS e (organization_id, id)
CROSS JOIN LATERAL (SELECT payload
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.id
                    LIMIT 1) AS t;

-- name: delete_queue_entries [sqlite]
-- Delete these queue entries.
DELETE FROM queue_entry
WHERE (organization_id, task_type, rank, seq) IN
      (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:entries));

-- name: delete_queue_entries [postgres]
-- The same; the set is passed as arrays.
DELETE FROM queue_entry AS q
USING unnest(:entries[bigint, text, bigint, bigint]) AS e (organization_id, task_type, rank, seq)
WHERE q.organization_id = e.organization_id
  AND q.task_type = e.task_type
  AND q.rank = e.rank
  AND q.seq = e.seq;

-- name: insert_waiting [sqlite]
-- Insert tasks that wait for their time.
INSERT INTO waiting
  (organization_id, task_id, task_type, rank, seq, attempt, first_started_at, due_at, starts, slot_wait_ms,
   worker_wait_ms)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
       value ->> 8, value ->> 9, value ->> 10
FROM json_each(:entries);

-- name: insert_waiting [postgres]
-- The same; the set is passed as arrays.
INSERT INTO waiting
  (organization_id, task_id, task_type, rank, seq, attempt, first_started_at, due_at, starts, slot_wait_ms,
   worker_wait_ms)
SELECT organization_id, task_id, task_type, rank, seq, attempt, first_started_at, due_at, starts, slot_wait_ms,
       worker_wait_ms
FROM unnest(:entries[bigint, text, text, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint])
     AS e (organization_id, task_id, task_type, rank, seq, attempt, first_started_at, due_at, starts, slot_wait_ms,
           worker_wait_ms);

-- name: find_due [sqlite] packed
-- Find due waiting tasks, by waiting_due.
SELECT json_group_array(json_array(organization_id, seq))
FROM (SELECT organization_id, seq
      FROM waiting
      WHERE due_at <= :now
      ORDER BY due_at
      LIMIT :most);

-- name: find_due [postgres]
-- The same, not packed.
SELECT organization_id, seq
FROM waiting
WHERE due_at <= :now
ORDER BY due_at
LIMIT :most;

-- name: take_waiting [sqlite]
-- Delete those of these (organization, seq) that still wait; return them.
DELETE FROM waiting
WHERE (organization_id, seq) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:entries))
RETURNING organization_id, task_id, task_type, rank, seq, attempt, first_started_at, starts, slot_wait_ms,
          worker_wait_ms;

-- name: take_waiting [postgres]
-- The same; the set is passed as arrays.
DELETE FROM waiting AS w
USING unnest(:entries[bigint, bigint]) AS e (organization_id, seq)
WHERE w.organization_id = e.organization_id
  AND w.seq = e.seq
RETURNING w.organization_id, w.task_id, w.task_type, w.rank, w.seq, w.attempt, w.first_started_at, w.starts,
          w.slot_wait_ms, w.worker_wait_ms;

-- name: find_ready_before
-- Find an organization's ready tasks that were accepted before :before, with their keys.
SELECT task_id, task_type, rank, seq,
       (SELECT idempotency_key FROM task AS t WHERE t.organization_id = q.organization_id AND t.id = q.task_id)
       AS idempotency_key
FROM queue_entry AS q
WHERE organization_id = :organization_id
  AND seq < :before
ORDER BY task_type, rank, seq
LIMIT :most;

-- name: find_waiting_before
-- Find an organization's waiting tasks that were accepted before :before, with their keys.
SELECT task_id, task_type, rank, seq,
       (SELECT idempotency_key FROM task AS t WHERE t.organization_id = w.organization_id AND t.id = w.task_id)
       AS idempotency_key
FROM waiting AS w
WHERE organization_id = :organization_id
  AND seq < :before
ORDER BY seq
LIMIT :most;

-- name: find_next_due
-- Find the earliest time of a waiting task or paused call, by waiting_due and call_due; every time is after 0.
SELECT min(due_at) AS at
FROM (SELECT (SELECT due_at FROM waiting WHERE due_at > 0 ORDER BY due_at LIMIT 1) AS due_at
      UNION ALL
      SELECT (SELECT due_at FROM call WHERE due_at > 0 ORDER BY due_at LIMIT 1)) AS due;

-- name: find_task
-- Find one task by id, or else by idempotency key, with its state, result and delivery (by delivery_task).
SELECT t.id, t.task_type, t.priority, t.created_at, t.idempotency_key, t.cost,
       o.status AS ended, o.result, o.failure, o.charged,
       CASE WHEN o.finished_at < o.first_started_at THEN 0 ELSE o.finished_at - o.first_started_at END AS latency_ms,
       l.id IS NOT NULL AS leased, t.webhook_url,
       CASE WHEN t.webhook_url IS NOT NULL
            THEN (SELECT delivered_at FROM delivery WHERE task_id = t.id)
       END AS delivered_at,
       t.run_at, t.retry_of, coalesce(o.slot_wait_ms, l.slot_wait_ms) AS slot_wait_ms,
       coalesce(o.worker_wait_ms, l.worker_wait_ms) AS worker_wait_ms
FROM (SELECT organization_id, id, task_type, priority, created_at, idempotency_key, cost, webhook_url, run_at, retry_of
      FROM task
      WHERE organization_id = :organization_id
        AND id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                          (SELECT task_id FROM idempotency
                           WHERE organization_id = :organization_id AND key = :reference))
      LIMIT 1) AS t
LEFT JOIN outcome AS o ON o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id;

-- name: find_payload
-- Find the payload of one task by id, or else by idempotency key.
SELECT payload
FROM task
WHERE organization_id = :organization_id
  AND id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                    (SELECT task_id FROM idempotency
                     WHERE organization_id = :organization_id AND key = :reference));

-- name: find_listed [sqlite] packed
-- Find these (organization, task) as a list shows them: find_task's columns, without result, webhook and waits.
SELECT json_group_array(json_array(
         t.id, t.task_type, t.priority, t.created_at, t.idempotency_key, t.cost, o.status, NULL, o.failure,
         o.charged, max(0, o.finished_at - o.first_started_at), l.id IS NOT NULL, NULL, NULL, t.run_at, t.retry_of,
         NULL, NULL))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1
LEFT JOIN outcome AS o ON o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id;

-- name: find_listed [postgres]
-- The same; the set is passed as arrays.
SELECT t.id, t.task_type, t.priority, t.created_at, t.idempotency_key, t.cost, o.status AS ended, NULL::text AS result,
       o.failure, o.charged,
       CASE WHEN o.finished_at < o.first_started_at THEN 0 ELSE o.finished_at - o.first_started_at END AS latency_ms,
       l.id IS NOT NULL AS leased, NULL::text AS webhook_url, NULL::bigint AS delivered_at, t.run_at, t.retry_of,
       NULL::bigint AS slot_wait_ms, NULL::bigint AS worker_wait_ms
FROM unnest(:tasks[bigint, text]) AS e (organization_id, id)
JOIN task AS t ON t.organization_id = e.organization_id AND t.id = e.id
LEFT JOIN outcome AS o ON o.task_id = t.id
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id;

-- name: find_newest_tasks
-- Find an organization's newest tasks below :before.
SELECT id
FROM task
WHERE organization_id = :organization_id
  AND id < :before
ORDER BY id DESC
LIMIT :most;

-- name: find_newest_leased
-- Find an organization's newest tasks that hold a lease, below :before.
SELECT task_id
FROM lease
WHERE organization_id = :organization_id
  AND kind = 0
  AND task_id < :before
ORDER BY task_id DESC
LIMIT :most;

-- name: find_newest_ended [sqlite]
-- Find an organization's newest tasks with this outcome, below :before, by outcome_listed.
SELECT task_id
FROM outcome
WHERE organization_id = :organization_id
  AND status = :status
  AND task_id < :before
ORDER BY task_id DESC
LIMIT :most;

-- name: find_newest_ended [postgres]
-- The same; span and order name the organization for the reason given at find_deliveries.
SELECT task_id
FROM outcome
WHERE (organization_id, status, task_id) >= (:organization_id, :status, '')
  AND (organization_id, status, task_id) < (:organization_id, :status, :before)
ORDER BY organization_id DESC, status DESC, task_id DESC
LIMIT :most;

-- name: find_going_on [sqlite] packed
-- Find which of these tasks exist and have not ended.
SELECT json_group_array(json_array(t.id))
FROM json_each(:tasks) AS e
CROSS JOIN task AS t
WHERE t.organization_id = e.value ->> 0
  AND t.id = e.value ->> 1
  AND (SELECT o.status FROM outcome AS o WHERE o.task_id = t.id) IS NULL;

-- name: find_going_on [postgres]
-- The same; the set is passed as arrays.
SELECT t.id
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
JOIN task AS t ON t.organization_id = e.organization_id AND t.id = e.task_id
WHERE (SELECT o.status FROM outcome AS o WHERE o.task_id = t.id) IS NULL;

-- name: find_newest_ready [sqlite] packed
-- Find the newest :most tasks of each lane of an organization, or of those of a type or rank, that were accepted before
-- :before.
SELECT json_group_array(json_array(json((
         SELECT json_group_array(json_array(seq, task_id))
         FROM (SELECT seq, task_id
               FROM queue_entry
               WHERE organization_id = l.organization_id
                 AND task_type = l.task_type
                 AND rank = l.rank
                 AND seq < :before
               ORDER BY seq DESC
               LIMIT :most)))))
FROM lane AS l
WHERE l.organization_id = :organization_id
  AND l.ready > 0
  AND (CAST(:task_type AS TEXT) IS NULL OR l.task_type = :task_type)
  AND (CAST(:rank AS BIGINT) IS NULL OR l.rank = :rank);

-- name: find_newest_ready [postgres] packed
-- The same, with LATERAL.
SELECT coalesce(json_agg(json_build_array(q.newest)), '[]')
FROM lane AS l
CROSS JOIN LATERAL (SELECT coalesce(json_agg(json_build_array(seq, task_id)), '[]') AS newest
                    FROM (SELECT seq, task_id
                          FROM queue_entry
                          WHERE organization_id = l.organization_id
                            AND task_type = l.task_type
                            AND rank = l.rank
                            AND seq < :before
                          ORDER BY seq DESC
                          LIMIT :most) AS entries) AS q
WHERE l.organization_id = :organization_id
  AND l.ready > 0
  AND (CAST(:task_type AS TEXT) IS NULL OR l.task_type = :task_type)
  AND (CAST(:rank AS BIGINT) IS NULL OR l.rank = :rank);

-- name: find_newest_waiting
-- Find an organization's newest waiting tasks that were accepted before :before.
SELECT seq, task_id, task_type, rank
FROM waiting
WHERE organization_id = :organization_id
  AND seq < :before
ORDER BY seq DESC
LIMIT :most;

-- name: find_place
-- Find one task by id, or else by idempotency key, with the state in its queue entry, pause, lease or outcome.
SELECT t.id, t.task_type, t.priority, t.seq, CASE WHEN t.webhook_url IS NULL THEN 0 ELSE 1 END AS webhook,
       q.attempt AS ready_attempt, w.attempt AS waiting_attempt, l.session_id,
       coalesce(q.first_started_at, w.first_started_at, l.first_started_at) AS first_started_at,
       l.deadline_at, l.canceled_at, o.status AS ended, o.failure
FROM (SELECT organization_id, id, task_type, priority, seq, webhook_url
      FROM task
      WHERE organization_id = :organization_id
        AND id = coalesce((SELECT id FROM task WHERE id = :reference AND organization_id = :organization_id),
                          (SELECT task_id FROM idempotency
                           WHERE organization_id = :organization_id AND key = :reference))
      LIMIT 1) AS t
LEFT JOIN queue_entry AS q
       ON q.organization_id = t.organization_id
      AND q.task_type = t.task_type
      AND q.rank = 10 - t.priority
      AND q.seq = t.seq
LEFT JOIN waiting AS w ON w.organization_id = t.organization_id AND w.seq = t.seq
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN outcome AS o ON o.task_id = t.id;

-- name: find_places [sqlite]
-- Find these (organization, task) as find_place does, in any order.
SELECT t.id, t.task_type, t.priority, t.seq, CASE WHEN t.webhook_url IS NULL THEN 0 ELSE 1 END AS webhook,
       q.attempt AS ready_attempt, w.attempt AS waiting_attempt, l.session_id,
       coalesce(q.first_started_at, w.first_started_at, l.first_started_at) AS first_started_at,
       l.deadline_at, l.canceled_at, o.status AS ended, o.failure
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1
LEFT JOIN queue_entry AS q
       ON q.organization_id = t.organization_id
      AND q.task_type = t.task_type
      AND q.rank = 10 - t.priority
      AND q.seq = t.seq
LEFT JOIN waiting AS w ON w.organization_id = t.organization_id AND w.seq = t.seq
LEFT JOIN lease AS l ON l.organization_id = t.organization_id AND l.task_id = t.id
LEFT JOIN outcome AS o ON o.task_id = t.id;

-- name: find_places [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT t.id, t.task_type, t.priority, t.seq, CASE WHEN t.webhook_url IS NULL THEN 0 ELSE 1 END AS webhook,
       q.attempt AS ready_attempt, w.attempt AS waiting_attempt, l.session_id,
       coalesce(q.first_started_at, w.first_started_at, l.first_started_at) AS first_started_at,
       l.deadline_at, l.canceled_at, o.status AS ended, o.failure
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
CROSS JOIN LATERAL (SELECT id, task_type, priority, seq, webhook_url
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.task_id
                    LIMIT 1) AS t
LEFT JOIN LATERAL (SELECT attempt, first_started_at
                   FROM queue_entry
                   WHERE organization_id = e.organization_id
                     AND task_type = t.task_type
                     AND rank = 10 - t.priority
                     AND seq = t.seq
                   LIMIT 1) AS q ON true
LEFT JOIN LATERAL (SELECT attempt, first_started_at
                   FROM waiting
                   WHERE organization_id = e.organization_id
                     AND seq = t.seq
                   LIMIT 1) AS w ON true
LEFT JOIN LATERAL (SELECT session_id, first_started_at, deadline_at, canceled_at
                   FROM lease
                   WHERE organization_id = e.organization_id
                     AND task_id = e.task_id
                   LIMIT 1) AS l ON true
LEFT JOIN LATERAL (SELECT status, failure
                   FROM outcome
                   WHERE task_id = e.task_id
                   LIMIT 1) AS o ON true;

-- name: find_status [sqlite]
-- Find an organization's queue and slots in one statement, so one snapshot. Lanes come as "rank:count,rank:count":
-- joining them as rows, or as JSON, takes four times as long.
SELECT o.queued, o.processing, o.calls, o.slots_max,
       o.maintenance OR o.drifted OR (SELECT maintenance FROM installation WHERE id = 1) AS doubted,
       (SELECT group_concat(rank || ':' || (ready + waiting))
        FROM lane
        WHERE organization_id = o.id
          AND ready + waiting > 0) AS levels, o.id
FROM organization AS o
WHERE o.id = :id;

-- name: find_status [postgres]
-- The same, with string_agg.
SELECT o.queued, o.processing, o.calls, o.slots_max,
       o.maintenance + o.drifted + (SELECT maintenance FROM installation WHERE id = 1) > 0 AS doubted,
       (SELECT string_agg(rank || ':' || (ready + waiting), ',')
        FROM lane
        WHERE organization_id = o.id
          AND ready + waiting > 0) AS levels, o.id
FROM organization AS o
WHERE o.id = :id;

-- name: find_statuses [postgres]
-- The same for several organizations.
SELECT o.queued, o.processing, o.calls, o.slots_max,
       o.maintenance + o.drifted + (SELECT maintenance FROM installation WHERE id = 1) > 0 AS doubted,
       (SELECT string_agg(rank || ':' || (ready + waiting), ',')
        FROM lane
        WHERE organization_id = o.id
          AND ready + waiting > 0) AS levels, o.id
FROM organization AS o
WHERE o.id = ANY (:ids[bigint]);

-- name: count_leases
-- Count an organization's leases of tasks.
SELECT count(*)
FROM lease
WHERE organization_id = :organization_id
  AND kind = 0;

-- name: find_expired [sqlite] packed
-- Find tasks that ended before :before and have no moment of their own, by outcome_finished, without those
-- whose delivery is still due (by delivery_task).
SELECT json_group_array(json_array(o.organization_id, o.task_id, t.idempotency_key))
FROM (SELECT organization_id, task_id
      FROM outcome AS f
      WHERE expires_at IS NULL
        AND finished_at <= :before
        AND (SELECT d.due_at FROM delivery AS d WHERE d.task_id = f.task_id) IS NULL
      ORDER BY finished_at
      LIMIT :most) AS o
JOIN task AS t ON t.organization_id = o.organization_id AND t.id = o.task_id;

-- name: find_expired [postgres]
-- The same, skipping rows that another purging server holds.
SELECT o.organization_id, o.task_id, t.idempotency_key
FROM (SELECT organization_id, task_id
      FROM outcome AS f
      WHERE expires_at IS NULL
        AND finished_at <= :before
        AND (SELECT d.due_at FROM delivery AS d WHERE d.task_id = f.task_id) IS NULL
      ORDER BY finished_at
      LIMIT :most
      FOR UPDATE SKIP LOCKED) AS o
JOIN task AS t ON t.organization_id = o.organization_id AND t.id = o.task_id;

-- name: find_outlived [sqlite] packed
-- Find tasks whose own moment has come, by outcome_expires, without those whose delivery is still due (by
-- delivery_task).
SELECT json_group_array(json_array(o.organization_id, o.task_id, t.idempotency_key))
FROM (SELECT organization_id, task_id
      FROM outcome AS f
      WHERE expires_at >= 0
        AND expires_at <= :now
        AND (SELECT d.due_at FROM delivery AS d WHERE d.task_id = f.task_id) IS NULL
      ORDER BY expires_at
      LIMIT :most) AS o
JOIN task AS t ON t.organization_id = o.organization_id AND t.id = o.task_id;

-- name: find_outlived [postgres]
-- The same, skipping rows that another purging server holds.
SELECT o.organization_id, o.task_id, t.idempotency_key
FROM (SELECT organization_id, task_id
      FROM outcome AS f
      WHERE expires_at >= 0
        AND expires_at <= :now
        AND (SELECT d.due_at FROM delivery AS d WHERE d.task_id = f.task_id) IS NULL
      ORDER BY expires_at
      LIMIT :most
      FOR UPDATE SKIP LOCKED) AS o
JOIN task AS t ON t.organization_id = o.organization_id AND t.id = o.task_id;

-- name: delete_tasks [sqlite]
-- Delete these tasks.
DELETE FROM task
WHERE (organization_id, id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:tasks));

-- name: delete_tasks [postgres]
-- The same; the set is passed as arrays.
DELETE FROM task AS t
USING unnest(:tasks[bigint, text]) AS e (organization_id, id)
WHERE t.organization_id = e.organization_id
  AND t.id = e.id;

-- name: delete_outcomes [sqlite]
-- Delete the outcomes of these tasks.
DELETE FROM outcome
WHERE task_id IN (SELECT value ->> 1 FROM json_each(:tasks));

-- name: delete_outcomes [postgres]
-- The same; the set is passed as arrays.
DELETE FROM outcome AS o
USING unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
WHERE o.task_id = e.task_id;

-- name: delete_idempotency [sqlite]
-- Delete these idempotency keys.
DELETE FROM idempotency
WHERE (organization_id, key) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:keys));

-- name: delete_idempotency [postgres]
-- The same; the set is passed as arrays.
DELETE FROM idempotency AS i
USING unnest(:keys[bigint, text]) AS e (organization_id, key)
WHERE i.organization_id = e.organization_id
  AND i.key = e.key;
