-- Sessions: live worker processes and servers.

-- name: insert_session
-- Insert a session.
INSERT INTO session (id, name, types, places, local, key_id, version, supervisor, reports, lease_ms, lease_until,
                     started_at)
VALUES (:id, :name, :types, :places, :local, :key_id, :version, :supervisor, :reports, :lease_ms,
        CAST(:now AS BIGINT) + :lease_ms, :now);

-- name: find_live_sessions [sqlite] packed
-- Find those of these sessions that are live.
SELECT json_group_array(json_array(id, types, key_id, draining))
FROM session
WHERE dead = 0
  AND id IN (SELECT value FROM json_each(:ids));

-- name: find_live_sessions [postgres]
-- The same, locked until the end, so that the same exchange through two servers is answered by one after the other.
SELECT id, types, key_id, draining
FROM session
WHERE dead = 0
  AND id = ANY (:ids[text])
ORDER BY id
FOR NO KEY UPDATE;

-- name: find_session_end
-- Read until when a session is renewed.
SELECT lease_until FROM session WHERE id = :id;

-- name: renew_session
-- Renew a live session, only for the key that opened it, or without a key if it was opened without one.
UPDATE session
SET lease_until = :now + lease_ms
WHERE id = :id
  AND dead = 0
  AND key_id IS NOT DISTINCT FROM CAST(:key_id AS TEXT)
RETURNING lease_ms, draining;

-- name: drain_session
-- Mark a live worker as draining.
UPDATE session
SET draining = 1
WHERE id = :id
  AND dead = 0
  AND types <> '[]'
RETURNING name;

-- name: find_session_leases [sqlite] packed
-- Find a session's leases, by lease_session.
SELECT json_group_array(json_array(id, exchange_id, started_at, canceled_at))
FROM lease
WHERE session_id = :id;

-- name: find_session_leases [postgres]
-- The same, not packed.
SELECT id, exchange_id, started_at, canceled_at
FROM lease
WHERE session_id = :id;

-- name: end_session
-- Mark a session dead, only for the key that opened it, or without a key if it was opened without one.
UPDATE session
SET dead = 1
WHERE id = :id
  AND key_id IS NOT DISTINCT FROM CAST(:key_id AS TEXT)
RETURNING id;

-- name: find_sessions
-- Find live workers by id, each with its number of leases, by lease_session. Servers, which have sessions for their
-- calls, serve no types.
SELECT s.id, s.name, s.types, s.places, s.local, s.key_id AS key, s.started_at, s.lease_until, s.draining,
       s.version,
       (SELECT count(*) FROM lease AS l WHERE l.session_id = s.id) AS leases
FROM session AS s
WHERE s.dead = 0
  AND s.types <> '[]'
  AND s.id > :after
ORDER BY s.id
LIMIT :most;

-- name: end_key_sessions
-- Mark the sessions of a key dead, by session_key.
UPDATE session
SET dead = 1
WHERE key_id = :key_id
  AND dead = 0;

-- name: end_local_sessions
-- Mark the sessions of local workers dead; reads the whole of session.
UPDATE session
SET dead = 1
WHERE local = 1
  AND dead = 0;

-- name: end_all_sessions
-- Mark all sessions dead.
UPDATE session
SET dead = 1
WHERE dead = 0;

-- name: end_expired_sessions [sqlite]
-- Mark expired sessions dead; reads the whole of session.
UPDATE session
SET dead = 1
WHERE dead = 0
  AND lease_until < :now
RETURNING id, name;

-- name: end_expired_sessions [postgres]
-- The same, skipping locked rows: a locked session is in use, and its transaction may want others of them.
UPDATE session
SET dead = 1
WHERE id IN (SELECT s.id
             FROM session AS s
             WHERE s.dead = 0
               AND s.lease_until < :now
             FOR NO KEY UPDATE SKIP LOCKED)
RETURNING id, name;

-- name: extend_sessions
-- Give every live session a full lease.
UPDATE session
SET lease_until = :now + lease_ms
WHERE dead = 0;

-- name: move_leases
-- Move the times of all leases after a jump of the clock; those that began after the jump are right already.
UPDATE lease
SET first_started_at = first_started_at + :moved_ms,
    started_at = started_at + :moved_ms,
    deadline_at = deadline_at + :moved_ms
WHERE NOT (started_at >= :since AND started_at <= :now);

-- name: move_pauses
-- Move the times of all pauses after a jump of the clock, but not those of delayed tasks; reads the whole of waiting.
UPDATE waiting
SET first_started_at = first_started_at + :moved_ms,
    due_at = due_at + :moved_ms
WHERE attempt > 0;

-- name: find_orphans [sqlite] packed
-- Find leases with a dead or missing session; reads the leases themselves, so that none is ever forgotten.
SELECT json_group_array(json_array(id, session_id))
FROM (SELECT l.id, l.session_id
      FROM lease AS l
      WHERE NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = l.session_id AND s.dead = 0)
      LIMIT :most);

-- name: find_orphans [postgres]
-- The same, not packed.
SELECT l.id, l.session_id
FROM lease AS l
WHERE NOT EXISTS (SELECT 1 FROM session AS s WHERE s.id = l.session_id AND s.dead = 0)
LIMIT :most;

-- name: find_overdue [sqlite] packed
-- Find leases past a deadline; reads the whole of lease.
SELECT json_group_array(json_array(id))
FROM (SELECT id
      FROM lease
      WHERE deadline_at < :before
      LIMIT :most);

-- name: find_overdue [postgres]
-- The same, not packed.
SELECT id
FROM lease
WHERE deadline_at < :before
LIMIT :most;

-- name: delete_dead_sessions [sqlite]
-- Delete dead sessions without leases, checked by lease_session.
DELETE FROM session
WHERE dead = 1
  AND NOT EXISTS (SELECT 1 FROM lease AS l WHERE l.session_id = session.id);

-- name: delete_dead_sessions [postgres]
-- The same, skipping locked rows, whose transaction may wait for an organization locked here; the next pass comes soon.
DELETE FROM session
WHERE id IN (SELECT s.id
             FROM session AS s
             WHERE s.dead = 1
               AND NOT EXISTS (SELECT 1 FROM lease AS l WHERE l.session_id = s.id)
             FOR UPDATE SKIP LOCKED);
