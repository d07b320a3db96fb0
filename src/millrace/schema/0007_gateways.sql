-- Several servers on one database: who is alive, who took whose work over, what a dead one had released.
ALTER TABLE epoch ADD COLUMN home TEXT NOT NULL DEFAULT '';              -- the home folder's own id: its journals lie there
ALTER TABLE epoch ADD COLUMN lease_until INTEGER NOT NULL DEFAULT 0;     -- on the database's clock; past it another may take over
ALTER TABLE epoch ADD COLUMN taken_by INTEGER REFERENCES epoch (number); -- whoever settles what this one left; it is fenced
ALTER TABLE epoch ADD COLUMN slot INTEGER NOT NULL DEFAULT 0;             -- the smallest number that no living server has
CREATE UNIQUE INDEX epoch_slot ON epoch (slot) WHERE ended_at IS NULL AND slot > 0;

-- The accounts that a hold draws on, with their parts, in order: JSON [[debit, credit, amount], …]. And how far the request had come
-- when that was last brought to the database: one record of the progress journal.
ALTER TABLE open_hold ADD COLUMN draws TEXT NOT NULL DEFAULT '[]';
ALTER TABLE open_hold ADD COLUMN watermark BLOB CHECK (length(watermark) = 48);
UPDATE open_hold SET draws = (
  SELECT json_group_array(json_array(debit_account, credit_account, amount)) FROM (
    SELECT debit_account, credit_account, amount FROM transfer
    WHERE kind = 'pending' AND id > open_hold.request_id || '/' AND id < open_hold.request_id || '0'
    ORDER BY length(id), id
  )
);

CREATE TABLE waiver (                                   -- what a fenced server had released of requests that others settled
  request_id TEXT PRIMARY KEY,
  recorded   INTEGER NOT NULL CHECK (recorded > 0),      -- all tokens recorded for release; late waived: recorded - billed - usage.waived
  at         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE lease (                                    -- a slice of a tenant's credit that one server holds for its own holds
  account    TEXT PRIMARY KEY REFERENCES account (id),
  epoch      INTEGER NOT NULL REFERENCES epoch (number),
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  currency   TEXT NOT NULL,
  origin     TEXT NOT NULL REFERENCES account (id),     -- the grant's account, or what a postpaid tenant may owe
  priority   INTEGER NOT NULL,                          -- as the grant's, so that it is spent in the same order
  expires_at INTEGER NOT NULL,
  used_at    INTEGER NOT NULL,                          -- when a hold last drew on it
  recalled   INTEGER NOT NULL DEFAULT 0 CHECK (recalled IN (0, 1))
) STRICT, WITHOUT ROWID;
CREATE INDEX lease_tenant ON lease (tenant_id, currency);

CREATE TABLE bucket (                                   -- what a key has left of its minute, over all servers
  key_id TEXT NOT NULL REFERENCES api_key (id),
  name   TEXT NOT NULL CHECK (name IN ('rpm', 'tpm')),
  level  INTEGER NOT NULL,                              -- units × milliseconds; never more than the limit's minute
  at     INTEGER NOT NULL,
  PRIMARY KEY (key_id, name)
) STRICT, WITHOUT ROWID;

-- Each transfer carries the hash of itself and of the one before it in its chain. A writer takes a chain that is free.
CREATE TABLE chain (
  number INTEGER PRIMARY KEY,
  length INTEGER NOT NULL CHECK (length >= 0),
  head   BLOB NOT NULL CHECK (length(head) = 32)
) STRICT;
ALTER TABLE transfer ADD COLUMN chain INTEGER;          -- NULL in rows from before there were chains
ALTER TABLE transfer ADD COLUMN hash BLOB CHECK ((hash IS NULL) = (chain IS NULL) AND (hash IS NULL OR length(hash) = 32));
