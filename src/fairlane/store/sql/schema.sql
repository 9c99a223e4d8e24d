-- The tables of fairlane as they are today, on SQLite and PostgreSQL. A new database is made from this file.
--
-- A task is one row of task, which is never updated, and one row that says its state: queue_entry if it is ready to
-- start, waiting if it starts later, lease while an attempt runs, outcome once it has ended. A transition moves the row
-- from one of these four tables to another in one transaction. attempt has the attempts that did not complete their
-- task. A call is one row of call and one of lease, which holds its slot from admission to end. idempotency names the
-- task of each key of a customer.
--
-- organization has an organization's limits, flags, counts and running sums; its row is locked by every transaction
-- that moves its tasks, so its counts are exact. plan has the limits that several organizations share. lane counts an
-- organization's tasks by type and rank. turn lists the organizations that can start work of a type now, in their
-- order. type_limit has the limits of task types across all organizations. session has the live workers and servers;
-- failed_start has workers that cannot start.
-- bulk has requests to run again or cancel many tasks, and bulk_part what is left of them in each organization.
--
-- delivery has the messages owed to webhooks and delivery_try the tries of each; webhook_host counts the tries by host;
-- webhook_secret signs them. alert has
-- the rules of alerts and whether each fires. usage has the running sums of an organization by minute, usage_month
-- those at each turn of a month, type_usage its attempts by type and minute, failure_hour its failures by hour and cause. pulse has the sums of the whole
-- installation by minute. request_count has what servers tell each other. api_key, credit_grant, installation_key and audit record what operators did. logout
-- ends sessions of the dashboard. installation is one row of what all servers share. probe takes trial writes;
-- last_commit tells what became of a commit without an answer, on PostgreSQL.
--
-- Times are integer milliseconds UTC, flags are 0 or 1, priorities are stored as ranks (10 - priority), and ids are
-- text made by fairlane, except the numbers of organizations.
--
-- The text is SQLite's. PostgreSQL gets INTEGER as BIGINT, REAL as DOUBLE PRECISION, and TEXT as TEXT COLLATE "C", so
-- that texts sort by their bytes in every locale; WITHOUT ROWID, which stores a table in the order of its key, is left
-- out. A paragraph that begins with [postgres] is for PostgreSQL alone. statements.py reads it so.

-- What all servers of this database share.

CREATE TABLE installation (
  id                   INTEGER PRIMARY KEY CHECK (id = 1),
  maintenance          INTEGER NOT NULL DEFAULT 0,
  -- Ids of organizations are never given twice, also not after an organization was erased.
  last_organization_id INTEGER NOT NULL DEFAULT 0,
  -- Signs the cookies of the dashboard; null until the first server needs it.
  dashboard_secret     TEXT,
  -- How many times the clock was set and leases were moved along, and the moment up to which it ran evenly. A server
  -- that sees a jump compares both, so that each jump is applied once.
  clock_jumps          INTEGER NOT NULL DEFAULT 0,
  clock_even_until     INTEGER NOT NULL DEFAULT 0,
  -- The furthest virtual time of all servers.
  virtual_time         INTEGER NOT NULL DEFAULT 0
);
INSERT INTO installation (id) VALUES (1);

-- A worker key or an admin key. It belongs to no organization.
CREATE TABLE installation_key (
  id         TEXT PRIMARY KEY,
  kind       TEXT NOT NULL CHECK (kind IN ('worker', 'admin')),
  name       TEXT NOT NULL,
  digest     TEXT NOT NULL UNIQUE,
  last4      TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  revoked_at INTEGER
);

