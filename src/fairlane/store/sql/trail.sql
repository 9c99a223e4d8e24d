-- The operators' audit trail.

-- name: insert_audit
-- Insert an audit row.
INSERT INTO audit (id, at, actor, action, subject, details)
VALUES (:id, :now, :actor, :action, :subject, :details);

-- name: find_audit
-- Find matches among the newest :looked changes below :before; each of the three filters is a value, or null for any.
SELECT id, at, actor, action, subject, details
FROM (SELECT id, at, actor, action, subject, details
      FROM audit
      WHERE id < :before
      ORDER BY id DESC
      LIMIT :looked) AS newest
WHERE (CAST(:subject AS TEXT) IS NULL OR subject = :subject)
  AND (CAST(:action AS TEXT) IS NULL OR action = :action)
  AND (CAST(:actor AS TEXT) IS NULL OR actor = :actor)
ORDER BY id DESC
LIMIT :most;

-- name: find_audit_behind
-- Find the change that is :skipped changes behind the next one.
SELECT id
FROM audit
WHERE id < :before
ORDER BY id DESC
LIMIT 1 OFFSET :skipped;
