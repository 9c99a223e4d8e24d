-- Deliveries: messages owed to webhooks, and the result of each try.

-- name: insert_deliveries [sqlite]
-- Insert a delivery for each of these tasks that has a webhook, due now.
INSERT INTO delivery (id, organization_id, task_id, url, host, due_at, created_at)
SELECT e.value ->> 0, t.organization_id, t.id, t.webhook_url, t.webhook_host, :now, :now
FROM json_each(:tasks) AS e
CROSS JOIN task AS t
WHERE t.organization_id = e.value ->> 1
  AND t.id = e.value ->> 2
  AND t.webhook_url IS NOT NULL;

-- name: insert_deliveries [postgres]
-- The same; the set is passed as arrays.
INSERT INTO delivery (id, organization_id, task_id, url, host, due_at, created_at)
SELECT e.id, t.organization_id, t.id, t.webhook_url, t.webhook_host, :now, :now
FROM unnest(:tasks[text, bigint, text]) AS e (id, organization_id, task_id)
JOIN task AS t ON t.organization_id = e.organization_id AND t.id = e.task_id
WHERE t.webhook_url IS NOT NULL;

-- name: insert_test_delivery
-- Insert the delivery of a test event, due now.
INSERT INTO delivery (id, organization_id, url, host, body, due_at, created_at)
VALUES (:id, :organization_id, :url, :host, :body, :now, :now);

-- name: count_open_tests [sqlite]
-- Count an organization's test events that wait to be sent, by delivery_open_test. Named, because two other indexes of
-- open deliveries would serve as well, but also contain deliveries of tasks.
SELECT count(*)
FROM delivery INDEXED BY delivery_open_test
WHERE organization_id = :organization_id
  AND due_at IS NOT NULL
  AND task_id IS NULL
  AND alert_id IS NULL;

-- name: count_open_tests [postgres]
-- The same; PostgreSQL takes no index by name.
SELECT count(*)
FROM delivery
WHERE organization_id = :organization_id
  AND due_at IS NOT NULL
  AND task_id IS NULL
  AND alert_id IS NULL;

-- name: find_next_delivery
-- Find the first due moment after :after, by delivery_due.
SELECT (SELECT due_at FROM delivery WHERE due_at > :after ORDER BY due_at LIMIT 1) AS at;

-- name: find_due_organizations [sqlite] packed
-- Find the first :most organizations after this one that have open deliveries, each with its earliest moment. Steps
-- from one to the next by delivery_turn, so that the number of their deliveries does not matter.
WITH RECURSIVE walk (row, place) AS (
  SELECT (SELECT rowid
          FROM delivery
          WHERE due_at IS NOT NULL
            AND organization_id > :after
          ORDER BY organization_id, due_at
          LIMIT 1),
         1
  UNION ALL
  SELECT (SELECT rowid
          FROM delivery
          WHERE due_at IS NOT NULL
            AND organization_id > d.organization_id
          ORDER BY organization_id, due_at
          LIMIT 1),
         w.place + 1
  FROM walk AS w
  CROSS JOIN delivery AS d
  WHERE d.rowid = w.row
    AND w.place < :most
)
SELECT json_group_array(json_array(d.organization_id, d.due_at))
FROM walk AS w
CROSS JOIN delivery AS d
WHERE d.rowid = w.row;

-- name: find_due_organizations [postgres]
-- The same, with LATERAL in place of row ids.
WITH RECURSIVE walk (organization_id, due_at, place) AS (
  (SELECT organization_id, due_at, 1
   FROM delivery
   WHERE due_at IS NOT NULL
     AND organization_id > :after
   ORDER BY organization_id, due_at
   LIMIT 1)
  UNION ALL
  SELECT n.organization_id, n.due_at, w.place + 1
  FROM walk AS w
  CROSS JOIN LATERAL (SELECT organization_id, due_at
                      FROM delivery
                      WHERE due_at IS NOT NULL
                        AND organization_id > w.organization_id
                      ORDER BY organization_id, due_at
                      LIMIT 1) AS n
  WHERE w.place < :most
)
SELECT organization_id, due_at
FROM walk
ORDER BY organization_id;

-- name: find_due_deliveries [sqlite] packed
-- For each (organization, host) of :organizations find the next :hosts hosts of that organization with open deliveries,
-- and the first :most due deliveries of each with the sizes of their bodies. Steps from host to host by delivery_open.
WITH RECURSIVE walk (organization_id, host, place) AS (
  SELECT value ->> 0, value ->> 1, 0
  FROM json_each(:organizations)
  UNION ALL
  SELECT w.organization_id,
         (SELECT d.host
          FROM delivery AS d
          WHERE d.due_at IS NOT NULL
            AND d.organization_id = w.organization_id
            AND d.host > w.host
          ORDER BY d.host
          LIMIT 1),
         w.place + 1
  FROM walk AS w
  WHERE w.host IS NOT NULL
    AND w.place < :hosts
)
SELECT json_group_array(json_array(w.organization_id, w.host, w.place, json((
         SELECT json_group_array(json_array(
                  l.id, l.tries, l.due_at,
                  coalesce(l.body_size, (SELECT octet_length(o.result)
                                         FROM outcome AS o
                                         WHERE o.task_id = l.task_id), 0)))
         FROM (SELECT d.id, d.tries, d.due_at, d.task_id, octet_length(d.body) AS body_size
               FROM delivery AS d
               WHERE d.due_at <= :now
                 AND d.organization_id = w.organization_id
                 AND d.host = w.host
               ORDER BY d.due_at, d.id
               LIMIT :most) AS l))))
