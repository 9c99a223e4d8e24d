-- The secrets that sign an organization's webhooks.

-- name: insert_webhook_secret
-- Insert a secret.
INSERT INTO webhook_secret (id, organization_id, secret, last4, created_at)
VALUES (:id, :organization_id, :secret, :last4, :now);

-- name: find_signing_secrets
-- Find an organization's valid secrets, newest first, by webhook_secret_organization.
SELECT secret
FROM webhook_secret
WHERE organization_id = :organization_id
  AND (expires_at IS NULL OR expires_at > :now)
ORDER BY id DESC;

-- name: find_webhook_secrets
-- Find valid secrets with their organization, newest first: those of an organization, or one by id.
SELECT s.id, o.name AS organization, s.last4, s.created_at, s.expires_at
FROM webhook_secret AS s
JOIN organization AS o ON o.id = s.organization_id
WHERE (CAST(:organization_id AS BIGINT) IS NULL OR s.organization_id = :organization_id)
  AND (CAST(:id AS TEXT) IS NULL OR s.id = :id)
  AND (s.expires_at IS NULL OR s.expires_at > :now)
ORDER BY s.id DESC;

-- name: find_sealed_secrets
-- Find all valid secrets; reads the whole table.
SELECT secret
FROM webhook_secret
WHERE expires_at IS NULL OR expires_at > :now;

-- name: expire_webhook_secrets
-- Limit the validity of an organization's secrets to the overlap, by webhook_secret_organization; a secret that ends
-- sooner stays as it is.
UPDATE webhook_secret
SET expires_at = CASE WHEN expires_at < :until THEN expires_at ELSE :until END
WHERE organization_id = :organization_id;

-- name: keep_newest_webhook_secret
-- Make an organization's newest valid secret permanent, by webhook_secret_organization.
UPDATE webhook_secret
SET expires_at = NULL
WHERE id = (SELECT max(id) FROM webhook_secret WHERE organization_id = :organization_id AND expires_at > :now);

-- name: delete_webhook_secrets [sqlite]
-- Delete these secrets.
DELETE FROM webhook_secret
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: delete_webhook_secrets [postgres]
-- The same; the set is passed as arrays.
DELETE FROM webhook_secret
WHERE id = ANY (:ids[text]);

-- name: delete_expired_webhook_secrets
-- Delete expired secrets; reads the whole table.
DELETE FROM webhook_secret
WHERE expires_at <= :now
RETURNING id;
