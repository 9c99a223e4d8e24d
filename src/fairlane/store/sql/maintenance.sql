-- Maintenance of the whole installation.

-- name: find_maintenance
-- Read whether the installation is under maintenance.
SELECT maintenance
FROM installation;

-- name: update_maintenance
-- Set whether the installation is under maintenance.
UPDATE installation
SET maintenance = :maintenance;
