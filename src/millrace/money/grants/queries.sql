-- name: insert
INSERT INTO credit_grant (id, tenant_id, amount, currency, funding, priority, expires_at, idempotency_key, created_at)
VALUES (:id, :tenant_id, :amount, :currency, :funding, :priority, :expires_at, :idempotency_key, :created_at);

-- name: insert_live
INSERT INTO live_grant (tenant_id, currency, priority, expires_at, grant_id, account)
VALUES (:tenant_id, :currency, :priority, COALESCE(:expires_at, 9223372036854775807), :grant_id, :account);

-- name: delete_live
DELETE FROM live_grant WHERE account = :account AND tenant_id = :tenant_id;

-- name: delete_live @postgresql
DELETE FROM live_grant USING unnest(:account...::text[], :tenant_id...::text[]) AS v (account, tenant_id)
WHERE live_grant.account = v.account AND live_grant.tenant_id = v.tenant_id;

-- name: by_id
SELECT id, tenant_id, amount, currency, funding, priority, expires_at, idempotency_key, created_at
FROM credit_grant WHERE id = :id;

-- name: by_idempotency_key
SELECT id, tenant_id, amount, currency, funding, priority, expires_at, idempotency_key, created_at
FROM credit_grant WHERE tenant_id = :tenant_id AND idempotency_key = :idempotency_key;

-- name: of_tenant
SELECT id, tenant_id, amount, currency, funding, priority, expires_at, idempotency_key, created_at
FROM credit_grant WHERE tenant_id = :tenant_id ORDER BY id;

-- name: live
-- What holds of these tenants may draw on, the first few of each, in the order they are drawn: priority, then what expires first,
-- then age (ids sort by time). Nothing is locked: what is free may be less when it is.
SELECT g.tenant_id, g.currency, g.account, g.priority, g.expires_at,
  a.credits_posted - a.debits_posted - a.debits_pending, a.credits_posted - a.debits_posted
FROM (
  SELECT tenant_id, currency, account, priority, expires_at, grant_id,
    ROW_NUMBER() OVER (PARTITION BY tenant_id, currency ORDER BY priority, expires_at, grant_id) AS place
  FROM live_grant WHERE tenant_id IN (:tenants...) AND expires_at > :now
) AS g JOIN account AS a ON a.id = g.account
WHERE g.place <= :limit
ORDER BY g.tenant_id, g.currency, g.priority, g.expires_at, g.grant_id;

-- name: revive
-- A grant into which something came back is live again.
INSERT INTO live_grant (tenant_id, currency, priority, expires_at, grant_id, account)
SELECT tenant_id, currency, priority, COALESCE(expires_at, 9223372036854775807), id, :account FROM credit_grant WHERE id = :id
ON CONFLICT DO NOTHING;

-- name: standing
-- Of an expired grant only what running requests hold still counts, on both sides. Slices that servers hold are the tenant's.
SELECT CASE WHEN g.expires_at > :now THEN a.credits_posted - a.debits_posted ELSE a.debits_pending END, a.debits_pending
FROM live_grant AS g JOIN account AS a ON a.id = g.account
WHERE g.tenant_id = :tenant_id AND g.currency = :currency
UNION ALL
SELECT CASE WHEN l.expires_at > :now THEN a.credits_posted - a.debits_posted ELSE a.debits_pending END, a.debits_pending
FROM lease AS l JOIN account AS a ON a.id = l.account
WHERE l.tenant_id = :tenant_id AND l.currency = :currency;

-- name: expired
-- Those that something can be taken of, and those that are done with; one that running requests hold whole is left alone.
SELECT g.grant_id, g.tenant_id, c.currency, c.funding, a.id
FROM live_grant AS g JOIN credit_grant AS c ON c.id = g.grant_id JOIN account AS a ON a.id = g.account
WHERE g.expires_at <= :now
  AND (a.debits_pending = 0 OR a.credits_posted - a.debits_posted - a.debits_pending > 0)
LIMIT :limit;
