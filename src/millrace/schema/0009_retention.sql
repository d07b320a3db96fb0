-- Sums of usage by the quarter of an hour; usage written out to files; and what was deleted since it was in those.
CREATE TABLE rollup (
  tenant_id    TEXT NOT NULL REFERENCES tenant (id),
  bucket       INTEGER NOT NULL CHECK (bucket >= 0),    -- quarters of an hour since 1970 in which the requests finished
  key_id       TEXT NOT NULL REFERENCES api_key (id),
  model        TEXT NOT NULL,
  price_id     TEXT NOT NULL REFERENCES price_version (id),
  tier         INTEGER NOT NULL,
  currency     TEXT NOT NULL,
  requests     INTEGER NOT NULL CHECK (requests > 0),
  input        INTEGER NOT NULL,
  cached_input INTEGER NOT NULL,
  output       INTEGER NOT NULL,
  reasoning    INTEGER NOT NULL,
  waived       INTEGER NOT NULL,
  units        INTEGER NOT NULL,                        -- the amount is units * 1000000000 + nano, which may not fit 64 bits
  nano         INTEGER NOT NULL,                        -- and nano is not less than 1000000000 for that
  PRIMARY KEY (tenant_id, bucket, key_id, model, price_id, tier, currency)
) STRICT, WITHOUT ROWID;

CREATE TABLE rollup_cursor (                            -- one row: usage up to here is in rollup, each row once
  one INTEGER PRIMARY KEY CHECK (one = 1),
  seq INTEGER NOT NULL CHECK (seq >= 0)
) STRICT;

CREATE TABLE export (                                   -- a file of usage: every row from the first to the last seq, each once
  seq_lo       INTEGER PRIMARY KEY CHECK (seq_lo > 0),  -- one more than the seq_hi before it
  seq_hi       INTEGER NOT NULL UNIQUE,
  file         TEXT NOT NULL UNIQUE,                    -- in the folder for exports
  sha256       TEXT NOT NULL,
  size         INTEGER NOT NULL CHECK (size > 0),       -- bytes
  requests     INTEGER NOT NULL CHECK (requests > 0),
  tokens       INTEGER NOT NULL CHECK (tokens >= 0),    -- input and output
  waived       INTEGER NOT NULL CHECK (waived >= 0),
  amounts      TEXT NOT NULL,                           -- canonical JSON: the nano-units of each currency, as texts
  finished_lo  INTEGER NOT NULL,
  finished_hi  INTEGER NOT NULL,
  exported_at  INTEGER NOT NULL,
  CHECK (seq_hi >= seq_lo)
) STRICT;
CREATE TRIGGER export_is_never_changed BEFORE UPDATE ON export
BEGIN
  SELECT RAISE(ABORT, 'an export is never changed');
END;
CREATE TRIGGER export_is_never_deleted BEFORE DELETE ON export
BEGIN
  SELECT RAISE(ABORT, 'an export is never deleted');
END;

CREATE TABLE dropped_range (                            -- an export whose rows may be deleted, and were as far as it says
  seq_lo     INTEGER PRIMARY KEY REFERENCES export (seq_lo),
  seq_hi     INTEGER NOT NULL,
  dropped_to INTEGER NOT NULL,
  at         INTEGER NOT NULL
) STRICT;

CREATE TABLE archived (                                 -- a request whose usage row is in an export and no longer here
  request_id TEXT PRIMARY KEY,
  seq_lo     INTEGER NOT NULL REFERENCES dropped_range (seq_lo),
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  invoice_id TEXT                                       -- NULL: nothing was billed
) STRICT, WITHOUT ROWID;
CREATE INDEX archived_invoice ON archived (invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TABLE dropped_usage (                            -- what archived requests came to, as the audit needs it
  day          INTEGER NOT NULL,                        -- days since 1970 in which they finished
  tenant_id    TEXT NOT NULL REFERENCES tenant (id),
  key_id       TEXT NOT NULL REFERENCES api_key (id),
  started_day  INTEGER NOT NULL,
  model        TEXT NOT NULL,
  price_id     TEXT NOT NULL REFERENCES price_version (id),
  tier         INTEGER NOT NULL,
  currency     TEXT NOT NULL,
  invoice_id   TEXT NOT NULL,                           -- empty: on none
  requests     INTEGER NOT NULL CHECK (requests > 0),
  input        INTEGER NOT NULL,
  cached_input INTEGER NOT NULL,
  output       INTEGER NOT NULL,
  reasoning    INTEGER NOT NULL,
  waived       INTEGER NOT NULL,
  amount       INTEGER NOT NULL,
  PRIMARY KEY (tenant_id, day, key_id, started_day, model, price_id, tier, currency, invoice_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX dropped_usage_invoice ON dropped_usage (invoice_id);

DROP TRIGGER usage_is_never_deleted;
CREATE TRIGGER usage_is_deleted_once_archived BEFORE DELETE ON usage
WHEN NOT EXISTS (
  SELECT 1 FROM archived AS a JOIN dropped_range AS d ON d.seq_lo = a.seq_lo
  WHERE a.request_id = old.request_id AND old.seq BETWEEN d.seq_lo AND d.seq_hi
)
BEGIN
  SELECT RAISE(ABORT, 'a usage row is deleted only once it is archived');
END;
