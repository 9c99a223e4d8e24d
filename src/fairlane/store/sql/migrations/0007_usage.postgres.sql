-- History: the running totals and integrals of an organization, as they stood at one moment of a minute. What happened
-- in between is a subtraction, so a row that is missing loses nothing but detail. waits: how long tasks waited for their
-- first start, [[bucket, count], …], cumulative like everything else.
CREATE TABLE usage (
  organization_id   BIGINT NOT NULL,
  minute            BIGINT NOT NULL,
  at                BIGINT NOT NULL,
  submitted         BIGINT NOT NULL,
  started           BIGINT NOT NULL,
  completed         BIGINT NOT NULL,
  failed            BIGINT NOT NULL,
  run_ms            BIGINT NOT NULL,
  slot_ms           BIGINT NOT NULL,
  plan_limited_ms   BIGINT NOT NULL,
  worker_limited_ms BIGINT NOT NULL,
  waits             TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (organization_id, minute)
);
CREATE INDEX usage_minute ON usage (minute);

-- Where history starts for those who are there already.
INSERT INTO usage
  (organization_id, minute, at, submitted, started, completed, failed, run_ms, slot_ms, plan_limited_ms,
   worker_limited_ms, waits)
SELECT id, integrals_at / 60000, integrals_at, submitted, 0, completed, failed, 0, slot_ms, plan_limited_ms,
       worker_limited_ms, '[]'
FROM organization;

-- What the handler of a running attempt last said of its progress: JSON, gone with the lease.
ALTER TABLE lease ADD COLUMN progress TEXT COLLATE "C";
