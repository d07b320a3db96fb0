-- Rows come in pages by a key, so that a snapshot and the memory of a page are small whatever the number of rows. A query that
-- returns a text returns the first disagreement, named with its ids; such queries read small tables.

-- name: ends
SELECT (SELECT COALESCE(MAX(seq), 0) FROM transfer), (SELECT COALESCE(MAX(seq), 0) FROM usage);

-- name: wait_briefly
SELECT 1;

-- name: wait_briefly @postgresql
-- While this waits for `transfer` it has `epoch`, and no server can renew its lease: less than a lease, and then again.
SELECT set_config('lock_timeout', '1000', true);

-- name: close_ranges
SELECT 1;

-- name: close_ranges @postgresql
-- Until this transaction ends nobody has rows under way: no sequence number below the last one appears any more. In the order
-- of everybody's locks; usage rows are only made by those that renewed their epoch in the same transaction.
LOCK TABLE epoch, transfer IN SHARE MODE;

-- name: transfers
SELECT seq, id, kind, debit_account, credit_account, amount, pending_id, at, chain, hash
FROM transfer WHERE seq > :after AND seq <= :until ORDER BY seq LIMIT :limit;

-- name: currencies
SELECT id, currency FROM account WHERE id IN (:ids...);

-- name: grantees
SELECT id, tenant_id FROM credit_grant WHERE id IN (:ids...);

-- name: usage
SELECT seq, request_id, tenant_id, key_id, model, input, cached_input, output, reasoning, price_id, tier, amount, currency,
  epoch, started_at
FROM usage WHERE seq > :after AND seq <= :until ORDER BY seq LIMIT :limit;

-- name: usage_of
SELECT seq, request_id, tenant_id, key_id, model, input, cached_input, output, reasoning, price_id, tier, amount, currency,
  epoch, started_at
FROM usage WHERE request_id IN (:ids...);

-- name: archived_of
SELECT request_id FROM archived WHERE request_id IN (:ids...);

-- name: dropped_to
SELECT COALESCE(MAX(dropped_to), 0), COUNT(*) FROM dropped_range;

-- name: dropped
-- In two halves, since a sum may not fit 64 bits.
SELECT tenant_id, key_id, currency, started_day, SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM dropped_usage GROUP BY tenant_id, key_id, currency, started_day;

-- name: usage_twice
SELECT 'request ' || request_id || ' has ' || COUNT(*) || ' usage rows'
FROM usage WHERE request_id IN (:ids...) GROUP BY request_id HAVING COUNT(*) > 1
LIMIT 1;

-- name: usage_without_post
-- Only asked when the numbers of both differ: it walks through every usage row. '0' is the character after '/'.
SELECT 'request ' || u.request_id || ' was charged ' || u.amount || ' and posted 0'
FROM usage AS u
WHERE u.seq > :after AND u.amount > 0 AND NOT EXISTS (
  SELECT 1 FROM transfer AS t
  WHERE t.id > u.request_id || '/' AND t.id < u.request_id || '0' AND t.kind = 'post' AND t.pending_id IS NOT NULL
)
LIMIT 1;

-- name: usage_and_hold
SELECT 'request ' || h.request_id || ' has a usage row and an open hold'
FROM open_hold AS h JOIN usage AS u ON u.request_id = h.request_id
LIMIT 1;

-- name: budgeted
SELECT DISTINCT key_id FROM budget UNION SELECT id FROM api_key WHERE budget IS NOT NULL;

-- name: accounts
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted
FROM account WHERE id > :after ORDER BY id LIMIT :limit;

-- name: holds
SELECT request_id, amount, currency, legs, draws FROM open_hold WHERE request_id > :after ORDER BY request_id LIMIT :limit;

-- name: chains
SELECT number, length, head FROM chain ORDER BY number;

-- name: epochs
SELECT number FROM epoch;

