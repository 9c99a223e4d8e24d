-- Calls: requests that run now while their caller waits, in the slots they share with tasks. And limits of task types.

ALTER TABLE organization ADD COLUMN calls INTEGER NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN calls_ready INTEGER NOT NULL DEFAULT 0;

-- 0: an attempt at a task. 1: a call, from its admission to its end; until a worker takes it, and between two attempts,
-- its session is that of the server whose caller waits.
ALTER TABLE lease ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;

-- A call and, once status is there, how it ended. ready: it waits for a free place of a worker. due_at: it pauses until
-- then. canceled: nobody waits any more. Removed when its caller has the answer.
CREATE TABLE call (
  organization_id INTEGER NOT NULL,
  id              TEXT NOT NULL,
  seq             INTEGER NOT NULL,
  task_type       TEXT NOT NULL,
  payload         TEXT NOT NULL,
  cost            INTEGER NOT NULL,
  server_id       TEXT NOT NULL,
  ready           INTEGER NOT NULL,
  due_at          INTEGER,
  canceled        INTEGER NOT NULL DEFAULT 0,
  created_at      INTEGER NOT NULL,
  give_up_at      INTEGER NOT NULL,
  status          TEXT,
  result          TEXT,
  failure         TEXT,
  cause           TEXT,
  charged         INTEGER,
  UNIQUE (organization_id, id)
);
CREATE INDEX call_ready ON call (organization_id, task_type, seq) WHERE ready = 1;
CREATE INDEX call_due ON call (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX call_server ON call (server_id, status);

-- kind 0: tasks of this type can start. kind 1: a call of this type waits for a free place; it has its slot already.
DROP TABLE turn;
CREATE TABLE turn (
  task_type       TEXT NOT NULL,
  kind            INTEGER NOT NULL,
  virtual_time    INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  PRIMARY KEY (task_type, kind, virtual_time, organization_id)
) WITHOUT ROWID;
INSERT INTO turn (task_type, kind, virtual_time, organization_id)
SELECT DISTINCT l.task_type, 0, o.virtual_time, o.id
FROM organization AS o
JOIN lane AS l ON l.organization_id = o.id AND l.ready > 0
WHERE o.paused = 0
  AND o.disabled = 0
  AND o.processing < o.slots_max;

-- How many of a task type may run at once across all organizations. Whoever wants to start one locks this row first.
CREATE TABLE type_limit (
  task_type TEXT PRIMARY KEY,
  most      INTEGER NOT NULL
);
