-- Bulks: begin them, read them, work them off in steps, stop them.

-- name: insert_bulk
-- Insert a bulk that has done nothing yet.
INSERT INTO bulk
  (id, organization_id, kind, state, chosen, idempotency_key, actor, matched, done, skipped, began_at)
VALUES (:id, :organization_id, :kind, 'RUNNING', :chosen, :idempotency_key, :actor, 0, 0, '{}', :now);

-- name: insert_bulk_part
-- Insert what a bulk has to do in one organization.
INSERT INTO bulk_part (bulk_id, organization_id, before_seq)
VALUES (:bulk_id, :organization_id, :before_seq);

-- name: insert_bulk_parts_of_failed
-- Insert a part of a bulk for each organization that has failed tasks. The order of the looked-up row names the
-- organization for the reason given at find_deliveries.
INSERT INTO bulk_part (bulk_id, organization_id, before_seq)
SELECT CAST(:bulk_id AS TEXT), o.id, o.next_seq
FROM organization AS o
WHERE (SELECT f.status
       FROM outcome AS f
       WHERE f.organization_id = o.id
         AND f.status = 'FAILED'
       ORDER BY f.organization_id, f.status, f.task_id
       LIMIT 1) IS NOT NULL;

-- name: insert_bulk_parts_of_open
-- Insert a part of a bulk for each organization that has queued or running tasks.
INSERT INTO bulk_part (bulk_id, organization_id, before_seq)
SELECT CAST(:bulk_id AS TEXT), o.id, o.next_seq
FROM organization AS o
WHERE o.queued + o.processing > 0;

-- name: find_bulk
-- Find a bulk, with its organization and what holds one of its parts.
SELECT b.id, b.organization_id, (SELECT name FROM organization WHERE id = b.organization_id) AS organization, b.kind,
       b.state, b.chosen, b.idempotency_key, b.actor, b.matched, b.done, b.skipped, b.began_at, b.ended_at,
       (SELECT p.held_by
        FROM bulk_part AS p
        WHERE p.bulk_id = b.id
          AND p.held_by IS NOT NULL
        LIMIT 1) AS held_by
FROM bulk AS b
WHERE b.id = :id;

-- name: find_bulks [sqlite]
-- Find an organization's newest bulks below :before, by bulk_organization; :organization_id 0: those of all.
SELECT b.id, b.organization_id, (SELECT name FROM organization WHERE id = b.organization_id) AS organization, b.kind,
       b.state, b.chosen, b.idempotency_key, b.actor, b.matched, b.done, b.skipped, b.began_at, b.ended_at,
       (SELECT p.held_by
        FROM bulk_part AS p
        WHERE p.bulk_id = b.id
          AND p.held_by IS NOT NULL
        LIMIT 1) AS held_by
FROM bulk AS b
WHERE b.organization_id = :organization_id
  AND b.id < :before
ORDER BY b.id DESC
LIMIT :most;

-- name: find_bulks [postgres]
-- The same; span and order name the organization for the reason given at find_deliveries.
SELECT b.id, b.organization_id, (SELECT name FROM organization WHERE id = b.organization_id) AS organization, b.kind,
       b.state, b.chosen, b.idempotency_key, b.actor, b.matched, b.done, b.skipped, b.began_at, b.ended_at,
       (SELECT p.held_by
        FROM bulk_part AS p
        WHERE p.bulk_id = b.id
          AND p.held_by IS NOT NULL
        LIMIT 1) AS held_by
FROM bulk AS b
WHERE (b.organization_id, b.id) >= (:organization_id, '')
  AND (b.organization_id, b.id) < (:organization_id, :before)
ORDER BY b.organization_id DESC, b.id DESC
LIMIT :most;

-- name: find_all_bulks
-- Find the newest bulks below :before.
SELECT b.id, b.organization_id, (SELECT name FROM organization WHERE id = b.organization_id) AS organization, b.kind,
       b.state, b.chosen, b.idempotency_key, b.actor, b.matched, b.done, b.skipped, b.began_at, b.ended_at,
       (SELECT p.held_by
        FROM bulk_part AS p
        WHERE p.bulk_id = b.id
          AND p.held_by IS NOT NULL
        LIMIT 1) AS held_by
FROM bulk AS b
WHERE b.id < :before
ORDER BY b.id DESC
LIMIT :most;

-- name: find_bulk_of_key
-- Find an organization's bulk with this idempotency key, by bulk_key.
SELECT id
FROM bulk
WHERE idempotency_key = :idempotency_key
  AND organization_id = :organization_id
LIMIT 1;

-- name: find_bulks_of_organization
-- Find an organization's running bulks, by bulk_state; the span names the state for the reason given at
-- find_deliveries.
SELECT id, kind, chosen, actor
FROM bulk
WHERE (state, organization_id, id) >= ('RUNNING', :organization_id, '')
  AND (state, organization_id, id) < ('RUNNING', :organization_id, 'g')