-- name: grants
SELECT g.id, g.amount, g.currency, a.currency, a.credits_posted - a.debits_posted, a.debits_pending
FROM credit_grant AS g LEFT JOIN account AS a ON a.id = 'grant/' || g.id
WHERE g.id > :after ORDER BY g.id LIMIT :limit;

-- name: budgets
SELECT key_id || '/' || month, key_id, month, held, spent FROM budget
WHERE key_id || '/' || month > :after ORDER BY key_id || '/' || month LIMIT :limit;

-- name: budget_holds
SELECT key_id, budget_month, amount FROM open_hold WHERE budget_month IS NOT NULL;

-- name: grant_without_transfer
SELECT 'grant ' || g.id || ' of ' || g.amount || ' was not booked by a transfer of its id'
FROM credit_grant AS g LEFT JOIN transfer AS t ON t.id = g.id
WHERE t.id IS NULL OR t.kind <> 'single' OR t.amount <> g.amount OR t.credit_account <> 'grant/' || g.id
LIMIT 1;

-- name: grant_forgotten
SELECT 'grant ' || g.id || ' has ' || (a.credits_posted - a.debits_posted) || ' left and is not among the live ones'
FROM credit_grant AS g JOIN account AS a ON a.id = 'grant/' || g.id
WHERE a.credits_posted > a.debits_posted AND NOT EXISTS (
  SELECT 1 FROM live_grant AS l
  WHERE l.tenant_id = g.tenant_id AND l.currency = g.currency AND l.priority = g.priority
    AND l.expires_at = COALESCE(g.expires_at, 9223372036854775807) AND l.grant_id = g.id AND l.account = a.id
)
LIMIT 1;

-- name: count_budgets
SELECT COUNT(*) FROM budget;

-- name: budget_exceeded
SELECT 'key ' || k.id || ' has a budget of ' || k.budget || ' and used ' || (b.spent + b.held) || ' of it in ' || b.month
FROM budget AS b JOIN api_key AS k ON k.id = b.key_id
WHERE k.budget IS NOT NULL AND b.spent > k.budget - b.held
LIMIT 1;

-- name: count_leases
SELECT COUNT(*) FROM lease;

-- name: lease_misnamed
SELECT 'lease ' || l.account || ' is of epoch ' || l.epoch || ' and of ' || l.origin
FROM lease AS l LEFT JOIN account AS a ON a.id = l.account
WHERE a.id IS NULL OR l.account <> 'lease/' || l.epoch || '/' || l.origin OR a.currency <> l.currency
LIMIT 1;

-- name: lease_forgotten
SELECT 'account ' || a.id || ' has ' || (a.credits_posted - a.debits_posted) || ' left and ' || a.debits_pending
  || ' held, and is no lease any more'
FROM account AS a
WHERE a.id >= 'lease/' AND a.id < 'lease0' AND (a.credits_posted <> a.debits_posted OR a.debits_pending <> 0)
  AND NOT EXISTS (SELECT 1 FROM lease AS l WHERE l.account = a.id)
LIMIT 1;

-- name: lease_of_the_ended
SELECT 'lease ' || l.account || ' of epoch ' || l.epoch || ', which has ended, has ' || (a.credits_posted - a.debits_posted)
  || ' left and ' || a.debits_pending || ' held'
FROM lease AS l JOIN epoch AS e ON e.number = l.epoch JOIN account AS a ON a.id = l.account
WHERE e.ended_at IS NOT NULL AND (a.credits_posted <> a.debits_posted OR a.debits_pending <> 0)
LIMIT 1;

-- name: count_spaces
SELECT COUNT(*) FROM idempotency_space;

-- name: space_differs
SELECT 'the idempotency keys of ' || tenant_id || ' of epoch ' || epoch || ' are ' || SUM(keys) || ' of ' || SUM(bytes)
  || ' bytes, and ' || SUM(keys_said) || ' of ' || SUM(bytes_said) || ' by the word of idempotency_space'