FROM walk AS w
WHERE w.place > 0
  AND w.host IS NOT NULL;

-- name: find_due_deliveries [postgres] packed
-- The same; the set is passed as arrays.
WITH RECURSIVE walk (organization_id, host, place) AS (
  SELECT e.organization_id, e.host COLLATE "C", 0
  FROM unnest(:organizations[bigint, text]) AS e (organization_id, host)
  UNION ALL
  SELECT w.organization_id, n.host, w.place + 1
  FROM walk AS w
  CROSS JOIN LATERAL (SELECT d.host
                      FROM delivery AS d
                      WHERE d.due_at IS NOT NULL
                        AND d.organization_id = w.organization_id
                        AND d.host > w.host
                      ORDER BY d.host
                      LIMIT 1) AS n
  WHERE w.place < :hosts
)
SELECT coalesce(json_agg(json_build_array(w.organization_id, w.host, w.place, l.due)), '[]')
FROM walk AS w
CROSS JOIN LATERAL (SELECT coalesce(json_agg(json_build_array(
                             l.id, l.tries, l.due_at,
                             coalesce(l.body_size, (SELECT octet_length(o.result)
                                                    FROM outcome AS o
                                                    WHERE o.task_id = l.task_id), 0))), '[]') AS due
                    FROM (SELECT d.id, d.tries, d.due_at, d.task_id, octet_length(d.body) AS body_size
                          FROM delivery AS d
                          WHERE d.due_at <= :now
                            AND d.organization_id = w.organization_id
                            AND d.host = w.host
                          ORDER BY d.due_at, d.id
                          LIMIT :most) AS l) AS l
WHERE w.place > 0;

-- name: lock_deliveries [sqlite]
-- Find those of these deliveries that are still due.
SELECT id, organization_id, task_id, url, host, body, tries, claimed_until
FROM delivery
WHERE id IN (SELECT value FROM json_each(:ids))
  AND due_at <= :now;

-- name: lock_deliveries [postgres]
-- The same, locked; rows that another server holds are skipped.
SELECT id, organization_id, task_id, url, host, body, tries, claimed_until
FROM delivery
WHERE id = ANY (:ids[text])
  AND due_at <= :now
ORDER BY id
FOR UPDATE SKIP LOCKED;

-- name: claim_deliveries [sqlite]
-- Count a try of these deliveries and set the end of its claim.
UPDATE delivery
SET tries = tries + 1, claimed_until = :until, due_at = :until
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: claim_deliveries [postgres]
-- The same; the set is passed as arrays.
UPDATE delivery
SET tries = tries + 1, claimed_until = :until, due_at = :until
WHERE id = ANY (:ids[text]);

-- name: find_deliveries_to_record [sqlite] packed
-- Find what recording a try needs of these deliveries.
SELECT json_group_array(json_array(d.id, d.task_id, d.alert_id, d.tries, d.due_at, d.claimed_until, d.delivered_at,
                                   d.organization_id, d.host))
FROM json_each(:ids) AS e
CROSS JOIN delivery AS d
WHERE d.id = e.value;

-- name: find_deliveries_to_record [postgres]
-- The same, locked in id order, so that two servers that record the same deliveries do so one after the other.
SELECT id, task_id, alert_id, tries, due_at, claimed_until, delivered_at, organization_id, host
FROM delivery
WHERE id = ANY (:ids[text])
ORDER BY id
FOR UPDATE;

-- name: update_deliveries [sqlite]
-- Write the state of these deliveries after a try.
UPDATE delivery
SET due_at = e.value ->> 1, claimed_until = e.value ->> 2, delivered_at = e.value ->> 3
FROM json_each(:deliveries) AS e
WHERE delivery.id = e.value ->> 0;

-- name: update_deliveries [postgres]
-- The same; the set is passed as arrays.
UPDATE delivery AS d
SET due_at = e.due_at, claimed_until = e.claimed_until, delivered_at = e.delivered_at
FROM unnest(:deliveries[text, bigint, bigint, bigint]) AS e (id, due_at, claimed_until, delivered_at)
WHERE d.id = e.id;

-- name: upsert_tries [sqlite]
-- Write the results of tries; a try that was recorded as interrupted may still get its result.
INSERT INTO delivery_try (delivery_id, number, at, http_status, error, took_ms, cause, answer, asked_ms)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7, value ->> 8
FROM json_each(:tries)
WHERE true
ON CONFLICT (delivery_id, number) DO UPDATE
SET at = excluded.at, http_status = excluded.http_status, error = excluded.error, took_ms = excluded.took_ms,
    cause = excluded.cause, answer = excluded.answer, asked_ms = excluded.asked_ms;

