-- The tables of fairlane, states as tables: where a task's row is, is what the task is.
-- A task has exactly one of: queue_entry or waiting (QUEUED), lease (PROCESSING), outcome (COMPLETED or FAILED).
-- Texts sort by their bytes, whatever the locale: an upgrade of its tables must not break an index.
-- Times are integer milliseconds UTC; flags are 0 or 1; ids are text made by us.

CREATE TABLE installation (
  id          BIGINT PRIMARY KEY CHECK (id = 1),
  maintenance BIGINT NOT NULL DEFAULT 0
);
INSERT INTO installation (id) VALUES (1);

CREATE TABLE plan (
  name        TEXT COLLATE "C" PRIMARY KEY,
  slots       BIGINT CHECK (slots >= 1),
  queue_limit BIGINT NOT NULL CHECK (queue_limit >= 1),
  weight      BIGINT NOT NULL CHECK (weight >= 1),
  created_at  BIGINT NOT NULL
);

-- slots_max, queue_limit and weight are the limits in force: the override if there is one, else the plan's.
CREATE TABLE organization (
  id                   BIGINT PRIMARY KEY,
  name                 TEXT COLLATE "C" NOT NULL UNIQUE,
  plan                 TEXT COLLATE "C" NOT NULL REFERENCES plan (name),
  slots_override       BIGINT CHECK (slots_override >= 1),
  queue_limit_override BIGINT CHECK (queue_limit_override >= 1),
  weight_override      BIGINT CHECK (weight_override >= 1),
  slots_max            BIGINT CHECK (slots_max >= 1),
  queue_limit          BIGINT NOT NULL CHECK (queue_limit >= 1),
  weight               BIGINT NOT NULL CHECK (weight >= 1),
  paused               BIGINT NOT NULL DEFAULT 0,
  disabled             BIGINT NOT NULL DEFAULT 0,
  maintenance          BIGINT NOT NULL DEFAULT 0,
  drifted              BIGINT NOT NULL DEFAULT 0,
  audited_at           BIGINT NOT NULL DEFAULT 0,
  next_seq             BIGINT NOT NULL DEFAULT 1,
  queued               BIGINT NOT NULL DEFAULT 0,
  ready                BIGINT NOT NULL DEFAULT 0,
  processing           BIGINT NOT NULL DEFAULT 0,
  virtual_time         BIGINT NOT NULL DEFAULT 0,
  submitted            BIGINT NOT NULL DEFAULT 0,
  completed            BIGINT NOT NULL DEFAULT 0,
  failed               BIGINT NOT NULL DEFAULT 0,
  slot_ms              BIGINT NOT NULL DEFAULT 0,
  plan_limited_ms      BIGINT NOT NULL DEFAULT 0,
  worker_limited_ms    BIGINT NOT NULL DEFAULT 0,
  integrals_at         BIGINT NOT NULL,
  created_at           BIGINT NOT NULL
);
CREATE INDEX organization_plan ON organization (plan);
CREATE INDEX organization_audited ON organization (audited_at);
CREATE INDEX organization_drifted ON organization (name) WHERE drifted = 1;

CREATE TABLE api_key (
  id              TEXT COLLATE "C" PRIMARY KEY,
  organization_id BIGINT NOT NULL REFERENCES organization (id),
  name            TEXT COLLATE "C",
  digest          TEXT COLLATE "C" NOT NULL UNIQUE,
  last4           TEXT COLLATE "C" NOT NULL,
  created_at      BIGINT NOT NULL,
  revoked_at      BIGINT
);
CREATE INDEX api_key_organization ON api_key (organization_id);

CREATE TABLE audit (
  id      TEXT COLLATE "C" PRIMARY KEY,
  at      BIGINT NOT NULL,
  actor   TEXT COLLATE "C" NOT NULL,
  action  TEXT COLLATE "C" NOT NULL,
  subject TEXT COLLATE "C" NOT NULL,
  details TEXT COLLATE "C" NOT NULL
);

-- An accepted request; never updated. Ids are time-ordered, so each organization's part of the index grows at its end.
CREATE TABLE task (
  organization_id BIGINT NOT NULL,
  id              TEXT COLLATE "C" NOT NULL,
  seq             BIGINT NOT NULL,
  task_type       TEXT COLLATE "C" NOT NULL,
  priority        BIGINT NOT NULL,
  payload         TEXT COLLATE "C" NOT NULL,
  idempotency_key TEXT COLLATE "C",
  cost            BIGINT NOT NULL,
  created_at      BIGINT NOT NULL,
  UNIQUE (organization_id, id)
);