FROM (
  SELECT tenant_id, epoch, COUNT(*) AS keys, COALESCE(SUM(size), 0) AS bytes, 0 AS keys_said, 0 AS bytes_said
  FROM idempotency GROUP BY tenant_id, epoch
  UNION ALL
  SELECT tenant_id, epoch, 0, 0, keys, bytes FROM idempotency_space
) AS sums
GROUP BY tenant_id, epoch HAVING SUM(keys) <> SUM(keys_said) OR SUM(bytes) <> SUM(bytes_said)
LIMIT 1;

-- name: count_epochs
SELECT COUNT(*) FROM epoch;

-- name: hold_of_the_ended
SELECT 'epoch ' || h.epoch || ' has ended, and request ' || h.request_id || ' of it is open'
FROM open_hold AS h JOIN epoch AS e ON e.number = h.epoch
WHERE e.ended_at IS NOT NULL
LIMIT 1;

-- name: taken_by_a_stranger
-- Whether the taker was alive at that time cannot be told by these times: they are of a clock that may step back.
SELECT 'epoch ' || e.number || ' was taken over by epoch ' || e.taken_by || ', which ' || CASE
  WHEN t.number IS NULL THEN 'never was' ELSE 'is itself' END
FROM epoch AS e LEFT JOIN epoch AS t ON t.number = e.taken_by
WHERE e.taken_by IS NOT NULL AND (t.number IS NULL OR t.number = e.number)
LIMIT 1;

-- name: hold_of_no_epoch
SELECT 'request ' || h.request_id || ' was held by epoch ' || h.epoch || ', which never was'
FROM open_hold AS h WHERE NOT EXISTS (SELECT 1 FROM epoch AS e WHERE e.number = h.epoch)
LIMIT 1;

-- name: count_holds
SELECT COUNT(*) FROM open_hold;

-- name: count_waivers
SELECT COUNT(*) FROM waiver;

-- name: waiver_of_nothing
-- Whoever was paused may learn of it before its request is settled by another.
SELECT 'request ' || w.request_id || ' has a waiver, and neither a usage row nor an open hold'
FROM waiver AS w
WHERE NOT EXISTS (SELECT 1 FROM usage AS u WHERE u.request_id = w.request_id)
  AND NOT EXISTS (SELECT 1 FROM open_hold AS h WHERE h.request_id = w.request_id)
  AND NOT EXISTS (SELECT 1 FROM archived AS a WHERE a.request_id = w.request_id)
LIMIT 1;

-- name: count_buckets
SELECT COUNT(*) FROM bucket;

-- name: bucket_too_full
-- A level is units × milliseconds: a limit's minute is the limit × 60,000.
SELECT 'key ' || b.key_id || ' has ' || b.level || ' left of its ' || b.name || ', more than the '
  || (60000 * CASE b.name WHEN 'rpm' THEN k.rpm ELSE k.tpm END) || ' of a whole minute'
FROM bucket AS b JOIN api_key AS k ON k.id = b.key_id
WHERE b.level > 60000 * CASE b.name WHEN 'rpm' THEN k.rpm ELSE k.tpm END
LIMIT 1;

-- name: count_idempotency
SELECT COUNT(*) FROM idempotency;

-- name: answered_twice
SELECT 'request ' || request_id || ' answers ' || COUNT(*) || ' idempotency keys'
FROM idempotency GROUP BY request_id HAVING COUNT(*) > 1
LIMIT 1;

-- name: count_grants
SELECT COUNT(*) FROM credit_grant;

-- name: last_mark
SELECT number, transfers, usage, chains, waiting, at FROM audit_mark ORDER BY number DESC LIMIT 1;

-- name: insert_mark
-- One row, unless another audit that ran meanwhile took what this one had noted for unfinished.
INSERT INTO audit_mark (number, transfers, usage, chains, waiting, at)
SELECT CAST(:number AS BIGINT), CAST(:transfers AS BIGINT), CAST(:usage AS BIGINT), CAST(:chains AS TEXT), CAST(:waiting AS TEXT),
  CAST(:at AS BIGINT)
WHERE (SELECT COUNT(*) FROM audit_balance WHERE mark = :number) = :balances;

