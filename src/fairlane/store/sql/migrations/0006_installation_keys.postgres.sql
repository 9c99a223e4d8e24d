-- Keys of workers and operators, erasing organizations, sums at the turn of each month.

-- Lets workers or operators in over TCP; belongs to no organization.
CREATE TABLE installation_key (
  id         TEXT COLLATE "C" PRIMARY KEY,
  kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('worker', 'admin')),
  name       TEXT COLLATE "C" NOT NULL,
  digest     TEXT COLLATE "C" NOT NULL UNIQUE,
  last4      TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  revoked_at BIGINT
);

-- The worker key that a session was opened with; null: through the server's own socket.
ALTER TABLE session ADD COLUMN key_id TEXT COLLATE "C";
CREATE INDEX session_key ON session (key_id) WHERE key_id IS NOT NULL;

-- 1: everything it owns is being deleted, the row itself last.
ALTER TABLE organization ADD COLUMN erasing BIGINT NOT NULL DEFAULT 0;
CREATE INDEX organization_erasing ON organization (id) WHERE erasing = 1;

-- Ids of organizations are never given twice: what once belonged to an erased one must not meet its successor.
ALTER TABLE installation ADD COLUMN last_organization_id BIGINT NOT NULL DEFAULT 0;
UPDATE installation SET last_organization_id = coalesce((SELECT max(id) FROM organization), 0);

CREATE INDEX audit_subject ON audit (subject, id);

-- An organization's running sums as they stood when a month turned, and when that was noticed.
CREATE TABLE usage_month (
  organization_id BIGINT NOT NULL,
  month           TEXT COLLATE "C" NOT NULL,
  opened_at       BIGINT NOT NULL,
  submitted       BIGINT NOT NULL,
  completed       BIGINT NOT NULL,
  failed          BIGINT NOT NULL,
  charged         BIGINT NOT NULL,
  slot_ms         BIGINT NOT NULL,
  PRIMARY KEY (organization_id, month)
);
