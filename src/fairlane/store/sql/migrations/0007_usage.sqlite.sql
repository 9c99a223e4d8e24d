-- History: the running totals and integrals of an organization, as they stood at one moment of a minute. What happened
-- in between is a subtraction, so a row that is missing loses nothing but detail. waits: how long tasks waited for their
-- first start, [[bucket, count], …], cumulative like everything else.
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

-- Where history starts for those who are there already.
INSERT INTO usage
  (organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
   worker_limited_ms, waits)
SELECT id, integrals_at / 60000, integrals_at, submitted, 0, completed, failed, 0, slot_ms, plan_limited_ms,
       worker_limited_ms, '[]'
FROM organization;

-- What the handler of a running attempt last said of its progress: JSON, gone with the lease.
ALTER TABLE lease ADD COLUMN progress TEXT;