ORDER BY state, organization_id, id
LIMIT :most;

-- name: find_running_bulks
-- Find the running bulks of all organizations, by bulk_state; the span names the state for the reason given at
-- find_deliveries.
SELECT id, kind
FROM bulk
WHERE (state, organization_id, id) >= ('RUNNING', 0, '')
  AND (state, organization_id, id) < ('RUNNINH', 0, '')
ORDER BY state, organization_id, id
LIMIT :most;

-- name: find_bulk_part
-- Find a bulk's first part behind an organization, with what the bulk does.
SELECT p.bulk_id, p.organization_id, p.before_seq, p.place, p.held_by,
       (SELECT kind FROM bulk WHERE id = p.bulk_id) AS kind, (SELECT chosen FROM bulk WHERE id = p.bulk_id) AS chosen,
       (SELECT o.queue_limit FROM organization AS o WHERE o.id = p.organization_id) AS queue_limit,
       (SELECT o.queued FROM organization AS o WHERE o.id = p.organization_id) AS queued
FROM bulk_part AS p
WHERE p.bulk_id = :bulk_id
  AND p.organization_id > :after
ORDER BY p.bulk_id, p.organization_id
LIMIT 1;

-- name: find_again [sqlite]
-- Find what these (organization, task) need to run again, but for their payloads, in any order.
SELECT t.id, t.webhook_url, t.webhook_host, octet_length(t.payload) AS size
FROM json_each(:tasks) AS e
CROSS JOIN task AS t ON t.organization_id = e.value ->> 0 AND t.id = e.value ->> 1;

-- name: find_again [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT t.id, t.webhook_url, t.webhook_host, t.size
FROM unnest(:tasks[bigint, text]) AS e (organization_id, task_id)
CROSS JOIN LATERAL (SELECT id, webhook_url, webhook_host, octet_length(payload) AS size
                    FROM task
                    WHERE organization_id = e.organization_id
                      AND id = e.task_id
                    LIMIT 1) AS t;

-- name: find_retried [sqlite] packed
-- Find which of these tasks were run again, by task_retry.
SELECT json_group_array(json_array(e.value))
FROM json_each(:ids) AS e
WHERE (SELECT t.retry_of FROM task AS t WHERE t.retry_of = e.value LIMIT 1) IS NOT NULL;

-- name: find_retried [postgres]
-- The same; the set is passed as an array.
SELECT e.id
FROM unnest(:ids[text]) AS e (id)
WHERE (SELECT t.retry_of FROM task AS t WHERE t.retry_of = e.id ORDER BY t.retry_of LIMIT 1) IS NOT NULL;

-- name: lock_bulk [sqlite]
-- Read a bulk that this transaction changes, if it still runs. SQLite has one writer, so reading is locking.
SELECT id, matched, done, skipped
FROM bulk
WHERE id = :id
  AND state = 'RUNNING';

-- name: lock_bulk [postgres]
-- The same, and lock it: after its organization, and before its parts.
SELECT id, matched, done, skipped
FROM bulk
WHERE id = :id
  AND state = 'RUNNING'
FOR UPDATE;

-- name: find_bulk_place
-- Find where a bulk is in one organization.
SELECT place, held_by
FROM bulk_part
WHERE bulk_id = :bulk_id
  AND organization_id = :organization_id;

-- name: update_bulk
-- Write how far a bulk is.
UPDATE bulk
SET matched = :matched,
    done = :done,
    skipped = :skipped
WHERE id = :id;

-- name: update_bulk_part
-- Write where a bulk is in one organization.
UPDATE bulk_part
SET place = :place,
    held_by = :held_by
WHERE bulk_id = :bulk_id
  AND organization_id = :organization_id;

-- name: delete_bulk_part
-- Delete what a bulk had to do in one organization.
DELETE FROM bulk_part
WHERE bulk_id = :bulk_id
  AND organization_id = :organization_id;

-- name: delete_bulk_parts
-- Delete what a bulk still had to do.
DELETE FROM bulk_part
WHERE bulk_id = :bulk_id;

-- name: end_bulk
-- End a bulk that runs and has no parts left, or, with :state STOPPED, that has been deprived of them.
UPDATE bulk
SET state = :state,
    ended_at = :now
WHERE id = :id
  AND state = 'RUNNING'
  AND (SELECT p.bulk_id FROM bulk_part AS p WHERE p.bulk_id = :id LIMIT 1) IS NULL;

-- name: delete_old_bulks
-- Delete bulks that ended before :before, by bulk_ended.
DELETE FROM bulk
WHERE id IN (SELECT id FROM bulk WHERE ended_at <= :before ORDER BY ended_at LIMIT :most)
RETURNING id;
