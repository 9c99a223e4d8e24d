-- Sessions at the dashboard that were ended before their time. A session is a signed cookie, so its end has to be kept until
-- the cookie expires by itself. The id is in the cookie.
CREATE TABLE logout (
  id         TEXT PRIMARY KEY,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX logout_expires ON logout (expires_at);
