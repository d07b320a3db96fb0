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
UPDATE open_hold SET output_bound = :output_bound, amount = :amount, legs = :legs, draws = :draws
WHERE request_id = :request_id;

-- name: flush
UPDATE open_hold SET watermark = :watermark WHERE request_id = :request_id AND epoch = :epoch;

-- name: flush @postgresql
UPDATE open_hold SET watermark = v.watermark
FROM unnest(:request_id...::text[], :watermark...::bytea[], :epoch...::bigint[]) AS v (request_id, watermark, epoch)
WHERE open_hold.request_id = v.request_id AND open_hold.epoch = v.epoch;

-- name: delete_holds
DELETE FROM open_hold WHERE request_id IN (:ids...);

-- name: waive
-- What was recorded for release in all; the late part of it is what the usage row neither billed nor waived.
INSERT INTO waiver (request_id, recorded, at) VALUES (:request_id, :recorded, :at)
ON CONFLICT (request_id) DO UPDATE SET recorded = excluded.recorded WHERE excluded.recorded > waiver.recorded;
