-- name: by_request
SELECT request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input, output, reasoning, waived,
  price_id, tier, amount, currency, epoch, started_at, finished_at, invoice_id
FROM usage WHERE request_id = :request_id;

-- name: by_requests
SELECT request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input, output, reasoning, waived,
  price_id, tier, amount, currency, epoch, started_at, finished_at, invoice_id
FROM usage WHERE request_id IN (:ids...);

-- name: in_span
SELECT request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input, output, reasoning, waived,
  price_id, tier, amount, currency, epoch, started_at, finished_at, invoice_id
FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :start AND finished_at < :end ORDER BY seq;

-- name: sums_by_model
-- Amounts are summed in two halves: the sum of a large tenant's year does not fit 64 bits, Python puts them together.
SELECT model, currency, COUNT(*), SUM(input), SUM(cached_input), SUM(output), SUM(reasoning), SUM(waived),
  SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :start AND finished_at < :end
GROUP BY model, currency ORDER BY model, currency;

-- name: sums_by_key
SELECT key_id, currency, COUNT(*), SUM(input), SUM(cached_input), SUM(output), SUM(reasoning), SUM(waived),
  SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :start AND finished_at < :end
GROUP BY key_id, currency ORDER BY key_id, currency;

-- name: sums_by_day
-- A UTC day is 86,400,000,000,000 ns; the key is the number of days since the epoch.
SELECT finished_at / 86400000000000, currency, COUNT(*), SUM(input), SUM(cached_input), SUM(output), SUM(reasoning), SUM(waived),
  SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :start AND finished_at < :end
GROUP BY 1, currency ORDER BY 1, currency;

-- name: count_made
INSERT INTO engine_count (epoch, model, day, requests, input, output)
VALUES (:epoch, :model, :day, :requests, :input, :output)
ON CONFLICT (epoch, model, day) DO UPDATE SET
  requests = engine_count.requests + excluded.requests, input = engine_count.input + excluded.input,
  output = engine_count.output + excluded.output;