-- name: upsert_tries [postgres]
-- The same; if a try occurs twice in one transaction, its last result counts.
INSERT INTO delivery_try (delivery_id, number, at, http_status, error, took_ms, cause, answer, asked_ms)
SELECT DISTINCT ON (delivery_id, number)
       delivery_id, number, at, http_status, error, took_ms, cause, answer, asked_ms
FROM unnest(:tries[text, bigint, bigint, bigint, text, bigint, text, text, bigint])
     WITH ORDINALITY AS e (delivery_id, number, at, http_status, error, took_ms, cause, answer, asked_ms, place)
ORDER BY delivery_id, number, place DESC
ON CONFLICT (delivery_id, number) DO UPDATE
SET at = excluded.at, http_status = excluded.http_status, error = excluded.error, took_ms = excluded.took_ms,
    cause = excluded.cause, answer = excluded.answer, asked_ms = excluded.asked_ms;

-- name: find_deliveries [sqlite]
-- Find an organization's deliveries, newest first, below :before, by delivery_organization.
SELECT id, task_id, url, host, tries, due_at, claimed_until, delivered_at, created_at, alert_id
FROM delivery
WHERE organization_id = :organization_id
  AND id < :before
ORDER BY id DESC
LIMIT :most;

-- name: find_deliveries [postgres]
-- The same. Span and order name the organization: otherwise PostgreSQL takes the index of all ids and reads the rows of
-- all organizations.
SELECT id, task_id, url, host, tries, due_at, claimed_until, delivered_at, created_at, alert_id
FROM delivery
WHERE (organization_id, id) >= (:organization_id, '')
  AND (organization_id, id) < (:organization_id, :before)
ORDER BY organization_id DESC, id DESC
LIMIT :most;

-- name: find_delivery_of_task
-- Find the delivery of a task of an organization, by delivery_task.
SELECT id, task_id, url, host, tries, due_at, claimed_until, delivered_at, created_at, alert_id
FROM delivery
WHERE task_id = :task_id
  AND organization_id = :organization_id;

-- name: find_delivery
-- Find one delivery of an organization.
SELECT id, task_id, url, host, tries, due_at, claimed_until, delivered_at, created_at, alert_id
FROM delivery
WHERE id = :id
  AND organization_id = :organization_id;

-- name: find_tries [sqlite]
-- Find the tries of these deliveries.
SELECT t.delivery_id, t.number, t.at, t.http_status, t.error, t.took_ms, t.answer, t.asked_ms
FROM json_each(:ids) AS e
CROSS JOIN delivery_try AS t
WHERE t.delivery_id = e.value
ORDER BY t.delivery_id, t.number;

-- name: find_tries [postgres]
-- The same; the set is passed as arrays.
SELECT delivery_id, number, at, http_status, error, took_ms, answer, asked_ms
FROM delivery_try
WHERE delivery_id = ANY (:ids[text])
ORDER BY delivery_id, number;

-- name: redeliver
-- Make a delivery due now, unless a try is running.
UPDATE delivery
SET due_at = :now
WHERE id = :id
  AND organization_id = :organization_id
  AND claimed_until IS NULL;

-- name: find_old_tests
-- Find old test events that are over, by delivery_test.
SELECT id
FROM delivery
WHERE task_id IS NULL
  AND created_at <= :before
  AND due_at IS NULL
ORDER BY created_at
LIMIT :most;

-- name: find_deliveries_of [sqlite]
-- Find the deliveries of these tasks, by delivery_task.
SELECT d.id
FROM json_each(:tasks) AS e
CROSS JOIN delivery AS d
WHERE d.task_id = e.value ->> 1;

-- name: find_deliveries_of [postgres]
-- The same; the set is passed as arrays.
SELECT d.id
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
JOIN delivery AS d ON d.task_id = e.task_id;

-- name: delete_tries [sqlite]
-- Delete the tries of these deliveries.
DELETE FROM delivery_try
WHERE delivery_id IN (SELECT value FROM json_each(:ids));

-- name: delete_tries [postgres]
-- The same; the set is passed as arrays.
DELETE FROM delivery_try
WHERE delivery_id = ANY (:ids[text]);

-- name: delete_deliveries [sqlite]
-- Delete these deliveries.
DELETE FROM delivery
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delete_deliveries [postgres]
-- The same; the set is passed as arrays.
DELETE FROM delivery
WHERE id = ANY (:ids[text]);

-- name: move_deliveries
-- Move the times of all open deliveries after a jump of the clock, but not of those that were created after it and not
-- tried; reads index delivery_due.
UPDATE delivery
SET due_at = due_at + :moved_ms,
    claimed_until = claimed_until + :moved_ms
WHERE due_at IS NOT NULL
  AND NOT (tries = 0 AND created_at >= :since AND created_at <= :now);
