-- Alerts: what an organization wants to be told of. firing: its receivers were told so. since: since when the value
-- has been on the other side of the threshold than what they were told; null: it is not.
CREATE TABLE alert (
  id              TEXT COLLATE "C" PRIMARY KEY,
  organization_id BIGINT NOT NULL,
  kind            TEXT COLLATE "C" NOT NULL,
  threshold       DOUBLE PRECISION NOT NULL,
  for_ms          BIGINT NOT NULL,
  url             TEXT COLLATE "C" NOT NULL,
  host            TEXT COLLATE "C" NOT NULL,
  firing          BIGINT NOT NULL DEFAULT 0,
  since           BIGINT,
  changed_at      BIGINT,
  created_at      BIGINT NOT NULL
);
CREATE INDEX alert_organization ON alert (organization_id, id);

-- Set for what an alert says: unlike a test event it is tried as often as a task's outcome.
ALTER TABLE delivery ADD COLUMN alert_id TEXT COLLATE "C";
