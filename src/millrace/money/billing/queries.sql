-- name: insert_hold
-- One row, unless the request is held or settled already: an id is good for one hold.
INSERT INTO open_hold (request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency,
  legs, budget_month, epoch, started_at)
SELECT :request_id, :tenant_id, :project_id, :key_id, :model, :price_id, :input_bound, :output_bound, :amount, :currency,
  :legs, :budget_month, :epoch, :started_at
WHERE NOT EXISTS (SELECT 1 FROM usage WHERE request_id = :request_id)
ON CONFLICT DO NOTHING;

-- name: hold
SELECT request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, legs,
  budget_month, epoch, started_at
FROM open_hold WHERE request_id = :request_id;

-- name: holds_before
-- Holds of servers that are gone: this one has a later epoch.
SELECT request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, legs,
  budget_month, epoch, started_at
FROM open_hold WHERE epoch < :epoch ORDER BY request_id LIMIT :limit;

-- name: holds_of
SELECT request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, legs,
  budget_month, epoch, started_at
FROM open_hold WHERE epoch = :epoch;

-- name: extend_hold
UPDATE open_hold SET output_bound = :output_bound, amount = :amount, legs = :legs
WHERE request_id = :request_id AND legs = :legs_believed;

-- name: take_hold
-- The row as it was, once: whoever takes it resolves it, in the same transaction.
DELETE FROM open_hold WHERE request_id = :request_id
RETURNING request_id, tenant_id, project_id, key_id, model, price_id, input_bound, output_bound, amount, currency, legs,
  budget_month, epoch, started_at;

-- name: open_budget
INSERT INTO budget (key_id, month) VALUES (:key_id, :month) ON CONFLICT (key_id, month) DO NOTHING;

-- name: hold_budget
-- One row changes, or the key would go over its budget of the month.
UPDATE budget SET held = held + :amount
WHERE key_id = :key_id AND month = :month AND :amount <= :budget - held - spent;

-- name: budget_left
SELECT :budget - held - spent FROM budget WHERE key_id = :key_id AND month = :month;

-- name: settle_budget
UPDATE budget SET held = held - :held, spent = spent + :spent WHERE key_id = :key_id AND month = :month;

-- name: begin_epoch
INSERT INTO epoch (number, started_at) SELECT COALESCE(MAX(number), 0) + 1, :now FROM epoch RETURNING number;

-- name: end_epoch
-- One row changes, or something of the epoch is open yet.
UPDATE epoch SET ended_at = :now
WHERE number = :number AND NOT EXISTS (SELECT 1 FROM open_hold WHERE epoch = :number);
