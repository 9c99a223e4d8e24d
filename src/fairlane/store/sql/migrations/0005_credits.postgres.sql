-- Credits: what operators granted, what finished work was charged, what running work holds.

-- The balance is granted - charged. held is the sum of the costs of the organization's leases, whether its credits are
-- counted (credits_on) or not, so that switching needs no recount. credits_wanted: the cost of the task that waits until
-- so much of the balance is not held; 0: none waits.
ALTER TABLE organization ADD COLUMN credits_on BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN credits_granted BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN credits_charged BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN credits_held BIGINT NOT NULL DEFAULT 0;
ALTER TABLE organization ADD COLUMN credits_wanted BIGINT NOT NULL DEFAULT 0;
UPDATE organization
SET credits_held = coalesce((SELECT sum(cost) FROM lease WHERE lease.organization_id = organization.id), 0);

-- Insert-only. The id is the operator's, so that a grant whose answer was lost can be sent again.
CREATE TABLE credit_grant (
  organization_id BIGINT NOT NULL REFERENCES organization (id),
  id              TEXT COLLATE "C" NOT NULL,
  amount          BIGINT NOT NULL,
  reason          TEXT COLLATE "C" NOT NULL,
  actor           TEXT COLLATE "C" NOT NULL,
  created_at      BIGINT NOT NULL,
  PRIMARY KEY (organization_id, id)
);
CREATE INDEX credit_grant_created ON credit_grant (organization_id, created_at);
