-- The tables of fairlane, states as tables: where a task's row is, is what the task is.
-- A task has exactly one of: queue_entry or waiting (QUEUED), lease (PROCESSING), outcome (COMPLETED or FAILED).
-- Times are integer milliseconds UTC; flags are 0 or 1; ids are text made by us.

CREATE TABLE installation (
  id          INTEGER PRIMARY KEY CHECK (id = 1),
  maintenance INTEGER NOT NULL DEFAULT 0
);
INSERT INTO installation (id) VALUES (1);

CREATE TABLE plan (
  name        TEXT PRIMARY KEY,
  slots       INTEGER CHECK (slots >= 1),
  queue_limit INTEGER NOT NULL CHECK (queue_limit >= 1),
  weight      INTEGER NOT NULL CHECK (weight >= 1),
  created_at  INTEGER NOT NULL
);

-- slots_max, queue_limit and weight are the limits in force: the override if there is one, else the plan's.
CREATE TABLE organization (
  id                   INTEGER PRIMARY KEY,
  name                 TEXT NOT NULL UNIQUE,
  plan                 TEXT NOT NULL REFERENCES plan (name),
  slots_override       INTEGER CHECK (slots_override >= 1),
  queue_limit_override INTEGER CHECK (queue_limit_override >= 1),
  weight_override      INTEGER CHECK (weight_override >= 1),
  slots_max            INTEGER CHECK (slots_max >= 1),
  queue_limit          INTEGER NOT NULL CHECK (queue_limit >= 1),
  weight               INTEGER NOT NULL CHECK (weight >= 1),
  paused               INTEGER NOT NULL DEFAULT 0,
  disabled             INTEGER NOT NULL DEFAULT 0,
  maintenance          INTEGER NOT NULL DEFAULT 0,
  drifted              INTEGER NOT NULL DEFAULT 0,
  audited_at           INTEGER NOT NULL DEFAULT 0,
  next_seq             INTEGER NOT NULL DEFAULT 1,
  queued               INTEGER NOT NULL DEFAULT 0,
  ready                INTEGER NOT NULL DEFAULT 0,
  processing           INTEGER NOT NULL DEFAULT 0,
  virtual_time         INTEGER NOT NULL DEFAULT 0,
  submitted            INTEGER NOT NULL DEFAULT 0,
  completed            INTEGER NOT NULL DEFAULT 0,
  failed               INTEGER NOT NULL DEFAULT 0,
  slot_ms              INTEGER NOT NULL DEFAULT 0,
  plan_limited_ms      INTEGER NOT NULL DEFAULT 0,
  worker_limited_ms    INTEGER NOT NULL DEFAULT 0,
  integrals_at         INTEGER NOT NULL,
  created_at           INTEGER NOT NULL
);
CREATE INDEX organization_plan ON organization (plan);
CREATE INDEX organization_audited ON organization (audited_at);
CREATE INDEX organization_drifted ON organization (name) WHERE drifted = 1;

CREATE TABLE api_key (
  id              TEXT PRIMARY KEY,
  organization_id INTEGER NOT NULL REFERENCES organization (id),
  name            TEXT,
  digest          TEXT NOT NULL UNIQUE,
  last4           TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  revoked_at      INTEGER
);
CREATE INDEX api_key_organization ON api_key (organization_id);

CREATE TABLE audit (
  id      TEXT PRIMARY KEY,
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  details TEXT NOT NULL
);

-- An accepted request; never updated. Ids are time-ordered, so each organization's part of the index grows at its end.
CREATE TABLE task (
  organization_id INTEGER NOT NULL,
  id              TEXT NOT NULL,
  seq             INTEGER NOT NULL,
  task_type       TEXT NOT NULL,
  priority        INTEGER NOT NULL,
  payload         TEXT NOT NULL,
  idempotency_key TEXT,
  cost            INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  UNIQUE (organization_id, id)
);

