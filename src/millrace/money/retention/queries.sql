-- name: exports
SELECT seq_lo, seq_hi, file, sha256, size, requests, tokens, waived, amounts, finished_lo, finished_hi, exported_at
FROM export ORDER BY seq_lo;

-- name: end_of_range
SELECT MAX(seq) FROM (SELECT seq FROM usage WHERE seq >= :seq_lo AND seq <= :closed ORDER BY seq LIMIT :rows) AS part;

-- name: next_seq
SELECT COALESCE(MAX(seq_hi), 0) + 1 FROM export;

-- name: rows
-- What a row was when it was written; on which invoice it is may change, so that is not part of it.
SELECT seq, request_id, tenant_id, project_id, key_id, model, status, counted_by, input, cached_input, output, reasoning, waived,
  price_id, tier, amount, currency, epoch, started_at, finished_at
FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi ORDER BY seq LIMIT :rows;

-- name: record
-- Only behind the last one: of two that exported the same rows, one is refused.
INSERT INTO export (seq_lo, seq_hi, file, sha256, size, requests, tokens, waived, amounts, finished_lo, finished_hi, exported_at)
SELECT :seq_lo, :seq_hi, :file, :sha256, :size, :requests, :tokens, :waived, :amounts, :finished_lo, :finished_hi, :exported_at
WHERE :seq_lo = (SELECT COALESCE(MAX(seq_hi), 0) + 1 FROM export);

-- name: drops
SELECT seq_lo, dropped_to FROM dropped_range ORDER BY seq_lo;

-- name: last_seq
SELECT COALESCE(MAX(seq), 0) FROM usage;

-- name: not_settled
-- What is still to be invoiced. The conditions are the partial index's, and those of the invoice.
SELECT request_id FROM usage
WHERE seq >= :seq_lo AND seq <= :seq_hi AND invoice_id IS NULL AND input + output > 0
LIMIT 1;

-- name: begin_drop
INSERT INTO dropped_range (seq_lo, seq_hi, dropped_to, at) VALUES (:seq_lo, :seq_hi, :seq_lo - 1, :at);

-- name: end_of_drop
SELECT MAX(seq) FROM (SELECT seq FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi ORDER BY seq LIMIT :rows) AS part;

-- name: lock_invoices
-- An invoice is not voided while its usage goes.
SELECT id FROM invoice WHERE id IN (SELECT invoice_id FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi)
ORDER BY id FOR UPDATE;

-- name: archive
INSERT INTO archived (request_id, seq_lo, tenant_id, invoice_id)
SELECT request_id, :range_lo, tenant_id, invoice_id FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi;

-- name: add_sums
INSERT INTO dropped_usage (day, tenant_id, key_id, started_day, model, price_id, tier, currency, invoice_id, requests, input,
  cached_input, output, reasoning, waived, amount)
SELECT finished_at / 86400000000000, tenant_id, key_id, started_at / 86400000000000, model, price_id, tier, currency,
  COALESCE(invoice_id, ''), COUNT(*), SUM(input), SUM(cached_input), SUM(output), SUM(reasoning), SUM(waived), SUM(amount)
FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
ON CONFLICT (tenant_id, day, key_id, started_day, model, price_id, tier, currency, invoice_id) DO UPDATE SET
  requests = dropped_usage.requests + excluded.requests, input = dropped_usage.input + excluded.input,
  cached_input = dropped_usage.cached_input + excluded.cached_input, output = dropped_usage.output + excluded.output,
  reasoning = dropped_usage.reasoning + excluded.reasoning, waived = dropped_usage.waived + excluded.waived,
  amount = dropped_usage.amount + excluded.amount;

-- name: delete
DELETE FROM usage WHERE seq >= :seq_lo AND seq <= :seq_hi;

-- name: move_drop
UPDATE dropped_range SET dropped_to = :upto WHERE seq_lo = :seq_lo AND dropped_to = :after;

-- name: archived
SELECT a.tenant_id, e.file FROM archived AS a JOIN export AS e ON e.seq_lo = a.seq_lo WHERE a.request_id = :request_id;
