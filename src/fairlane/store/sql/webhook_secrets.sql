-- The secrets that sign an organization's webhooks.

-- name: insert_webhook_secret
INSERT INTO webhook_secret (id, organization_id, secret, last4, created_at)
VALUES (:id, :organization_id, :secret, :last4, :now);

-- name: find_signing_secrets
-- What counts now, newest first.
SELECT secret
FROM webhook_secret
WHERE organization_id = :organization_id
  AND (expires_at IS NULL OR expires_at > :now)
ORDER BY id DESC;

-- name: find_webhook_secrets
SELECT s.id, o.name, s.last4, s.created_at, s.expires_at
FROM webhook_secret AS s
JOIN organization AS o ON o.id = s.organization_id
WHERE (CAST(:organization_id AS BIGINT) IS NULL OR s.organization_id = :organization_id)
  AND (CAST(:id AS TEXT) IS NULL OR s.id = :id)
  AND (s.expires_at IS NULL OR s.expires_at > :now)
ORDER BY s.id DESC;

-- name: find_sealed_secrets
SELECT secret
FROM webhook_secret
WHERE expires_at IS NULL OR expires_at > :now;

-- name: expire_webhook_secrets
-- The overlap of the secrets that are no longer the newest; one that ends sooner already stays as it is.
UPDATE webhook_secret
SET expires_at = CASE WHEN expires_at < :until THEN expires_at ELSE :until END
WHERE organization_id = :organization_id;

-- name: keep_newest_webhook_secret
-- Whatever is the newest now does not end.
UPDATE webhook_secret
SET expires_at = NULL
WHERE id = (SELECT max(id) FROM webhook_secret WHERE organization_id = :organization_id AND expires_at > :now);

-- name: delete_webhook_secrets [sqlite]
DELETE FROM webhook_secret
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delete_webhook_secrets [postgres]
DELETE FROM webhook_secret
WHERE id = ANY (:ids[text]);

-- name: delete_expired_webhook_secrets
DELETE FROM webhook_secret
WHERE expires_at <= :now
RETURNING id;
