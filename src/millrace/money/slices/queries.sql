-- name: of_tenants
-- Everybody's leases of these tenants; the free part of others' is what it was at this moment.
SELECT l.account, l.epoch, l.tenant_id, l.currency, l.origin, l.priority, l.expires_at, l.used_at, l.recalled,
  a.credits_posted - a.debits_posted - a.debits_pending
FROM lease AS l JOIN account AS a ON a.id = l.account
WHERE l.tenant_id IN (:tenants...) ORDER BY l.priority, l.expires_at, l.account;

-- name: of_epochs
SELECT l.account, l.epoch, l.tenant_id, l.currency, l.origin, l.priority, l.expires_at, l.used_at, l.recalled,
  a.credits_posted - a.debits_posted - a.debits_pending
FROM lease AS l JOIN account AS a ON a.id = l.account
WHERE l.epoch IN (:epochs...) ORDER BY l.account;

-- name: save
INSERT INTO lease (account, epoch, tenant_id, currency, origin, priority, expires_at, used_at, recalled)
VALUES (:account, :epoch, :tenant_id, :currency, :origin, :priority, :expires_at, :used_at, :recalled)
ON CONFLICT (account) DO UPDATE SET used_at = excluded.used_at,
  recalled = CASE WHEN excluded.recalled = 1 THEN 1 ELSE lease.recalled END;

-- name: recall
UPDATE lease SET recalled = 1 WHERE account = :account;

-- name: close
DELETE FROM lease WHERE account IN (:accounts...);
