-- Organizations: limits, flags, live counts, lanes and turns.

-- name: lock_organizations [sqlite] packed
-- Read the rows that this transaction may change. SQLite has one writer, so reading is locking.
SELECT json_group_array(json_array(
         id, name, slots_max, queue_limit, weight, priority_limit, task_types, retention_seconds, paused, disabled,
         next_seq, queued, ready, processing, calls, calls_ready,
         virtual_time, submitted, completed, failed, slot_ms, plan_limited_ms, worker_limited_ms, integrals_at,
         credits_on, credits_granted, credits_charged, credits_held, credits_wanted))
FROM organization
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: lock_organizations [postgres]
-- Lock organizations, always in id order, so that no two transactions wait for each other. A row that was waited for is
-- read again; rows of other tables must be read in a later statement.
SELECT id, name, slots_max, queue_limit, weight, priority_limit, task_types, retention_seconds, paused, disabled,
       next_seq, queued, ready, processing, calls, calls_ready,
       virtual_time, submitted, completed, failed, slot_ms, plan_limited_ms, worker_limited_ms, integrals_at,
       credits_on, credits_granted, credits_charged, credits_held, credits_wanted
FROM organization
WHERE id = ANY (:ids[bigint])
ORDER BY id
FOR NO KEY UPDATE;

-- name: lock_further_organizations [sqlite] packed
-- Read more organizations in a transaction that has locked some already.
SELECT json_group_array(json_array(
         id, name, slots_max, queue_limit, weight, priority_limit, task_types, retention_seconds, paused, disabled,
         next_seq, queued, ready, processing, calls, calls_ready,
         virtual_time, submitted, completed, failed, slot_ms, plan_limited_ms, worker_limited_ms, integrals_at,
         credits_on, credits_granted, credits_charged, credits_held, credits_wanted))
FROM organization
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: lock_further_organizations [postgres]
-- Lock more of them, skipping those that another server holds: a transaction with locks waits for none.
SELECT id, name, slots_max, queue_limit, weight, priority_limit, task_types, retention_seconds, paused, disabled,
       next_seq, queued, ready, processing, calls, calls_ready,
       virtual_time, submitted, completed, failed, slot_ms, plan_limited_ms, worker_limited_ms, integrals_at,
       credits_on, credits_granted, credits_charged, credits_held, credits_wanted
FROM organization
WHERE id = ANY (:ids[bigint])
ORDER BY id
FOR NO KEY UPDATE SKIP LOCKED;

-- name: find_lanes [sqlite] packed
-- Find the lanes of these organizations.
SELECT json_group_array(json_array(organization_id, task_type, rank, ready, waiting, head_seq))
FROM lane
WHERE organization_id IN (SELECT value FROM json_each(:ids));

-- name: find_lanes [postgres]
-- The same; the set is passed as arrays.
SELECT organization_id, task_type, rank, ready, waiting, head_seq
FROM lane
WHERE organization_id = ANY (:ids[bigint]);

-- name: update_organizations [sqlite]
-- Write the counts of these organizations.
WITH e AS MATERIALIZED (SELECT jsonb(value) AS row FROM json_each(:organizations))
UPDATE organization
SET next_seq = e.row ->> 1,
    queued = e.row ->> 2,
    ready = e.row ->> 3,
    processing = e.row ->> 4,
    calls = e.row ->> 5,
    calls_ready = e.row ->> 6,
    virtual_time = e.row ->> 7,
    submitted = e.row ->> 8,
    completed = e.row ->> 9,
    failed = e.row ->> 10,
    slot_ms = e.row ->> 11,
    plan_limited_ms = e.row ->> 12,
    worker_limited_ms = e.row ->> 13,
    integrals_at = e.row ->> 14,
    credits_granted = e.row ->> 15,
    credits_charged = e.row ->> 16,
    credits_held = e.row ->> 17,
    credits_wanted = e.row ->> 18
FROM e
WHERE organization.id = e.row ->> 0;