-- A session of the dashboard that was ended before its cookie expires. The id is in the cookie.
CREATE TABLE logout (
  id         TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX logout_expires ON logout (expires_at);

-- A live server, and the requests that it counted in the last second of organizations with a rate limit of their own:
-- [[organization, endpoint, count], …] as JSON. Other servers read it once a second.
CREATE TABLE request_count (
  server_id TEXT PRIMARY KEY,
  at        INTEGER NOT NULL,
  counts    TEXT NOT NULL
);

-- What operators changed.
CREATE TABLE audit (
  id      TEXT PRIMARY KEY,
  at      INTEGER NOT NULL,
  actor   TEXT NOT NULL,
  action  TEXT NOT NULL,
  subject TEXT NOT NULL,
  details TEXT NOT NULL
);
CREATE INDEX audit_subject ON audit (subject, id);

-- The last transaction of a server, of those with this remainder, that has a decided outcome: it was committed, or it is
-- undone for good. On PostgreSQL a server writes its number with each commit. If the answer to a commit is lost, the
-- server asks for the number here, and takes it, so that the transaction can no longer commit. PostgreSQL's own number
-- of a transaction does not tell: it may be given again after a crash or on a promoted standby. The numbers of a server
-- are spread over many rows, because each change of a row visits those before it while an old snapshot keeps them.
CREATE TABLE last_commit (
  server_id TEXT NOT NULL,
  remainder INTEGER NOT NULL,
  number    INTEGER NOT NULL,
  undone    INTEGER NOT NULL,
  at        INTEGER NOT NULL,
  PRIMARY KEY (server_id, remainder)
);

-- After a full disk a server writes here before it says that it is ready again.
CREATE TABLE probe (
  filler TEXT NOT NULL
);

-- Organizations.

CREATE TABLE plan (
  name           TEXT PRIMARY KEY,
  slots          INTEGER CHECK (slots >= 1),
  queue_limit    INTEGER NOT NULL CHECK (queue_limit >= 1),
  weight         INTEGER NOT NULL CHECK (weight >= 1),
  created_at     INTEGER NOT NULL,
  -- The highest priority and, as a JSON array, the task types that may be submitted; null: any.
  priority_limit INTEGER CHECK (priority_limit BETWEEN 1 AND 10),
  task_types     TEXT,
  -- Credits that each of its organizations is granted when a month (UTC) begins; null: none.
  monthly_credits INTEGER CHECK (monthly_credits >= 0),
  -- Requests per second of one organization to one endpoint of all servers; null: the setting of each server.
  rate_limit     INTEGER CHECK (rate_limit >= 1),
  -- How long a task stays readable after its end; null: the setting.
  retention_seconds INTEGER CHECK (retention_seconds >= 0)
);

CREATE TABLE organization (
  id                   INTEGER PRIMARY KEY,
  name                 TEXT NOT NULL UNIQUE,
  plan                 TEXT NOT NULL REFERENCES plan (name),
  slots_override       INTEGER CHECK (slots_override >= 1),
  queue_limit_override INTEGER CHECK (queue_limit_override >= 1),
  weight_override      INTEGER CHECK (weight_override >= 1),
  priority_limit_override INTEGER CHECK (priority_limit_override BETWEEN 1 AND 10),
  task_types_override  TEXT,
  monthly_credits_override INTEGER CHECK (monthly_credits_override >= 0),
  rate_limit_override  INTEGER CHECK (rate_limit_override >= 1),
  retention_seconds_override INTEGER CHECK (retention_seconds_override >= 0),
  -- The limits in force: the override if there is one, else the plan's.
  slots_max            INTEGER CHECK (slots_max >= 1),
  queue_limit          INTEGER NOT NULL CHECK (queue_limit >= 1),
  weight               INTEGER NOT NULL CHECK (weight >= 1),
  priority_limit       INTEGER CHECK (priority_limit BETWEEN 1 AND 10),
  task_types           TEXT,
  monthly_credits      INTEGER CHECK (monthly_credits >= 0),
  rate_limit           INTEGER CHECK (rate_limit >= 1),
  retention_seconds    INTEGER CHECK (retention_seconds >= 0),
  paused               INTEGER NOT NULL DEFAULT 0,
  disabled             INTEGER NOT NULL DEFAULT 0,
  maintenance          INTEGER NOT NULL DEFAULT 0,
  -- Its counts differed from its rows, and when they were last compared.
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
  -- Integrals up to integrals_at.
  slot_ms              INTEGER NOT NULL DEFAULT 0,
  plan_limited_ms      INTEGER NOT NULL DEFAULT 0,
  worker_limited_ms    INTEGER NOT NULL DEFAULT 0,
  integrals_at         INTEGER NOT NULL,
  created_at           INTEGER NOT NULL,
  calls                INTEGER NOT NULL DEFAULT 0,
  calls_ready          INTEGER NOT NULL DEFAULT 0,
  -- The balance is granted - charged. held is the sum of the costs of its leases, also while its credits are not
  -- counted (credits_on), so that switching needs no recount. wanted is the cost of the task that waits until this part
  -- of the balance is not held; 0 if none waits.
  credits_on           INTEGER NOT NULL DEFAULT 0,
  credits_granted      INTEGER NOT NULL DEFAULT 0,
  credits_charged      INTEGER NOT NULL DEFAULT 0,
  credits_held         INTEGER NOT NULL DEFAULT 0,
  credits_wanted       INTEGER NOT NULL DEFAULT 0,
  -- The month, such as 2026-11, in which upkeep last looked at its monthly credits; empty: never.
  credits_month        TEXT NOT NULL DEFAULT '',
  -- 1: everything it owns is being deleted, the row itself last.
  erasing              INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX organization_plan ON organization (plan);
CREATE INDEX organization_credits_month ON organization (credits_month, id)
  WHERE credits_on = 1 AND erasing = 0 AND monthly_credits > 0;
CREATE INDEX organization_audited ON organization (audited_at);
CREATE INDEX organization_drifted ON organization (name) WHERE drifted = 1;
CREATE INDEX organization_erasing ON organization (id) WHERE erasing = 1;

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

-- Insert-only. The id is the operator's, so that a grant whose answer was lost can be sent again.
CREATE TABLE credit_grant (
  organization_id INTEGER NOT NULL REFERENCES organization (id),
  id              TEXT NOT NULL,
  amount          INTEGER NOT NULL,
  reason          TEXT NOT NULL,
  actor           TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX credit_grant_created ON credit_grant (organization_id, created_at);

-- Tasks.

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
  webhook_url     TEXT,
  webhook_host    TEXT,
  -- It must not start before this moment; null: at once.
  run_at          INTEGER,
  -- The failed task that it repeats.
  retry_of        TEXT,
  -- The span that submitted it, as a W3C traceparent.
  traceparent     TEXT,
  UNIQUE (organization_id, id)
);
-- The failed tasks that were run again; no other task pays for it.
CREATE INDEX task_retry ON task (retry_of) WHERE retry_of IS NOT NULL;

-- This key of a customer names that task.
CREATE TABLE idempotency (
  organization_id INTEGER NOT NULL,
  key             TEXT NOT NULL,
  task_id         TEXT NOT NULL,
  PRIMARY KEY (organization_id, key)
) WITHOUT ROWID;

-- Ready to start. Its key is the order in which claims read it.
CREATE TABLE queue_entry (
  organization_id  INTEGER NOT NULL,
  task_type        TEXT NOT NULL,
  rank             INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  task_id          TEXT NOT NULL,
  attempt          INTEGER NOT NULL,
  first_started_at INTEGER,
  -- How many times it was started, also for attempts that do not count.
  starts           INTEGER NOT NULL DEFAULT 0,
  -- plan_limited_ms and worker_limited_ms of its organization when it became ready, less what it had waited before: what
  -- these integrals have grown by at its start is how long it waited in all.
  slot_wait_from   INTEGER NOT NULL DEFAULT 0,
  worker_wait_from INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (organization_id, task_type, rank, seq)
) WITHOUT ROWID;

-- Starts later: a pause between two attempts, or a task with a moment before which it must not start. Its key is the
-- order of lists. It has no second index that begins with the organization: with old statistics PostgreSQL could take
-- the wrong one of two, and read all waiting tasks of the organization for each that it looks up.
CREATE TABLE waiting (
  organization_id  INTEGER NOT NULL,
  task_id          TEXT NOT NULL,
  task_type        TEXT NOT NULL,
  rank             INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  attempt          INTEGER NOT NULL,
  first_started_at INTEGER,
  due_at           INTEGER NOT NULL,
  starts           INTEGER NOT NULL DEFAULT 0,
  -- How long it waited for a slot, and for a worker, before its last start.
  slot_wait_ms     INTEGER NOT NULL DEFAULT 0,
  worker_wait_ms   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (organization_id, seq)
) WITHOUT ROWID;
CREATE INDEX waiting_due ON waiting (due_at);

-- One slot in use. kind 0: by an attempt of a task. kind 1: by a call, from its admission to its end; until a worker
-- takes the call, and between two attempts, its session is that of the server whose caller waits. The id is the fence:
-- a request without it changes nothing.
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
  -- Copied from the task, so that settling a task without a webhook reads nothing more.
  webhook          INTEGER NOT NULL DEFAULT 0,
  -- When the organization asked to cancel what runs. Every server can tell the worker of it.
  canceled_at      INTEGER,
  kind             INTEGER NOT NULL DEFAULT 0,
  -- What the handler last said of its progress: JSON.
  progress         TEXT,
  -- This start of the task included.
  starts           INTEGER NOT NULL DEFAULT 0,
  -- How long the task waited for a slot, and for a worker, before this start and earlier ones.
  slot_wait_ms     INTEGER NOT NULL DEFAULT 0,
  worker_wait_ms   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (organization_id, task_id)
) WITHOUT ROWID;
CREATE INDEX lease_session ON lease (session_id, exchange_id);
CREATE INDEX lease_limited ON lease (task_type) WHERE limited = 1;
CREATE INDEX lease_canceled ON lease (session_id) WHERE canceled_at IS NOT NULL;

-- How a task ended. Insert-only; the unique key makes a second ending impossible. It is the task's id alone: ids rise
-- with time, so endings of many organizations share a page of its index.
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
  lease_id         TEXT,
  -- When its last attempt began; null if it ended without one, while it was queued.
  started_at       INTEGER,
  -- The group of failures with the same cause; null if it completed or was canceled.
  failure_group    TEXT,
  -- How long it waited for a slot, and for a worker, before its last attempt; null as started_at.
  slot_wait_ms     INTEGER,
  worker_wait_ms   INTEGER,
  -- When it is deleted, by its organization's retention when it ended; null: by the setting.
  expires_at       INTEGER
);
-- An outcome is in the first of these, or in the other two. Each condition is written so that no other one follows from
-- it: a statement that names it has one index to choose, also when PostgreSQL has old statistics.
CREATE INDEX outcome_finished ON outcome (finished_at) WHERE expires_at IS NULL;
CREATE INDEX outcome_kept ON outcome (finished_at) WHERE coalesce(expires_at, 0) > 0;
CREATE INDEX outcome_expires ON outcome (expires_at) WHERE expires_at >= 0;
CREATE INDEX outcome_listed ON outcome (organization_id, status, task_id);
CREATE INDEX outcome_failure_group ON outcome (organization_id, failure_group, task_id) WHERE failure_group IS NOT NULL;

