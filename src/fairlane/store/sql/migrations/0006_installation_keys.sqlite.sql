-- Keys of workers and operators, erasing organizations, sums at the turn of each month.

-- Lets workers or operators in over TCP; belongs to no organization.
CREATE TABLE installation_key (
  id         TEXT PRIMARY KEY,
  kind       TEXT NOT NULL CHECK (kind IN ('worker', 'admin')),
  name       TEXT NOT NULL,
  digest     TEXT NOT NULL UNIQUE,
  last4      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
);

-- The worker key that a session was opened with; null: through the server's own socket.
ALTER TABLE session ADD COLUMN key_id TEXT;
CREATE INDEX session_key ON session (key_id) WHERE key_id IS NOT NULL;

-- 1: everything it owns is being deleted, the row itself last.
ALTER TABLE organization ADD COLUMN erasing INTEGER NOT NULL DEFAULT 0;
CREATE INDEX organization_erasing ON organization (id) WHERE erasing = 1;

-- Ids of organizations are never given twice: what once belonged to an erased one must not meet its successor.
ALTER TABLE installation ADD COLUMN last_organization_id INTEGER NOT NULL DEFAULT 0;
UPDATE installation SET last_organization_id = coalesce((SELECT max(id) FROM organization), 0);

CREATE INDEX audit_subject ON audit (subject, id);

-- An organization's running sums as they stood when a month turned, and when that was noticed.
CREATE TABLE usage_month (
  organization_id INTEGER NOT NULL,
  month           TEXT NOT NULL,
  opened_at       INTEGER NOT NULL,
  submitted       INTEGER NOT NULL,
  completed       INTEGER NOT NULL,
  failed          INTEGER NOT NULL,
  charged         INTEGER NOT NULL,
  slot_ms         INTEGER NOT NULL,
  PRIMARY KEY (organization_id, month)
) WITHOUT ROWID;
