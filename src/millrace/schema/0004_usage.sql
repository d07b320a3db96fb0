-- What a request consumed and what that came to; one row a request, written in the transaction that settles it.
CREATE TABLE usage (
  seq          INTEGER PRIMARY KEY,
  request_id   TEXT NOT NULL UNIQUE,
  tenant_id    TEXT NOT NULL REFERENCES tenant (id),
  project_id   TEXT NOT NULL REFERENCES project (id),
  key_id       TEXT NOT NULL REFERENCES api_key (id),
  model        TEXT NOT NULL,
  status       TEXT NOT NULL CHECK (status IN ('completed', 'cancelled', 'failed')),
  counted_by   TEXT NOT NULL CHECK (counted_by IN ('engine', 'engine_final', 'released_text')),
  input        INTEGER NOT NULL CHECK (input >= 0),
  cached_input INTEGER NOT NULL CHECK (cached_input BETWEEN 0 AND input),
  output       INTEGER NOT NULL CHECK (output >= 0),
  reasoning    INTEGER NOT NULL CHECK (reasoning BETWEEN 0 AND output),
  waived       INTEGER NOT NULL CHECK (waived >= 0),   -- tokens recorded, not billed: a crash left their delivery in doubt
  price_id     TEXT NOT NULL REFERENCES price_version (id),
  tier         INTEGER NOT NULL CHECK (tier >= 0),     -- index into the version's tiers
  amount       INTEGER NOT NULL CHECK (amount >= 0),
  currency     TEXT NOT NULL,
  epoch        INTEGER NOT NULL,
  started_at   INTEGER NOT NULL,
  finished_at  INTEGER NOT NULL,
  invoice_id   TEXT                                    -- set once, by the invoice that carries this row
) STRICT;
CREATE INDEX usage_tenant_time ON usage (tenant_id, finished_at);
CREATE TRIGGER usage_is_never_changed BEFORE UPDATE OF seq, request_id, tenant_id, project_id, key_id, model, status, counted_by,
  input, cached_input, output, reasoning, waived, price_id, tier, amount, currency, epoch, started_at, finished_at ON usage
BEGIN
  SELECT RAISE(ABORT, 'a usage row is never changed; correct it by a new entry');
END;
CREATE TRIGGER usage_is_on_one_invoice BEFORE UPDATE OF invoice_id ON usage
WHEN old.invoice_id IS NOT NULL AND new.invoice_id IS NOT NULL AND old.invoice_id <> new.invoice_id
BEGIN
  SELECT RAISE(ABORT, 'a usage row is on one invoice; void that one first');
END;
CREATE TRIGGER usage_is_never_deleted BEFORE DELETE ON usage
BEGIN
  SELECT RAISE(ABORT, 'a usage row is never deleted');
END;