-- name: balances_of
-- Those of a mark: of each name the last row up to it.
SELECT b.name, b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted, b.used, b.expired
FROM audit_balance AS b
WHERE b.name IN (:names...)
  AND b.mark = (SELECT MAX(m.mark) FROM audit_balance AS m WHERE m.name = b.name AND m.mark <= :mark);

-- name: balances
SELECT b.name, b.debits_pending, b.debits_posted, b.credits_pending, b.credits_posted, b.used, b.expired
FROM audit_balance AS b
WHERE b.name > :after
  AND b.mark = (SELECT MAX(m.mark) FROM audit_balance AS m WHERE m.name = b.name AND m.mark <= :mark)
ORDER BY b.name LIMIT :limit;

-- name: unfinished_balances
SELECT name FROM audit_balance WHERE mark > :mark LIMIT :limit;

-- name: delete_unfinished
DELETE FROM audit_balance WHERE mark > :mark AND name IN (:names...);

-- name: delete_superseded
DELETE FROM audit_balance WHERE mark < :mark AND name IN (:names...);

-- name: claim_day
-- One row changes for one claimant.
INSERT INTO audit_day (day, claimed_at) VALUES (:day, :now)
ON CONFLICT (day) DO UPDATE SET claimed_at = :now WHERE audit_day.finished_at IS NULL AND audit_day.claimed_at < :stale;

-- name: day_over
SELECT 1 FROM audit_day WHERE day = :day AND finished_at IS NOT NULL;

-- name: finish_day
UPDATE audit_day SET finished_at = :now, failed = :failed WHERE day = :day;

-- name: put_off_day
UPDATE audit_day SET claimed_at = :claimed_at WHERE day = :day AND finished_at IS NULL;

-- name: made
SELECT day, model, SUM(requests), SUM(input), SUM(output) FROM engine_count
WHERE day >= :first AND day <= :last GROUP BY day, model;

-- name: made_by_epoch
-- Only of those that ended in good order: what came between a kill and the flush before it is in no count.
SELECT c.epoch, c.model, SUM(c.requests), SUM(c.input), SUM(c.output)
FROM engine_count AS c JOIN epoch AS e ON e.number = c.epoch
WHERE e.ended_at IS NOT NULL AND e.taken_by IS NULL
GROUP BY c.epoch, c.model;

-- name: usage_days
-- Of a span of sequence numbers, so that neither a snapshot nor a sort is long. Amounts in two halves.
SELECT finished_at / 86400000000000, model, currency, CASE WHEN invoice_id IS NULL THEN 0 ELSE 1 END, COUNT(*), SUM(input),
  SUM(output), SUM(waived), SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM usage
WHERE seq > :after AND seq <= :until AND finished_at >= :start AND finished_at < :end
GROUP BY 1, 2, 3, 4;

-- name: dropped_days
SELECT day, model, currency, CASE WHEN invoice_id = '' THEN 0 ELSE 1 END, SUM(requests), SUM(input), SUM(output), SUM(waived),
  SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM dropped_usage
WHERE day >= :first AND day <= :last
GROUP BY 1, 2, 3, 4;

-- name: revenue_days
-- What requests posted to revenue, and what invoices put right there: by day and account.
SELECT at / 86400000000000, credit_account, kind, SUM(amount / 1000000000), SUM(amount % 1000000000)
FROM transfer
WHERE seq > :after AND seq <= :until AND at >= :start AND at < :end
  AND kind IN ('post', 'single') AND credit_account >= 'revenue/' AND credit_account < 'revenue0'
GROUP BY 1, 2, 3
UNION ALL
SELECT at / 86400000000000, debit_account, kind, -SUM(amount / 1000000000), -SUM(amount % 1000000000)
FROM transfer
WHERE seq > :after AND seq <= :until AND at >= :start AND at < :end
  AND kind = 'single' AND debit_account >= 'revenue/' AND debit_account < 'revenue0'
GROUP BY 1, 2, 3;
