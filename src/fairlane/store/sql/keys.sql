-- Keys: only their digests are stored.

-- name: find_caller
-- Find the organization of a working key, by the unique index of digests.
SELECT k.id AS key_id, k.organization_id, o.rate_limit
FROM api_key AS k
JOIN organization AS o ON o.id = k.organization_id
WHERE k.digest = :digest
  AND k.revoked_at IS NULL
  AND o.disabled = 0;

-- name: insert_key
-- Insert an organization's key; no row if its digest exists.
INSERT INTO api_key (id, organization_id, name, digest, last4, created_at)
VALUES (:id, :organization_id, :name, :digest, :last4, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: find_keys
-- Find the keys of one organization, oldest first, by api_key_organization.
SELECT id, (SELECT name FROM organization AS o WHERE o.id = k.organization_id) AS organization, name, last4, created_at,
       revoked_at
FROM api_key AS k
WHERE organization_id = :organization_id
ORDER BY created_at, id;

-- name: find_key
-- Find one key of an organization.
SELECT id, (SELECT name FROM organization AS o WHERE o.id = k.organization_id) AS organization, name, last4, created_at,
       revoked_at
FROM api_key AS k
WHERE id = :id;

-- name: revoke_key
-- Revoke an organization's key; a second time changes nothing.
UPDATE api_key
SET revoked_at = coalesce(revoked_at, :now)
WHERE id = :id
RETURNING id;

-- name: insert_installation_key
-- Insert a worker or admin key; no row if its digest exists.
INSERT INTO installation_key (id, kind, name, digest, last4, created_at)
VALUES (:id, :kind, :name, :digest, :last4, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: find_holder
-- Find the holder of a working worker or admin key, by the unique index of digests.
SELECT id AS key_id, kind, name
FROM installation_key
WHERE digest = :digest
  AND revoked_at IS NULL;

-- name: find_installation_keys
-- Find worker and admin keys, oldest first: all, those of a kind, or one by id. Reads the whole table, which is small.
SELECT id, kind, name, last4, created_at, revoked_at
FROM installation_key
WHERE (CAST(:kind AS TEXT) IS NULL OR kind = :kind)
  AND (CAST(:id AS TEXT) IS NULL OR id = :id)
ORDER BY created_at, id;

-- name: revoke_installation_key
-- Revoke a worker or admin key; a second time changes nothing.
UPDATE installation_key
SET revoked_at = coalesce(revoked_at, :now)
WHERE id = :id
RETURNING id;