-- An attempt that did not complete its task, written when its lease ends. place is starts modulo the number of rows that
-- are kept of each task, so a newer row replaces the oldest. number is the attempt's; one that was handed back does not
-- count, so the next one has the same number. worker: the name of its session, null if that is gone. due_at: when the
-- next attempt may start, after a pause.
CREATE TABLE attempt (
  organization_id INTEGER NOT NULL,
  task_id         TEXT NOT NULL,
  place           INTEGER NOT NULL,
  starts          INTEGER NOT NULL,
  number          INTEGER NOT NULL,
  lease_id        TEXT NOT NULL,
  started_at      INTEGER NOT NULL,
  ended_at        INTEGER NOT NULL,
  ending          TEXT NOT NULL,
  -- What its organization may see.
  code            TEXT,
  message         TEXT,
  -- For operators alone.
  cause           TEXT,
  worker          TEXT,
  due_at          INTEGER,
  slot_wait_ms    INTEGER NOT NULL,
  worker_wait_ms  INTEGER NOT NULL,
  PRIMARY KEY (organization_id, task_id, place)
) WITHOUT ROWID;

-- A call and, once status is set, how it ended. ready: it waits for a free place of a worker. due_at: it pauses until
-- then. canceled: its caller no longer waits. Deleted when its caller has the answer.
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