-- name: update_organizations [postgres]
-- The same; the set is passed as arrays.
UPDATE organization AS o
SET next_seq = e.next_seq,
    queued = e.queued,
    ready = e.ready,
    processing = e.processing,
    calls = e.calls,
    calls_ready = e.calls_ready,
    virtual_time = e.virtual_time,
    submitted = e.submitted,
    completed = e.completed,
    failed = e.failed,
    slot_ms = e.slot_ms,
    plan_limited_ms = e.plan_limited_ms,
    worker_limited_ms = e.worker_limited_ms,
    integrals_at = e.integrals_at,
    credits_granted = e.credits_granted,
    credits_charged = e.credits_charged,
    credits_held = e.credits_held,
    credits_wanted = e.credits_wanted
FROM unnest(:organizations[bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint,
                           bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint])
     AS e (id, next_seq, queued, ready, processing, calls, calls_ready, virtual_time, submitted, completed, failed,
           slot_ms, plan_limited_ms, worker_limited_ms, integrals_at, credits_granted, credits_charged, credits_held,
           credits_wanted)
WHERE o.id = e.id;

-- name: upsert_lanes [sqlite]
-- Write these lanes.
INSERT INTO lane (organization_id, task_type, rank, ready, waiting, head_seq)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
FROM json_each(:lanes)
WHERE true
ON CONFLICT (organization_id, task_type, rank) DO UPDATE
SET ready = excluded.ready,
    waiting = excluded.waiting,
    head_seq = excluded.head_seq;

-- name: upsert_lanes [postgres]
-- The same; the set is passed as arrays.
INSERT INTO lane (organization_id, task_type, rank, ready, waiting, head_seq)
SELECT organization_id, task_type, rank, ready, waiting, head_seq
FROM unnest(:lanes[bigint, text, bigint, bigint, bigint, bigint])
     AS e (organization_id, task_type, rank, ready, waiting, head_seq)
ON CONFLICT (organization_id, task_type, rank) DO UPDATE
SET ready = excluded.ready,
    waiting = excluded.waiting,
    head_seq = excluded.head_seq;

-- name: delete_turns [sqlite]
-- Delete these turns.
DELETE FROM turn
WHERE (task_type, kind, virtual_time, organization_id) IN
      (SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:turns));

-- name: delete_turns [postgres]
-- The same; the set is passed as arrays.
DELETE FROM turn AS t
USING unnest(:turns[text, bigint, bigint, bigint]) AS e (task_type, kind, virtual_time, organization_id)
WHERE t.task_type = e.task_type
  AND t.kind = e.kind
  AND t.virtual_time = e.virtual_time
  AND t.organization_id = e.organization_id;

-- name: insert_turns [sqlite]
-- Insert these turns.
INSERT INTO turn (task_type, kind, virtual_time, organization_id)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3
FROM json_each(:turns);

-- name: insert_turns [postgres]
-- The same; the set is passed as arrays.
INSERT INTO turn (task_type, kind, virtual_time, organization_id)
SELECT task_type, kind, virtual_time, organization_id
FROM unnest(:turns[text, bigint, bigint, bigint]) AS e (task_type, kind, virtual_time, organization_id);

-- name: find_turns [sqlite] packed
-- For each of these (type, kind) find the ids of the organizations next in turn, at most :most. A full type has no
-- turns for tasks (kind 0); its leases are counted by lease_limited.
SELECT json_group_array(json_array(json((
         SELECT json_group_array(organization_id)
         FROM (SELECT organization_id
               FROM turn
               WHERE task_type = t.value ->> 0
                 AND kind = t.value ->> 1
               ORDER BY virtual_time, organization_id
               LIMIT :most)))))
FROM json_each(:kinds) AS t
WHERE t.value ->> 1 = 1
   OR NOT EXISTS (SELECT 1
                  FROM type_limit AS m
                  WHERE m.task_type = t.value ->> 0
                    AND m.most <= (SELECT count(*) FROM lease WHERE limited = 1 AND task_type = m.task_type));