-- Ready to start. Clustered in the order in which claims read it.
CREATE TABLE queue_entry (
  organization_id  INTEGER NOT NULL,
  task_type        TEXT NOT NULL,
  rank             INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  task_id          TEXT NOT NULL,
  attempt          INTEGER NOT NULL,
  first_started_at INTEGER,
  PRIMARY KEY (organization_id, task_type, rank, seq)
) WITHOUT ROWID;

-- Starts later: a pause between two attempts.
CREATE TABLE waiting (
  organization_id  INTEGER NOT NULL,
  task_id          TEXT NOT NULL,
  task_type        TEXT NOT NULL,
  rank             INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  attempt          INTEGER NOT NULL,
  first_started_at INTEGER,
  due_at           INTEGER NOT NULL,
  PRIMARY KEY (organization_id, task_id)
);
CREATE INDEX waiting_due ON waiting (due_at);

-- One slot in use by one attempt. The id is the fence: whoever does not know it changes nothing.
CREATE TABLE lease (
  organization_id  INTEGER NOT NULL,
  task_id          TEXT NOT NULL,
  id               TEXT NOT NULL,
  task_type        TEXT NOT NULL,
  rank             INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  cost             INTEGER NOT NULL,
  attempt          INTEGER NOT NULL,
  attempts         INTEGER NOT NULL,
  limited          INTEGER NOT NULL,
  estimate_ms      INTEGER NOT NULL,
  first_started_at INTEGER NOT NULL,
  started_at       INTEGER NOT NULL,
  deadline_at      INTEGER NOT NULL,
  session_id       TEXT NOT NULL,
  exchange_id      TEXT NOT NULL,
  PRIMARY KEY (organization_id, task_id)
) WITHOUT ROWID;
CREATE INDEX lease_session ON lease (session_id, exchange_id);
CREATE INDEX lease_limited ON lease (task_type) WHERE limited = 1;

-- How a task ended. Insert-only; the unique key makes a second ending impossible. It is the task's id alone, because
-- ids rise with time and endings of many organizations then share a page instead of each taking its own.
CREATE TABLE outcome (
  organization_id  INTEGER NOT NULL,
  task_id          TEXT NOT NULL UNIQUE,
  status           TEXT NOT NULL,
  result           TEXT,
  failure          TEXT,
  cause            TEXT,
  charged          INTEGER NOT NULL,
  attempt          INTEGER NOT NULL,
  first_started_at INTEGER,
  finished_at      INTEGER NOT NULL,
  lease_id         TEXT
);
CREATE INDEX outcome_finished ON outcome (finished_at);

-- One organization's count for one type and rank. head_seq is a lower bound of its oldest ready row.
CREATE TABLE lane (
  organization_id INTEGER NOT NULL,
  task_type       TEXT NOT NULL,
  rank            INTEGER NOT NULL,
  ready           INTEGER NOT NULL,
  waiting         INTEGER NOT NULL,
  head_seq        INTEGER NOT NULL,
  PRIMARY KEY (organization_id, task_type, rank)
) WITHOUT ROWID;

-- Whose turn it may be: organizations that can start work of this type now, and nothing else.
CREATE TABLE turn (
  task_type       TEXT NOT NULL,
  virtual_time    INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  PRIMARY KEY (task_type, virtual_time, organization_id)
) WITHOUT ROWID;

CREATE TABLE idempotency (
  organization_id INTEGER NOT NULL,
  key             TEXT NOT NULL,
  task_id         TEXT NOT NULL,
  PRIMARY KEY (organization_id, key)
) WITHOUT ROWID;

-- A live worker process. dead is one-way.
CREATE TABLE session (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  types       TEXT NOT NULL,
  places      INTEGER NOT NULL,
  local       INTEGER NOT NULL,
  lease_ms    INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  dead        INTEGER NOT NULL DEFAULT 0,
  started_at  INTEGER NOT NULL
);
