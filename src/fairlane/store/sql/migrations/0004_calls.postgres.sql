-- Calls: requests that run now while their caller waits, in the slots they share with tasks. And limits of task types.

ALTER TABLE organization ADD COLUMN calls BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN calls_ready BIGINT NOT NULL DEFAULT 0;

-- 0: an attempt at a task. 1: a call, from its admission to its end; until a worker takes it, and between two attempts,
-- its session is that of the server whose caller waits.
ALTER TABLE lease ADD COLUMN kind BIGINT NOT NULL DEFAULT 0;

-- A call and, once status is there, how it ended. ready: it waits for a free place of a worker. due_at: it pauses until
-- then. canceled: nobody waits any more. Removed when its caller has the answer.
CREATE TABLE call (
  organization_id BIGINT NOT NULL,
  id              TEXT COLLATE "C" NOT NULL,
  seq             BIGINT NOT NULL,
  task_type       TEXT COLLATE "C" NOT NULL,
  payload         TEXT COLLATE "C" NOT NULL,
  cost            BIGINT NOT NULL,
  server_id       TEXT COLLATE "C" NOT NULL,
  ready           BIGINT NOT NULL,
  due_at          BIGINT,
  canceled        BIGINT NOT NULL DEFAULT 0,
  created_at      BIGINT NOT NULL,
  give_up_at      BIGINT NOT NULL,
  status          TEXT COLLATE "C",
  result          TEXT COLLATE "C",
  failure         TEXT COLLATE "C",
  cause           TEXT COLLATE "C",
  charged         BIGINT,
  UNIQUE (organization_id, id)
);
CREATE INDEX call_ready ON call (organization_id, task_type, seq) WHERE ready = 1;
CREATE INDEX call_due ON call (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX call_server ON call (server_id, status);

-- kind 0: tasks of this type can start. kind 1: a call of this type waits for a free place; it has its slot already.
DROP TABLE turn;
CREATE TABLE turn (
  task_type       TEXT COLLATE "C" NOT NULL,
  kind            BIGINT NOT NULL,
  virtual_time    BIGINT NOT NULL,
  organization_id BIGINT NOT NULL,
  PRIMARY KEY (task_type, kind, virtual_time, organization_id)
);
INSERT INTO turn (task_type, kind, virtual_time, organization_id)
SELECT DISTINCT l.task_type, 0, o.virtual_time, o.id
FROM organization AS o
JOIN lane AS l ON l.organization_id = o.id AND l.ready > 0
WHERE o.paused = 0
  AND o.disabled = 0
  AND o.processing < o.slots_max;

-- How many of a task type may run at once across all organizations. Whoever wants to start one locks this row first.
CREATE TABLE type_limit (
  task_type TEXT COLLATE "C" PRIMARY KEY,
  most      BIGINT NOT NULL
);

ALTER TABLE turn SET
  (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE call SET
  (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500,
   autovacuum_vacuum_cost_delay = 0);
