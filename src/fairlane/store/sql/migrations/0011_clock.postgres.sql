-- How often the database's clock was set and leases were moved along, and the moment up to which a server saw it run
-- evenly. Whoever sees a jump compares both, so that it is applied once however many servers see it.
ALTER TABLE installation ADD COLUMN clock_jumps BIGINT NOT NULL DEFAULT 0;
ALTER TABLE installation ADD COLUMN clock_even_until BIGINT NOT NULL DEFAULT 0;
