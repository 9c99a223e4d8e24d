-- Keys: only their digests are here.

-- name: find_caller
-- Whom a working key speaks for.
SELECT k.id, k.organization_id
FROM api_key AS k
JOIN organization AS o ON o.id = k.organization_id
WHERE k.digest = :digest
  AND k.revoked_at IS NULL
  AND o.disabled = 0;

-- name: insert_key
INSERT INTO api_key (id, organization_id, name, digest, last4, created_at)
VALUES (:id, :organization_id, :name, :digest, :last4, :now)
ON CONFLICT DO NOTHING
RETURNING id;

-- name: find_keys
SELECT k.id, o.name, k.name, k.last4, k.created_at, k.revoked_at
FROM api_key AS k
JOIN organization AS o ON o.id = k.organization_id
WHERE (:organization_id IS NULL OR k.organization_id = :organization_id)
  AND (:id IS NULL OR k.id = :id)
ORDER BY k.created_at, k.id;

-- name: revoke_key
UPDATE api_key
SET revoked_at = coalesce(revoked_at, :now)
WHERE id = :id
RETURNING id;