-- Bulks: one request to run again, or to cancel, all tasks that a filter chooses.

-- A bulk and how far it is. organization_id 0: the tasks of all organizations. chosen is the filter and skipped the
-- number of skipped tasks by reason, both as JSON. actor: the operator that began it; null: the organization itself.
CREATE TABLE bulk (
  id              TEXT PRIMARY KEY,
  organization_id INTEGER NOT NULL,
  kind            TEXT NOT NULL,
  state           TEXT NOT NULL,
  chosen          TEXT NOT NULL,
  idempotency_key TEXT,
  actor           TEXT,
  matched         INTEGER NOT NULL,
  done            INTEGER NOT NULL,
  skipped         TEXT NOT NULL,
  began_at        INTEGER NOT NULL,
  ended_at        INTEGER
);
CREATE INDEX bulk_organization ON bulk (organization_id, id);
CREATE INDEX bulk_state ON bulk (state, organization_id, id);
CREATE INDEX bulk_key ON bulk (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX bulk_ended ON bulk (ended_at) WHERE ended_at IS NOT NULL;

-- What a running bulk still has to do in one organization: the tasks below before_seq, in the order of acceptance, that
-- are behind a place of its walk; null: the beginning. held_by says what it waits for.
CREATE TABLE bulk_part (
  bulk_id         TEXT NOT NULL,
  organization_id INTEGER NOT NULL,
  before_seq      INTEGER NOT NULL,
  place           TEXT,
  held_by         TEXT,
  PRIMARY KEY (bulk_id, organization_id)
) WITHOUT ROWID;
CREATE INDEX bulk_part_organization ON bulk_part (organization_id);

-- The order of claims.

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

-- An organization that can start work of this type now. kind 0: tasks. kind 1: calls that wait for a free place; they
-- have their slots.
CREATE TABLE turn (
  task_type       TEXT NOT NULL,
  kind            INTEGER NOT NULL,
  virtual_time    INTEGER NOT NULL,
  organization_id INTEGER NOT NULL,
  PRIMARY KEY (task_type, kind, virtual_time, organization_id)
) WITHOUT ROWID;

-- How many of a task type may run at once across all organizations. Locked by each transaction that starts one.
CREATE TABLE type_limit (
  task_type TEXT PRIMARY KEY,
  most      INTEGER NOT NULL
);

-- A live process: a worker, or a server, which serves no types. dead is one-way.
CREATE TABLE session (
  id          TEXT PRIMARY KEY,
  name        TEXT NOT NULL,
  types       TEXT NOT NULL,
  places      INTEGER NOT NULL,
  local       INTEGER NOT NULL,
  lease_ms    INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  dead        INTEGER NOT NULL DEFAULT 0,
  started_at  INTEGER NOT NULL,
  -- The worker key that opened it; null: the server's own socket.
  key_id      TEXT,
  -- 1: an operator wants it to take no more tasks, and to end after those that it runs.
  draining    INTEGER NOT NULL DEFAULT 0,
  -- The release of fairlane that it runs, or empty if it told none.
  version     TEXT NOT NULL DEFAULT '',
  -- The supervisor that started it and the number of its last report of failed starts, which was written before the
  -- worker registered; empty and 0 if it told none.
  supervisor  TEXT NOT NULL DEFAULT '',
  reports     INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX session_supervisor ON session (supervisor) WHERE supervisor <> '';
CREATE INDEX session_key ON session (key_id) WHERE key_id IS NOT NULL;

-- An application of which no worker can start on a machine: why, since when, and how often it was tried. key_id: the
-- worker key of the supervisor that reported it, or empty: a server's own workers. supervisor and report: the one that
-- was counted last, and the number of its report.
CREATE TABLE failed_start (
  key_id      TEXT NOT NULL,
  host        TEXT NOT NULL,
  application TEXT NOT NULL,
  cause       TEXT NOT NULL,
  version     TEXT NOT NULL,
  failures    INTEGER NOT NULL,
  first_at    INTEGER NOT NULL,
  last_at     INTEGER NOT NULL,
  supervisor  TEXT NOT NULL,
  report      INTEGER NOT NULL,
  PRIMARY KEY (key_id, host, application)
) WITHOUT ROWID;

-- Webhooks and alerts.

-- A message owed, and what became of it. due_at: when it is tried next; null: final, delivered or given up. While a try
-- runs, claimed_until is set and due_at equals it, so that the message is due again if its server dies.
CREATE TABLE delivery (
  id              TEXT NOT NULL UNIQUE,
  organization_id INTEGER NOT NULL,
  -- The task whose outcome it tells; null: a test, or the message of an alert, which is tried as often as an outcome.
  task_id         TEXT,
  url             TEXT NOT NULL,
  host            TEXT NOT NULL,
  body            TEXT,
  tries           INTEGER NOT NULL DEFAULT 0,
  due_at          INTEGER,
  claimed_until   INTEGER,
  delivered_at    INTEGER,
  created_at      INTEGER NOT NULL,
  alert_id        TEXT
);
CREATE UNIQUE INDEX delivery_task ON delivery (task_id) WHERE task_id IS NOT NULL;
CREATE INDEX delivery_test ON delivery (created_at) WHERE task_id IS NULL;
CREATE INDEX delivery_organization ON delivery (organization_id, id);
-- These have only open deliveries: to find the next due one, to step from host to host, to find each organization's
-- earliest in one step, and to count open tests.
CREATE INDEX delivery_due ON delivery (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_open ON delivery (organization_id, host, due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_turn ON delivery (organization_id, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX delivery_open_test ON delivery (organization_id)
  WHERE due_at IS NOT NULL AND task_id IS NULL AND alert_id IS NULL;

-- One try of a delivery. error is a class; cause is for operators alone. answer: how the body of the receiver's answer
-- begins; null: none came, or it is not text. asked_ms: the receiver's Retry-After, if the next try waits for it.
CREATE TABLE delivery_try (
  delivery_id TEXT NOT NULL,
  number      INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  http_status INTEGER,
  error       TEXT,
  took_ms     INTEGER NOT NULL,
  cause       TEXT,
  answer      TEXT,
  asked_ms    INTEGER,
  PRIMARY KEY (delivery_id, number)
) WITHOUT ROWID;

-- The tries at one host and port for one organization, and in the row with organization_id 0 for all of them. The row of
-- an organization with the empty host has its tries at all hosts. day: days since 1970 of the newest try; tries and
-- failed are of that day, the next two of the day before. failing_since: the first failure after the last success; null:
-- the last try delivered. last_error is a class, as in delivery_try.
CREATE TABLE webhook_host (
  organization_id INTEGER NOT NULL,
  host            TEXT NOT NULL,
  day             INTEGER NOT NULL,
  tries           INTEGER NOT NULL,
  failed          INTEGER NOT NULL,
  tries_before    INTEGER NOT NULL,
  failed_before   INTEGER NOT NULL,
  failed_in_row   INTEGER NOT NULL,
  failing_since   INTEGER,
  last_at         INTEGER NOT NULL,
  last_status     INTEGER,
  last_error      TEXT,
  last_ms         INTEGER NOT NULL,
  PRIMARY KEY (organization_id, host)
) WITHOUT ROWID;
-- To find the organizations of a host, what fails longest, and old rows.
CREATE INDEX webhook_host_owners ON webhook_host (host, organization_id);
CREATE INDEX webhook_host_failing ON webhook_host (organization_id, failing_since) WHERE failing_since IS NOT NULL;
CREATE INDEX webhook_host_day ON webhook_host (day);

-- Signs an organization's webhooks: as text, or sealed with the operator's key. expires_at null: the newest.
CREATE TABLE webhook_secret (
  id              TEXT PRIMARY KEY,
  organization_id INTEGER NOT NULL REFERENCES organization (id),
  secret          TEXT NOT NULL,
  last4           TEXT NOT NULL,
  created_at      INTEGER NOT NULL,
  expires_at      INTEGER
);
CREATE INDEX webhook_secret_organization ON webhook_secret (organization_id);

-- A rule of an organization. firing: its last message said that it fires. since: the moment from which the value has
-- been on the other side of the threshold than its last message said; null: it is not.
CREATE TABLE alert (
  id              TEXT PRIMARY KEY,
  organization_id INTEGER NOT NULL,
  kind            TEXT NOT NULL,
  threshold       REAL NOT NULL,
  for_ms          INTEGER NOT NULL,
  url             TEXT NOT NULL,
  host            TEXT NOT NULL,
  firing          INTEGER NOT NULL DEFAULT 0,
  since           INTEGER,
  changed_at      INTEGER,
  created_at      INTEGER NOT NULL
);
CREATE INDEX alert_organization ON alert (organization_id, id);

-- History.

-- The running totals and integrals of an organization at one moment of a minute. A span is a difference of two rows, so
-- a missing row loses only detail. waits: how long tasks waited for their first start, [[bucket, count], …], cumulative.
CREATE TABLE usage (
  organization_id   INTEGER NOT NULL,
  minute            INTEGER NOT NULL,
  at                INTEGER NOT NULL,
  submitted         INTEGER NOT NULL,
  started           INTEGER NOT NULL,
  completed         INTEGER NOT NULL,
  failed            INTEGER NOT NULL,
  run_ms            INTEGER NOT NULL,
  slot_ms           INTEGER NOT NULL,
  plan_limited_ms   INTEGER NOT NULL,
  worker_limited_ms INTEGER NOT NULL,
  waits             TEXT NOT NULL,
  PRIMARY KEY (organization_id, minute)
) WITHOUT ROWID;
CREATE INDEX usage_minute ON usage (minute);

-- What one sample of a server added of one type in a minute: attempts, ended tasks, and how long tasks waited and attempts
-- ran, [[bucket, count], …]. organization_id 0: of all organizations together.
CREATE TABLE type_usage (
  organization_id INTEGER NOT NULL,
  minute          INTEGER NOT NULL,
  task_type       TEXT NOT NULL,
  sample_id       TEXT NOT NULL,
  started         INTEGER NOT NULL,
  completed       INTEGER NOT NULL,
  failed          INTEGER NOT NULL,
  waits           TEXT NOT NULL,
  runs            TEXT NOT NULL,
  PRIMARY KEY (organization_id, minute, task_type, sample_id)
) WITHOUT ROWID;
CREATE INDEX type_usage_minute ON type_usage (minute);

-- An organization's running sums when a month turned, and when a server noticed that.
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

-- The whole installation as one server saw it in one minute: sums and running totals of all organizations, what this
-- server started in the minute, and how long that had waited, [[bucket, count], …].
CREATE TABLE pulse (
  minute      INTEGER NOT NULL,
  server_id   TEXT NOT NULL,
  at          INTEGER NOT NULL,
  queued      INTEGER NOT NULL,
  used        INTEGER NOT NULL,
  slots_max   INTEGER NOT NULL,
  places      INTEGER NOT NULL,
  places_used INTEGER NOT NULL,
  submitted   INTEGER NOT NULL,
  completed   INTEGER NOT NULL,
  failed      INTEGER NOT NULL,
  started     INTEGER NOT NULL,
  waits       TEXT NOT NULL,
  PRIMARY KEY (minute, server_id)
) WITHOUT ROWID;

-- The failures of an organization with one cause in one hour. hour: hours since 1970. failures: tasks that ended;
-- retried: attempts that another one followed. What the failures have in common is repeated in each row, so that counting
-- is one statement; it is empty where it is not known. task_id: a sample, the newest task.
CREATE TABLE failure_hour (
  organization_id INTEGER NOT NULL,
  hour            INTEGER NOT NULL,
  group_id        TEXT NOT NULL,
  task_type       TEXT NOT NULL,
  code            TEXT NOT NULL,
  ending          TEXT NOT NULL,
  -- The class of the exception, the innermost function of the application, and its line when it was last seen.
  exception       TEXT NOT NULL,
  place           TEXT NOT NULL,
  line            INTEGER NOT NULL,
  failures        INTEGER NOT NULL,
  retried         INTEGER NOT NULL,
  first_at        INTEGER NOT NULL,
  last_at         INTEGER NOT NULL,
  task_id         TEXT NOT NULL,
  PRIMARY KEY (organization_id, hour, group_id)
) WITHOUT ROWID;
CREATE INDEX failure_hour_hour ON failure_hour (hour);

-- [postgres] Rows that are updated in place keep room for it on their page, so that no index is touched.
ALTER TABLE request_count SET (fillfactor = 50);
ALTER TABLE last_commit SET (fillfactor = 50);
ALTER TABLE organization SET (fillfactor = 50);
ALTER TABLE lane SET (fillfactor = 50);
ALTER TABLE session SET (fillfactor = 50);
ALTER TABLE delivery SET (fillfactor = 70);
ALTER TABLE call SET (fillfactor = 70);

-- [postgres] The rows of these tables are replaced all the time: dead rows are vacuumed early and without a pause.
ALTER TABLE organization
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE last_commit
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE lane
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE session
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE queue_entry
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE waiting
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE lease
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE turn
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE delivery
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE call
  SET (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0);
