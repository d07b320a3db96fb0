-- Double entry. Amounts are nano-units; STRICT tables refuse anything that is not an integer, an overflow into a float included.
CREATE TABLE account (
  id              TEXT PRIMARY KEY,
  currency        TEXT NOT NULL,
  overdraft       INTEGER CHECK (overdraft BETWEEN 0 AND 4611686018427387904),  -- how far debits may exceed credits; NULL: no limit
  debits_pending  INTEGER NOT NULL DEFAULT 0 CHECK (debits_pending >= 0),
  debits_posted   INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
  credits_pending INTEGER NOT NULL DEFAULT 0 CHECK (credits_pending >= 0),
  credits_posted  INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
  CHECK (overdraft IS NULL OR credits_posted - debits_posted - debits_pending + overdraft >= 0)  -- in this order it cannot overflow
) STRICT, WITHOUT ROWID;

CREATE TABLE transfer (
  seq            INTEGER PRIMARY KEY,
  id             TEXT NOT NULL UNIQUE,
  kind           TEXT NOT NULL CHECK (kind IN ('single', 'pending', 'post', 'void')),
  debit_account  TEXT NOT NULL REFERENCES account (id),
  credit_account TEXT NOT NULL REFERENCES account (id),
  amount         INTEGER NOT NULL CHECK (amount >= 0),  -- of a post: what was posted, at most what was pending; of a void: 0
  pending_id     TEXT UNIQUE REFERENCES transfer (id),  -- what a post or void resolves; UNIQUE: once
  at             INTEGER NOT NULL,
  CHECK (debit_account <> credit_account),
  CHECK ((pending_id IS NOT NULL) = (kind IN ('post', 'void'))),
  CHECK (kind <> 'void' OR amount = 0)
) STRICT;
CREATE TRIGGER transfer_is_never_changed BEFORE UPDATE ON transfer
BEGIN
  SELECT RAISE(ABORT, 'a transfer is never changed; make a new one');
END;
CREATE TRIGGER transfer_is_never_deleted BEFORE DELETE ON transfer
BEGIN
  SELECT RAISE(ABORT, 'a transfer is never deleted; make a new one');
END;
