-- Alerts: what an organization wants to be told of. firing: its receivers were told so. since: since when the value
-- has been on the other side of the threshold than what they were told; null: it is not.
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

-- Set for what an alert says: unlike a test event it is tried as often as a task's outcome.
ALTER TABLE delivery ADD COLUMN alert_id TEXT;
