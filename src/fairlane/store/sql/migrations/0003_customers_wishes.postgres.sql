-- What customers may wish beside the bare task: an end before its time, a start later, another go, a list.

-- When the organization asked for the end of what this lease runs; null: it did not. The wish lives here, so that every
-- server can tell the worker of it, and whoever ends the lease knows how.
ALTER TABLE lease ADD COLUMN canceled_at BIGINT;
CREATE INDEX lease_canceled ON lease (session_id) WHERE canceled_at IS NOT NULL;

-- The moment before which it must not start, and the failed task that it repeats; null: none.
ALTER TABLE task ADD COLUMN run_at BIGINT;
ALTER TABLE task ADD COLUMN retry_of TEXT COLLATE "C";

-- For lists. Completed tasks are found by walking their organization's tasks: an index that is led by the organization
-- would make every outcome touch a page of its own, and most outcomes are completions.
CREATE INDEX waiting_seq ON waiting (organization_id, seq);
CREATE INDEX outcome_failed ON outcome (organization_id, task_id) WHERE status = 'FAILED';
