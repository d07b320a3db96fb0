-- name: open_account
INSERT INTO account (id, currency, overdraft) VALUES (:id, :currency, :overdraft) ON CONFLICT (id) DO NOTHING;

-- name: account
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted FROM account WHERE id = :id;

-- name: accounts
SELECT id, currency, overdraft, debits_pending, debits_posted, credits_pending, credits_posted FROM account ORDER BY id;

-- name: transfer
SELECT id, kind, debit_account, credit_account, amount, pending_id, at FROM transfer WHERE id = :id;

-- name: resolution
SELECT kind FROM transfer WHERE pending_id = :pending_id;

-- name: insert
INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at)
VALUES (:id, :kind, :debit, :credit, :amount, NULL, :at);

-- name: debit_posted
-- One row changes exactly when the transfer can be made: all that could refuse it is asked here, so that the usual case takes
-- one statement. Comparisons are written so that no sum can leave 64 bits where it matters.
UPDATE account SET debits_posted = debits_posted + :amount
WHERE id = :debit
  AND (overdraft IS NULL OR :amount <= credits_posted - debits_posted - debits_pending + overdraft)
  AND :amount <= 9223372036854775807 - debits_posted - debits_pending
  AND EXISTS (
    SELECT 1 FROM account AS other
    WHERE other.id = :credit AND other.currency = account.currency
      AND :amount <= 9223372036854775807 - other.credits_posted - other.credits_pending
  )
  AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.id = :id);

-- name: credit_posted
UPDATE account SET credits_posted = credits_posted + :amount WHERE id = :id;

-- name: debit_pending
-- As debit_posted. What is pending counts against the room of an account, so that posting it can never fail.
UPDATE account SET debits_pending = debits_pending + :amount
WHERE id = :debit
  AND (overdraft IS NULL OR :amount <= credits_posted - debits_posted - debits_pending + overdraft)
  AND :amount <= 9223372036854775807 - debits_posted - debits_pending
  AND EXISTS (
    SELECT 1 FROM account AS other
    WHERE other.id = :credit AND other.currency = account.currency
      AND :amount <= 9223372036854775807 - other.credits_posted - other.credits_pending
  )
  AND NOT EXISTS (SELECT 1 FROM transfer WHERE transfer.id = :id);

-- name: credit_pending
UPDATE account SET credits_pending = credits_pending + :amount WHERE id = :id;

-- name: pending
SELECT debit_account, credit_account, amount FROM transfer WHERE id = :pending_id AND kind = 'pending';

-- name: insert_resolution
-- One row changes, unless the id was used or the pending transfer is resolved already.
INSERT INTO transfer (id, kind, debit_account, credit_account, amount, pending_id, at)
VALUES (:id, :kind, :debit, :credit, :amount, :pending_id, :at)
ON CONFLICT DO NOTHING;

-- name: debit_resolved
UPDATE account SET debits_pending = debits_pending - :pending, debits_posted = debits_posted + :posted WHERE id = :id;

-- name: credit_resolved
UPDATE account SET credits_pending = credits_pending - :pending, credits_posted = credits_posted + :posted WHERE id = :id;
