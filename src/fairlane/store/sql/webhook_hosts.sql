-- The hosts of webhooks: counts of tries, and what waits for a host.

-- name: count_tries [sqlite]
-- Add the tries of one transaction to the rows of their hosts, each with its last try.
INSERT INTO webhook_host
  (organization_id, host, day, tries, failed, tries_before, failed_before, failed_in_row, failing_since, last_at,
   last_status, last_error, last_ms)
SELECT value ->> 0, value ->> 1, :day, value ->> 2, value ->> 3, 0, 0, value ->> 4, value ->> 5, value ->> 6,
       value ->> 7, value ->> 8, value ->> 9
FROM json_each(:hosts)
WHERE true
ON CONFLICT (organization_id, host) DO UPDATE
SET day = max(webhook_host.day, excluded.day),
    tries_before = CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.tries_before
                        WHEN webhook_host.day = excluded.day - 1 THEN webhook_host.tries ELSE 0 END,
    failed_before = CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.failed_before
                         WHEN webhook_host.day = excluded.day - 1 THEN webhook_host.failed ELSE 0 END,
    tries = excluded.tries + CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.tries ELSE 0 END,
    failed = excluded.failed + CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.failed ELSE 0 END,
    failed_in_row = excluded.failed_in_row
                    + CASE WHEN excluded.failed_in_row = excluded.tries THEN webhook_host.failed_in_row ELSE 0 END,
    failing_since = CASE WHEN excluded.failed_in_row = excluded.tries
                         THEN coalesce(webhook_host.failing_since, excluded.failing_since)
                         ELSE excluded.failing_since END,
    last_at = excluded.last_at, last_status = excluded.last_status, last_error = excluded.last_error,
    last_ms = excluded.last_ms;

-- name: count_tries [postgres]
-- The same, in the order of the keys, so that two servers add one after the other.
INSERT INTO webhook_host
  (organization_id, host, day, tries, failed, tries_before, failed_before, failed_in_row, failing_since, last_at,
   last_status, last_error, last_ms)
SELECT organization_id, host, :day, tries, failed, 0, 0, failed_in_row, failing_since, last_at, last_status, last_error,
       last_ms
FROM unnest(:hosts[bigint, text, bigint, bigint, bigint, bigint, bigint, bigint, text, bigint])
     AS e (organization_id, host, tries, failed, failed_in_row, failing_since, last_at, last_status, last_error, last_ms)
ORDER BY organization_id, host
ON CONFLICT (organization_id, host) DO UPDATE
SET day = greatest(webhook_host.day, excluded.day),
    tries_before = CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.tries_before
                        WHEN webhook_host.day = excluded.day - 1 THEN webhook_host.tries ELSE 0 END,
    failed_before = CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.failed_before
                         WHEN webhook_host.day = excluded.day - 1 THEN webhook_host.failed ELSE 0 END,
    tries = excluded.tries + CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.tries ELSE 0 END,
    failed = excluded.failed + CASE WHEN webhook_host.day >= excluded.day THEN webhook_host.failed ELSE 0 END,
    failed_in_row = excluded.failed_in_row
                    + CASE WHEN excluded.failed_in_row = excluded.tries THEN webhook_host.failed_in_row ELSE 0 END,
    failing_since = CASE WHEN excluded.failed_in_row = excluded.tries
                         THEN coalesce(webhook_host.failing_since, excluded.failing_since)
                         ELSE excluded.failing_since END,
    last_at = excluded.last_at, last_status = excluded.last_status, last_error = excluded.last_error,
    last_ms = excluded.last_ms;

-- name: find_failing_hosts
-- Find the hosts of an organization (0: all) whose last try failed, those that have failed longest first, by
-- webhook_host_failing.
SELECT host
FROM webhook_host
WHERE organization_id = :organization_id
  AND failing_since IS NOT NULL
  AND host <> ''
ORDER BY organization_id, failing_since
LIMIT :most;

-- name: find_named_hosts
-- Find the hosts of an organization (0: all) after a name, with names from :least and before :beyond.
SELECT host
FROM webhook_host
WHERE organization_id = :organization_id
  AND host > :after
  AND host >= :least
  AND host < :beyond
ORDER BY organization_id, host
LIMIT :most;

-- name: find_overdue_hosts
-- Find the organization and host of the deliveries that are due longest, by delivery_due.
SELECT organization_id, host, due_at
FROM delivery
WHERE due_at IS NOT NULL
  AND due_at < :before
ORDER BY due_at
LIMIT :most;

-- name: find_overdue_of_organization
-- Find the organization and host of an organization's deliveries that are due longest, by delivery_turn.
SELECT organization_id, host, due_at
FROM delivery
WHERE due_at IS NOT NULL
  AND organization_id = :organization_id
  AND due_at < :before
