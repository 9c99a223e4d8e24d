-- How far service has come at any server: each writes down its own virtual time and takes up what others wrote.
ALTER TABLE installation ADD COLUMN virtual_time BIGINT NOT NULL DEFAULT 0;