-- name: find_turns [postgres]
-- The same; the set is passed as arrays.
SELECT ARRAY(SELECT organization_id
             FROM turn
             WHERE task_type = e.task_type
               AND kind = e.kind
             ORDER BY virtual_time, organization_id
             LIMIT :most) AS organizations
FROM unnest(:kinds[text, bigint]) AS e (task_type, kind)
WHERE e.kind = 1
   OR NOT EXISTS (SELECT 1
                  FROM type_limit AS m
                  WHERE m.task_type = e.task_type
                    AND m.most <= (SELECT count(*) FROM lease WHERE limited = 1 AND task_type = m.task_type));

-- name: find_virtual_time
-- Find the virtual time of service so far: that of the next turn, or else the highest of all organizations.
SELECT coalesce((SELECT min(virtual_time) FROM turn), (SELECT max(virtual_time) FROM organization), 0);

-- name: find_shared_virtual_time
-- Read the virtual time that servers share.
SELECT virtual_time
FROM installation;

-- name: share_virtual_time
-- Raise the virtual time that servers share.
UPDATE installation
SET virtual_time = :virtual_time
WHERE virtual_time < :virtual_time;

-- name: take_organization_id
-- Take the next id, which is never used twice, even after an organization was erased. Transactions that take ids wait
-- for each other.
UPDATE installation
SET last_organization_id = 1 + CASE
      WHEN last_organization_id > coalesce((SELECT max(id) FROM organization), 0) THEN last_organization_id
      ELSE coalesce((SELECT max(id) FROM organization), 0)
    END
RETURNING last_organization_id;

-- name: insert_organization
-- Insert an organization on a plan.
INSERT INTO organization
  (id, name, plan, slots_override, queue_limit_override, weight_override, priority_limit_override, task_types_override,
   monthly_credits_override, rate_limit_override, retention_seconds_override,
   slots_max, queue_limit, weight, priority_limit, task_types, monthly_credits, rate_limit, retention_seconds,
   integrals_at, created_at, credits_on)
SELECT :id, :name, p.name, :slots, :queue_limit, :weight, :priority_limit, :task_types, :monthly_credits, :rate_limit,
       :retention_seconds,
       coalesce(:slots, p.slots), coalesce(:queue_limit, p.queue_limit), coalesce(:weight, p.weight),
       coalesce(:priority_limit, p.priority_limit), coalesce(:task_types, p.task_types),
       coalesce(:monthly_credits, p.monthly_credits), coalesce(:rate_limit, p.rate_limit),
       coalesce(:retention_seconds, p.retention_seconds), :now, :now, :credits
FROM plan AS p
WHERE p.name = :plan
RETURNING id;

-- name: find_organizations
-- Find one organization by name, or those after a name, with names from :least and before :beyond, by the unique index
-- of names. For the oldest ready task see find_busiest.
SELECT o.id, o.name, o.plan, o.slots_max, o.queue_limit, o.weight, o.paused, o.disabled, o.maintenance, o.drifted,
       o.queued, o.processing, o.submitted, o.completed, o.failed, o.created_at,
       o.slots_override, o.queue_limit_override, o.weight_override, o.priority_limit, o.task_types,
       o.priority_limit_override, o.task_types_override, o.monthly_credits, o.monthly_credits_override,
       o.rate_limit, o.rate_limit_override,
       o.retention_seconds, o.retention_seconds_override,
       o.credits_on, o.credits_granted, o.credits_charged, o.credits_held, o.erasing, o.calls,
       (SELECT min((SELECT CASE WHEN t.run_at > t.created_at THEN t.run_at ELSE t.created_at END
                    FROM task AS t
                    WHERE t.organization_id = l.organization_id
                      AND t.id = (SELECT q.task_id
                                  FROM queue_entry AS q
                                  WHERE q.organization_id = l.organization_id AND q.task_type = l.task_type AND q.rank = l.rank
                                    AND q.seq >= l.head_seq
                                  ORDER BY q.seq
                                  LIMIT 1)))
        FROM lane AS l
        WHERE l.organization_id = o.id
          AND l.ready > 0) AS oldest_ready_at
