-- name: lock_budgets
SELECT key_id, month, held, spent FROM budget WHERE key_id IN (:keys...) AND month IN (:months...)
ORDER BY key_id, month FOR UPDATE;

-- name: set_budget
UPDATE budget SET held = :held, spent = :spent WHERE key_id = :key_id AND month = :month;

-- name: set_budget @postgresql
UPDATE budget SET held = v.held, spent = v.spent
FROM unnest(:key_id...::text[], :month...::text[], :held...::bigint[], :spent...::bigint[]) AS v (key_id, month, held, spent)
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
UPDATE bucket SET level = v.level, at = v.at
FROM unnest(:key_id...::text[], :name...::text[], :level...::bigint[], :at...::bigint[]) AS v (key_id, name, level, at)
WHERE bucket.key_id = v.key_id AND bucket.name = v.name;