ORDER BY organization_id, due_at
LIMIT :most;

-- name: find_webhook_hosts [sqlite]
-- Find the rows of these (organization, host).
SELECT h.organization_id, h.host, h.day, h.tries, h.failed, h.tries_before, h.failed_before, h.failed_in_row,
       h.failing_since, h.last_at, h.last_status, h.last_error, h.last_ms
FROM json_each(:hosts) AS e
CROSS JOIN webhook_host AS h
WHERE h.organization_id = e.value ->> 0
  AND h.host = e.value ->> 1;

-- name: find_webhook_hosts [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT h.organization_id, h.host, h.day, h.tries, h.failed, h.tries_before, h.failed_before, h.failed_in_row,
       h.failing_since, h.last_at, h.last_status, h.last_error, h.last_ms
FROM unnest(:hosts[bigint, text]) AS e (organization_id, host)
CROSS JOIN LATERAL (SELECT organization_id, host, day, tries, failed, tries_before, failed_before, failed_in_row,
                           failing_since, last_at, last_status, last_error, last_ms
                    FROM webhook_host
                    WHERE organization_id = e.organization_id
                      AND host = e.host
                    LIMIT 1) AS h;

-- name: find_host_owners [sqlite]
-- Find up to :most organizations of each of these hosts, by webhook_host_owners.
SELECT h.organization_id, h.host
FROM json_each(:hosts) AS e
CROSS JOIN webhook_host AS h
WHERE h.host = e.value
  AND h.organization_id IN (SELECT organization_id
                            FROM webhook_host
                            WHERE host = e.value
                              AND organization_id > 0
                            ORDER BY host, organization_id
                            LIMIT :most);

-- name: find_host_owners [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT h.organization_id, h.host
FROM unnest(:hosts[text]) AS e (host)
CROSS JOIN LATERAL (SELECT organization_id, host
                    FROM webhook_host
                    WHERE host = e.host
                      AND organization_id > 0
                    ORDER BY host, organization_id
                    LIMIT :most) AS h;

-- name: find_owed [sqlite]
-- Find what these (organization, host) are owed: the name of the organization, the earliest moment, and up to :most
-- open deliveries, by delivery_open.
SELECT e.value ->> 0 AS organization_id, e.value ->> 1 AS host, o.name,
       (SELECT min(d.due_at) FROM delivery AS d
        WHERE d.organization_id = o.id AND d.host = e.value ->> 1 AND d.due_at IS NOT NULL) AS due_at,
       (SELECT count(*) FROM (SELECT 1 FROM delivery AS d
                              WHERE d.organization_id = o.id AND d.host = e.value ->> 1 AND d.due_at IS NOT NULL
                              LIMIT :most)) AS number
FROM json_each(:hosts) AS e
CROSS JOIN organization AS o
WHERE o.id = e.value ->> 0;

-- name: find_owed [postgres]
-- The same, with LATERAL for the reason given at find_task_facts.
SELECT e.organization_id, e.host, o.name, d.due_at, n.number
FROM unnest(:hosts[bigint, text]) AS e (organization_id, host)
CROSS JOIN LATERAL (SELECT name FROM organization WHERE id = e.organization_id LIMIT 1) AS o
LEFT JOIN LATERAL (SELECT due_at
                   FROM delivery
                   WHERE organization_id = e.organization_id
                     AND host = e.host
                     AND due_at IS NOT NULL
                   ORDER BY due_at, id
                   LIMIT 1) AS d ON true
CROSS JOIN LATERAL (SELECT count(*) AS number
                    FROM (SELECT 1
                          FROM delivery
                          WHERE organization_id = e.organization_id
                            AND host = e.host
                            AND due_at IS NOT NULL
                          ORDER BY due_at, id
                          LIMIT :most) AS open) AS n;

-- name: find_old_hosts
-- Find rows whose newest try was before this day, by webhook_host_day.
SELECT organization_id, host
FROM webhook_host
WHERE day < :before
ORDER BY day
LIMIT :most;

-- name: delete_hosts [sqlite]
-- Delete these rows.
DELETE FROM webhook_host
WHERE (organization_id, host) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:hosts));

-- name: delete_hosts [postgres]
-- The same; the set is passed as arrays.
DELETE FROM webhook_host AS h
USING unnest(:hosts[bigint, text]) AS e (organization_id, host)
WHERE h.organization_id = e.organization_id
  AND h.host = e.host;

-- name: erase_webhook_hosts
-- Delete up to :most rows of an organization.
DELETE FROM webhook_host
WHERE organization_id = :organization_id
  AND host IN (SELECT host FROM webhook_host WHERE organization_id = :organization_id ORDER BY host LIMIT :most)
RETURNING host;