FROM organization AS o
WHERE (CAST(:name AS TEXT) IS NULL OR o.name = :name)
  AND o.name > :after
  AND o.name >= :least
  AND o.name < :beyond
ORDER BY o.name
LIMIT :most;

-- name: find_organization_id
-- Find an organization's id, by the unique index of names.
SELECT id
FROM organization
WHERE name = :name;

-- name: find_organization_name
-- Find an organization's name.
SELECT name
FROM organization
WHERE id = :id;

-- name: update_limits
-- Write an organization's plan and overrides, and the effective limits that follow from them.
UPDATE organization
SET plan = p.name,
    slots_override = :slots,
    queue_limit_override = :queue_limit,
    weight_override = :weight,
    priority_limit_override = :priority_limit,
    task_types_override = :task_types,
    monthly_credits_override = :monthly_credits,
    rate_limit_override = :rate_limit,
    retention_seconds_override = :retention_seconds,
    slots_max = coalesce(:slots, p.slots),
    queue_limit = coalesce(:queue_limit, p.queue_limit),
    weight = coalesce(:weight, p.weight),
    priority_limit = coalesce(:priority_limit, p.priority_limit),
    task_types = coalesce(:task_types, p.task_types),
    monthly_credits = coalesce(:monthly_credits, p.monthly_credits),
    rate_limit = coalesce(:rate_limit, p.rate_limit),
    retention_seconds = coalesce(:retention_seconds, p.retention_seconds)
FROM plan AS p
WHERE organization.id = :id
  AND p.name = :plan;

-- name: update_flags
-- Write an organization's flags.
UPDATE organization
SET paused = :paused,
    disabled = :disabled,
    maintenance = :maintenance,
    credits_on = :credits
WHERE id = :id;

-- name: update_drifted [sqlite]
-- Set whether these organizations' counts were found to differ.
UPDATE organization
SET drifted = :drifted
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: update_drifted [postgres]
-- The same; the set is passed as arrays.
UPDATE organization
SET drifted = :drifted
WHERE id = ANY (:ids[bigint]);

-- name: find_plan_organizations
-- Find the next organizations on a plan, by organization_plan.
SELECT id
FROM organization
WHERE plan = :plan
  AND id > :after
ORDER BY id
LIMIT :most;

-- name: refresh_limits [sqlite]
-- Write the effective limits of these organizations after a change of their plan.
UPDATE organization
SET slots_max = coalesce(slots_override, p.slots),
    queue_limit = coalesce(queue_limit_override, p.queue_limit),
    weight = coalesce(weight_override, p.weight),
    priority_limit = coalesce(priority_limit_override, p.priority_limit),
    task_types = coalesce(task_types_override, p.task_types),
    monthly_credits = coalesce(monthly_credits_override, p.monthly_credits),
    rate_limit = coalesce(rate_limit_override, p.rate_limit),
    retention_seconds = coalesce(retention_seconds_override, p.retention_seconds)
FROM plan AS p
WHERE organization.id IN (SELECT value FROM json_each(:ids))
  AND p.name = organization.plan;

-- name: refresh_limits [postgres]
-- The same; the set is passed as arrays.
UPDATE organization AS o
SET slots_max = coalesce(o.slots_override, p.slots),
    queue_limit = coalesce(o.queue_limit_override, p.queue_limit),
    weight = coalesce(o.weight_override, p.weight),
    priority_limit = coalesce(o.priority_limit_override, p.priority_limit),
    task_types = coalesce(o.task_types_override, p.task_types),
    monthly_credits = coalesce(o.monthly_credits_override, p.monthly_credits),
    rate_limit = coalesce(o.rate_limit_override, p.rate_limit),
    retention_seconds = coalesce(o.retention_seconds_override, p.retention_seconds)
FROM plan AS p
WHERE o.id = ANY (:ids[bigint])
  AND p.name = o.plan;
