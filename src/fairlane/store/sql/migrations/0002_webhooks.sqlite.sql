-- Webhooks: where a task's outcome is to be told, what is owed, what was tried, and the secrets that sign it.

ALTER TABLE task ADD COLUMN webhook_url TEXT;
ALTER TABLE task ADD COLUMN webhook_host TEXT;
-- Copied from the task when it is claimed, so that settling a task without a webhook asks nothing more.
ALTER TABLE lease ADD COLUMN webhook INTEGER NOT NULL DEFAULT 0;

-- A message owed, and what became of it. due_at: when to look at it next; null: final, delivered or given up.
-- While a try is under way claimed_until is set, and due_at with it: a sender that died leaves it due again.
CREATE TABLE delivery (
  id              TEXT NOT NULL UNIQUE,
  organization_id INTEGER NOT NULL,
  task_id         TEXT,
  url             TEXT NOT NULL,
  host            TEXT NOT NULL,
  body            TEXT,
  tries           INTEGER NOT NULL DEFAULT 0,
  due_at          INTEGER,
  claimed_until   INTEGER,
  delivered_at    INTEGER,
  created_at      INTEGER NOT NULL
);
CREATE INDEX delivery_task ON delivery (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX delivery_test ON delivery (created_at) WHERE task_id IS NULL;
CREATE INDEX delivery_organization ON delivery (organization_id, id);
-- Both hold open deliveries only. The first finds when to wake; the second steps from host to host, so that what waits
-- for a dead one is not read over and over.
CREATE INDEX delivery_due ON delivery (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_open ON delivery (organization_id, host, due_at, id) WHERE due_at IS NOT NULL;

-- One try of a delivery. error is a class; cause is for the operator alone.
CREATE TABLE delivery_try (
  delivery_id TEXT NOT NULL,
  number      INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  http_status INTEGER,
  error       TEXT,
  took_ms     INTEGER NOT NULL,
  cause       TEXT,
  PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;

-- What signs an organization's webhooks: readable, or sealed with the operator's key. expires_at null: the newest.
CREATE TABLE webhook_secret (
  id              TEXT PRIMARY KEY,
  organization_id INTEGER NOT NULL REFERENCES organization (id),
  secret          TEXT NOT NULL,
  last4           TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  expires_at      INTEGER
);
CREATE INDEX webhook_secret_organization ON webhook_secret (organization_id);
