-- name: lock_holds
SELECT request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, draws,
  budget_month, epoch, started_at
FROM open_hold WHERE request_id IN (:ids...) ORDER BY request_id FOR UPDATE;

-- name: holds_of
SELECT request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, draws,
  budget_month, epoch, started_at
FROM open_hold WHERE epoch = :epoch ORDER BY request_id;

-- name: some_holds_of
SELECT request_id, watermark FROM open_hold WHERE epoch = :epoch AND request_id > :after ORDER BY request_id LIMIT :limit;

-- name: extend_hold
UPDATE open_hold SET output_bound = :output_bound, amount = :amount, legs = :legs, draws = :draws WHERE request_id = :request_id;

-- name: flush
UPDATE open_hold SET watermark = :watermark WHERE request_id = :request_id AND epoch = :epoch;

-- name: flush @postgresql
UPDATE open_hold SET watermark = v.watermark FROM unnest(:request_id..., :watermark..., :epoch...) AS v (request_id, watermark, epoch)
WHERE open_hold.request_id = v.request_id AND open_hold.epoch = v.epoch;

-- name: delete_holds
DELETE FROM open_hold WHERE request_id IN (:ids...);

-- name: lock_budgets
SELECT key_id, month, held, spent FROM budget WHERE key_id IN (:keys...) AND month IN (:months...)
ORDER BY key_id, month FOR UPDATE;

-- name: set_budget
UPDATE budget SET held = :held, spent = :spent WHERE key_id = :key_id AND month = :month;

-- name: set_budget @postgresql
UPDATE budget SET held = v.held, spent = v.spent FROM unnest(:key_id..., :month..., :held..., :spent...) AS v (key_id, month, held, spent)
WHERE budget.key_id = v.key_id AND budget.month = v.month;

-- name: open_budget
INSERT INTO budget (key_id, month) VALUES (:key_id, :month) ON CONFLICT (key_id, month) DO NOTHING;

-- name: lock_buckets
SELECT key_id, name, level, at FROM bucket WHERE key_id IN (:keys...) ORDER BY key_id, name FOR UPDATE;

-- name: open_bucket
INSERT INTO bucket (key_id, name, level, at) VALUES (:key_id, :name, :level, :at) ON CONFLICT (key_id, name) DO NOTHING;

-- name: set_bucket
UPDATE bucket SET level = :level, at = :at WHERE key_id = :key_id AND name = :name;

-- name: set_bucket @postgresql
UPDATE bucket SET level = v.level, at = v.at FROM unnest(:key_id..., :name..., :level..., :at...) AS v (key_id, name, level, at)
WHERE bucket.key_id = v.key_id AND bucket.name = v.name;

-- name: slices
-- Everybody's leases of these tenants; the free part of others' is what it was at this moment.
SELECT l.account, l.epoch, l.tenant_id, l.currency, l.origin, l.priority, l.expires_at, l.used_at, l.recalled,
  a.credits_posted - a.debits_posted - a.debits_pending
FROM lease AS l JOIN account AS a ON a.id = l.account
WHERE l.tenant_id IN (:tenants...) ORDER BY l.priority, l.expires_at, l.account;

-- name: slices_of
SELECT l.account, l.epoch, l.tenant_id, l.currency, l.origin, l.priority, l.expires_at, l.used_at, l.recalled,
  a.credits_posted - a.debits_posted - a.debits_pending
FROM lease AS l JOIN account AS a ON a.id = l.account
WHERE l.epoch IN (:epochs...) ORDER BY l.account;

-- name: set_slice
INSERT INTO lease (account, epoch, tenant_id, currency, origin, priority, expires_at, used_at, recalled)
VALUES (:account, :epoch, :tenant_id, :currency, :origin, :priority, :expires_at, :used_at, :recalled)
ON CONFLICT (account) DO UPDATE SET used_at = excluded.used_at,
  recalled = CASE WHEN excluded.recalled = 1 THEN 1 ELSE lease.recalled END;

-- name: recall
UPDATE lease SET recalled = 1 WHERE account = :account;

-- name: delete_slices
DELETE FROM lease WHERE account IN (:accounts...);

-- name: waive
-- What was recorded for release in all; the late part of it is what the usage row neither billed nor waived.
INSERT INTO waiver (request_id, recorded, at) VALUES (:request_id, :recorded, :at)
ON CONFLICT (request_id) DO UPDATE SET recorded = excluded.recorded WHERE excluded.recorded > waiver.recorded;
