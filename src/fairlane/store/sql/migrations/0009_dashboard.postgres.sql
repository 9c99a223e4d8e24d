-- What signs the dashboard's session cookies; made by the first server that needs it, shared by all on this database.
ALTER TABLE installation ADD COLUMN dashboard_secret TEXT COLLATE "C";
