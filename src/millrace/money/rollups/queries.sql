-- A bucket is a quarter of an hour: 900,000,000,000 ns; 96 of them are a UTC day.

-- name: horizon
-- The last number that is given out, and a mark by which `closed` can tell that all up to it are there. SQLite has one
-- writer, which gives out numbers in the order of its commits, so what is seen is closed.
SELECT COALESCE(MAX(seq), 0), 0 FROM usage;

-- name: horizon @postgresql
-- Whoever was given a number up to this one had begun before: the number of its transaction is below the mark.
SELECT COALESCE(MAX(seq), 0), CAST(CAST(pg_snapshot_xmax(pg_current_snapshot()) AS TEXT) AS BIGINT) FROM usage;

-- name: closed
SELECT :mark = 0;

-- name: closed @postgresql
-- Every transaction below the mark has ended.
SELECT CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT) >= :mark;

-- name: cursor
SELECT seq FROM rollup_cursor;

-- name: begin_cursor
INSERT INTO rollup_cursor (one, seq) VALUES (1, 0) ON CONFLICT (one) DO NOTHING;

-- name: move_cursor
UPDATE rollup_cursor SET seq = :upto WHERE seq = :after;

-- name: end_of_step
SELECT MAX(seq) FROM (SELECT seq FROM usage WHERE seq > :after AND seq <= :closed ORDER BY seq LIMIT :rows) AS step;

-- name: add
INSERT INTO rollup (tenant_id, bucket, key_id, model, price_id, tier, currency, requests, input, cached_input, output, reasoning,
  waived, units, nano)
SELECT tenant_id, finished_at / 900000000000, key_id, model, price_id, tier, currency, COUNT(*), SUM(input), SUM(cached_input),
  SUM(output), SUM(reasoning), SUM(waived), SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage WHERE seq > :after AND seq <= :upto
GROUP BY 1, 2, 3, 4, 5, 6, 7
ON CONFLICT (tenant_id, bucket, key_id, model, price_id, tier, currency) DO UPDATE SET
  requests = rollup.requests + excluded.requests, input = rollup.input + excluded.input,
  cached_input = rollup.cached_input + excluded.cached_input, output = rollup.output + excluded.output,
  reasoning = rollup.reasoning + excluded.reasoning, waived = rollup.waived + excluded.waived,
  units = rollup.units + excluded.units, nano = rollup.nano + excluded.nano;

-- name: sums
-- Whole buckets from the roll-up, what lies before and after them and what is not rolled up yet from the rows: each once.
-- `by` chooses the key; the number of rows that are not rolled up is small, so they are found by their own number.
SELECT CASE :by WHEN 'model' THEN model WHEN 'key' THEN key_id ELSE CAST(bucket / 96 AS TEXT) END AS name, currency,
  SUM(requests), SUM(input), SUM(cached_input), SUM(output), SUM(reasoning), SUM(waived), SUM(units), SUM(nano)
FROM (
  SELECT bucket, key_id, model, currency, requests, input, cached_input, output, reasoning, waived, units, nano
  FROM rollup WHERE tenant_id = :tenant_id AND bucket >= :first AND bucket < :last
  UNION ALL
  SELECT finished_at / 900000000000, key_id, model, currency, 1, input, cached_input, output, reasoning, waived,
    amount / 1000000000, amount % 1000000000
  FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :start AND finished_at < :head AND seq <= :cursor
  UNION ALL
  SELECT finished_at / 900000000000, key_id, model, currency, 1, input, cached_input, output, reasoning, waived,
    amount / 1000000000, amount % 1000000000
  FROM usage WHERE tenant_id = :tenant_id AND finished_at >= :tail AND finished_at < :end AND seq <= :cursor
  UNION ALL
  SELECT finished_at / 900000000000, key_id, model, currency, 1, input, cached_input, output, reasoning, waived,
    amount / 1000000000, amount % 1000000000
  FROM usage WHERE tenant_id || '' = :tenant_id AND finished_at >= :start AND finished_at < :end AND seq > :cursor
) AS part
GROUP BY 1, currency ORDER BY 1, currency;

-- name: served
SELECT model, SUM(requests) FROM (
  SELECT model, requests FROM rollup UNION ALL SELECT model, 1 FROM usage WHERE seq > :cursor
) AS part
GROUP BY model;

-- name: dropped_to
-- Up to when rows were deleted: what finished by then is known by the quarter of an hour only.
SELECT COALESCE(MAX(e.finished_hi), -1) FROM dropped_range AS d JOIN export AS e ON e.seq_lo = d.seq_lo;
