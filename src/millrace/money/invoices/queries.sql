-- name: currencies
-- In which currencies a tenant has usage that is on no invoice. The last condition is the partial index's.
SELECT DISTINCT currency FROM usage
WHERE tenant_id = :tenant_id AND finished_at < :end AND invoice_id IS NULL AND input + output > 0
ORDER BY currency;

-- name: claim
-- First claimed, then summed: what is summed is what was claimed, whoever else writes meanwhile.
UPDATE usage SET invoice_id = :invoice_id
WHERE tenant_id = :tenant_id AND currency = :currency AND finished_at < :end
  AND invoice_id IS NULL AND input + output > 0;

-- name: groups
-- By UTC day, since months have no arithmetic in SQL; amounts in two halves, since their sum may not fit 64 bits.
SELECT finished_at / 86400000000000, model, price_id, tier, COUNT(*), SUM(input), SUM(cached_input), SUM(output),
  SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage WHERE invoice_id = :invoice_id
GROUP BY 1, model, price_id, tier;

-- name: charged
-- What the settled requests charged to one account: the posted legs of their holds are '<request_id>/1/end' and so on,
-- and '0' is the character after '/'.
SELECT COALESCE(SUM(t.amount / 1000000000), 0), COALESCE(SUM(t.amount % 1000000000), 0)
FROM usage u JOIN transfer t ON t.id > u.request_id || '/' AND t.id < u.request_id || '0'
WHERE u.invoice_id = :invoice_id AND t.kind = 'post' AND t.debit_account = :account;

-- name: archived_groups
-- Of requests whose usage rows are archived.
SELECT day, model, price_id, tier, SUM(requests), SUM(input), SUM(cached_input), SUM(output), SUM(amount / 1000000000),
  SUM(amount % 1000000000)
FROM dropped_usage WHERE invoice_id = :invoice_id
GROUP BY 1, model, price_id, tier;

-- name: archived_charged
SELECT COALESCE(SUM(t.amount / 1000000000), 0), COALESCE(SUM(t.amount % 1000000000), 0)
FROM archived a JOIN transfer t ON t.id > a.request_id || '/' AND t.id < a.request_id || '0'
WHERE a.invoice_id = :invoice_id AND t.kind = 'post' AND t.debit_account = :account;

-- name: lock
SELECT id FROM invoice WHERE id = :invoice_id FOR UPDATE;

-- name: is_archived
SELECT 1 FROM dropped_usage WHERE invoice_id = :invoice_id LIMIT 1;

-- name: next_number
INSERT INTO counter (name, value) VALUES (:name, 1) ON CONFLICT (name) DO UPDATE SET value = counter.value + 1
RETURNING value;

-- name: insert
INSERT INTO invoice (id, number, tenant_id, period, currency, total, document, sha256, issued_at)
VALUES (:id, :number, :tenant_id, :period, :currency, :total, :document, :sha256, :issued_at);

-- name: by_id_or_number
SELECT i.document, i.sha256, v.reason, v.at
FROM invoice i LEFT JOIN invoice_void v ON v.invoice_id = i.id
WHERE i.id = :name OR i.number = :name;

-- name: of_period
SELECT i.document, i.sha256, v.reason, v.at
FROM invoice i LEFT JOIN invoice_void v ON v.invoice_id = i.id
WHERE i.tenant_id = :tenant_id AND i.period = :period AND v.at IS NULL
ORDER BY i.number;

-- name: all
SELECT i.document, i.sha256, v.reason, v.at
FROM invoice i LEFT JOIN invoice_void v ON v.invoice_id = i.id
ORDER BY i.number;

-- name: issued
SELECT i.id, i.number, i.tenant_id, i.period, i.currency, i.total, i.document, i.sha256, i.issued_at, v.at
FROM invoice i LEFT JOIN invoice_void v ON v.invoice_id = i.id
WHERE i.number > :after ORDER BY i.number LIMIT :limit;

-- name: free
UPDATE usage SET invoice_id = NULL WHERE invoice_id = :invoice_id;

-- name: insert_void
INSERT INTO invoice_void (invoice_id, reason, at) VALUES (:invoice_id, :reason, :at);

-- name: strays
-- Usage on an invoice that is not there, is void, or is another tenant's or currency's.
SELECT u.request_id, u.invoice_id
FROM usage u LEFT JOIN invoice i ON i.id = u.invoice_id LEFT JOIN invoice_void v ON v.invoice_id = u.invoice_id
WHERE u.invoice_id IS NOT NULL
  AND (i.id IS NULL OR v.at IS NOT NULL OR i.tenant_id <> u.tenant_id OR i.currency <> u.currency)
ORDER BY u.seq LIMIT :limit;

-- name: invoiced_count
SELECT COUNT(*) FROM usage WHERE invoice_id IS NOT NULL;

-- name: transfers
SELECT id, debit_account, credit_account, amount FROM transfer
WHERE id > :invoice_id || '/' AND id < :invoice_id || '0'
ORDER BY id;

-- name: counters
SELECT name, value FROM counter WHERE name LIKE 'invoice/%' ORDER BY name;
