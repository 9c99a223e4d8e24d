-- Ended tasks by how they ended, newest first, for lists and for advice on capacity: walking the organization's tasks
-- for them costs as much as it has queued. In place of the index for failed ones alone.
CREATE INDEX outcome_listed ON outcome (organization_id, status, task_id);
DROP INDEX outcome_failed;

-- Test events that wait are counted with each new one; deliveries of tasks may be many.
CREATE INDEX delivery_open_test ON delivery (organization_id)
  WHERE due_at IS NOT NULL AND task_id IS NULL AND alert_id IS NULL;
