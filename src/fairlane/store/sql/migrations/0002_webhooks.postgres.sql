-- Webhooks: where a task's outcome is to be told, what is owed, what was tried, and the secrets that sign it.

ALTER TABLE task ADD COLUMN webhook_url TEXT COLLATE "C";
ALTER TABLE task ADD COLUMN webhook_host TEXT COLLATE "C";
-- Copied from the task when it is claimed, so that settling a task without a webhook asks nothing more.
ALTER TABLE lease ADD COLUMN webhook BIGINT NOT NULL DEFAULT 0;

-- A message owed, and what became of it. due_at: when to look at it next; null: final, delivered or given up.
-- While a try is under way claimed_until is set, and due_at with it: a sender that died leaves it due again.
CREATE TABLE delivery (
  id              TEXT COLLATE "C" NOT NULL UNIQUE,
  organization_id BIGINT NOT NULL,
  task_id         TEXT COLLATE "C",
  url             TEXT COLLATE "C" NOT NULL,
  host            TEXT COLLATE "C" NOT NULL,
  body            TEXT COLLATE "C",
  tries           BIGINT NOT NULL DEFAULT 0,
  due_at          BIGINT,
  claimed_until   BIGINT,
  delivered_at    BIGINT,
  created_at      BIGINT NOT NULL
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
  delivery_id TEXT COLLATE "C" NOT NULL,
  number      BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  http_status BIGINT,
  error       TEXT COLLATE "C",
  took_ms     BIGINT NOT NULL,
  cause       TEXT COLLATE "C",
  PRIMARY KEY (delivery_id, number)
);

-- What signs an organization's webhooks: readable, or sealed with the operator's key. expires_at null: the newest.
CREATE TABLE webhook_secret (
  id              TEXT COLLATE "C" PRIMARY KEY,
  organization_id BIGINT NOT NULL REFERENCES organization (id),
  secret          TEXT COLLATE "C" NOT NULL,
  last4           TEXT COLLATE "C" NOT NULL,
  created_at      BIGINT NOT NULL,
  expires_at      BIGINT
);
CREATE INDEX webhook_secret_organization ON webhook_secret (organization_id);

ALTER TABLE delivery SET
  (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
   autovacuum_vacuum_cost_delay = 0);
