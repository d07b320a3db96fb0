-- name: open_account
INSERT INTO account (id, currency, overdraft) VALUES (:id, :currency, :overdraft) ON CONFLICT (id) DO NOTHING;

-- name: account
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted FROM account WHERE id = :id;

-- name: accounts
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted FROM account ORDER BY id;

-- name: lock_accounts
-- Always in this order: two writers that touch the same accounts wait for each other and never in a circle.
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted FROM account
WHERE id IN (:ids...) ORDER BY id FOR UPDATE;

-- name: set_account
UPDATE account SET debits_pending = :debits_pending, debits_posted = :debits_posted,
  credits_pending = :credits_pending, credits_posted = :credits_posted
WHERE id = :id;

-- name: set_account @postgresql
UPDATE account SET debits_pending = v.debits_pending, debits_posted = v.debits_posted,
  credits_pending = v.credits_pending, credits_posted = v.credits_posted
FROM unnest(
  :id...::text[], :debits_pending...::bigint[], :debits_posted...::bigint[], :credits_pending...::bigint[],
  :credits_posted...::bigint[]
) AS v (id, debits_pending, debits_posted, credits_pending, credits_posted)
WHERE account.id = v.id;

-- name: transfers
SELECT id, kind, debit_account, credit_account, amount, pending_id, at FROM transfer WHERE id IN (:ids...);

-- name: resolutions
SELECT pending_id, kind FROM transfer WHERE pending_id IN (:ids...);

-- name: free_chain
SELECT number, length, head FROM chain ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED;

-- name: new_chain
INSERT INTO chain (length, head) VALUES (0, :genesis);

-- name: set_chain
UPDATE chain SET length = :length, head = :head WHERE number = :number;