-- Ready to start. Its key is the order in which claims read it.
CREATE TABLE queue_entry (
  organization_id  BIGINT NOT NULL,
  task_type        TEXT COLLATE "C" NOT NULL,
  rank             BIGINT NOT NULL,
  seq              BIGINT NOT NULL,
  task_id          TEXT COLLATE "C" NOT NULL,
  attempt          BIGINT NOT NULL,
  first_started_at BIGINT,
  PRIMARY KEY (organization_id, task_type, rank, seq)
);

-- Starts later: a pause between two attempts.
CREATE TABLE waiting (
  organization_id  BIGINT NOT NULL,
  task_id          TEXT COLLATE "C" NOT NULL,
  task_type        TEXT COLLATE "C" NOT NULL,
  rank             BIGINT NOT NULL,
  seq              BIGINT NOT NULL,
  attempt          BIGINT NOT NULL,
  first_started_at BIGINT,
  due_at           BIGINT NOT NULL,
  PRIMARY KEY (organization_id, task_id)
);
CREATE INDEX waiting_due ON waiting (due_at);

-- One slot in use by one attempt. The id is the fence: whoever does not know it changes nothing.
CREATE TABLE lease (
  organization_id  BIGINT NOT NULL,
  task_id          TEXT COLLATE "C" NOT NULL,
  id               TEXT COLLATE "C" NOT NULL,
  task_type        TEXT COLLATE "C" NOT NULL,
  rank             BIGINT NOT NULL,
  seq              BIGINT NOT NULL,
  cost             BIGINT NOT NULL,
  attempt          BIGINT NOT NULL,
  attempts         BIGINT NOT NULL,
  limited          BIGINT NOT NULL,
  estimate_ms      BIGINT NOT NULL,
  first_started_at BIGINT NOT NULL,
  started_at       BIGINT NOT NULL,
  deadline_at      BIGINT NOT NULL,
  session_id       TEXT COLLATE "C" NOT NULL,
  exchange_id      TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (organization_id, task_id)
);
CREATE INDEX lease_session ON lease (session_id, exchange_id);
CREATE INDEX lease_limited ON lease (task_type) WHERE limited = 1;

-- How a task ended. Insert-only; the unique key makes a second ending impossible. It is the task's id alone, because
-- ids rise with time and endings of many organizations then share a page instead of each taking its own.
CREATE TABLE outcome (
  organization_id  BIGINT NOT NULL,
  task_id          TEXT COLLATE "C" NOT NULL UNIQUE,
  status           TEXT COLLATE "C" NOT NULL,
  result           TEXT COLLATE "C",
  failure          TEXT COLLATE "C",
  cause            TEXT COLLATE "C",
  charged          BIGINT NOT NULL,
  attempt          BIGINT NOT NULL,
  first_started_at BIGINT,
  finished_at      BIGINT NOT NULL,
  lease_id         TEXT COLLATE "C"
);
CREATE INDEX outcome_finished ON outcome (finished_at);

-- One organization's count for one type and rank. head_seq is a lower bound of its oldest ready row.
CREATE TABLE lane (
  organization_id BIGINT NOT NULL,
  task_type       TEXT COLLATE "C" NOT NULL,
  rank            BIGINT NOT NULL,
  ready           BIGINT NOT NULL,
  waiting         BIGINT NOT NULL,
  head_seq        BIGINT NOT NULL,
  PRIMARY KEY (organization_id, task_type, rank)
);

-- Whose turn it may be: organizations that can start work of this type now, and nothing else.
CREATE TABLE turn (
  task_type       TEXT COLLATE "C" NOT NULL,
  virtual_time    BIGINT NOT NULL,
  organization_id BIGINT NOT NULL,
  PRIMARY KEY (task_type, virtual_time, organization_id)
);

CREATE TABLE idempotency (
  organization_id BIGINT NOT NULL,
  key             TEXT COLLATE "C" NOT NULL,
  task_id         TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (organization_id, key)
);

-- A live worker process. dead is one-way.
CREATE TABLE session (
  id          TEXT COLLATE "C" PRIMARY KEY,
  name        TEXT COLLATE "C" NOT NULL,
  types       TEXT COLLATE "C" NOT NULL,
  places      BIGINT NOT NULL,
  local       BIGINT NOT NULL,
  lease_ms    BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  dead        BIGINT NOT NULL DEFAULT 0,
  started_at  BIGINT NOT NULL
);

-- Rows that are updated in place keep room for it on their page, so that no index is touched.
ALTER TABLE organization SET (fillfactor = 50);
ALTER TABLE lane SET (fillfactor = 50);
ALTER TABLE session SET (fillfactor = 50);

-- These tables turn over completely all the time: dead rows are swept early and without a pause.
ALTER TABLE organization SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE lane SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE session SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE queue_entry SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE waiting SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE lease SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE turn SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
