-- Holds that are not resolved yet, the servers that made them, what keys may spend in a month, and grants.
CREATE TABLE epoch (
  number     INTEGER PRIMARY KEY,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER                                    -- NULL: running, or died; the next boot recovers its holds
) STRICT;

CREATE TABLE open_hold (                                -- gone once resolved; its transfers stay and tell the story
  request_id   TEXT PRIMARY KEY,
  tenant_id    TEXT NOT NULL REFERENCES tenant (id),
  project_id   TEXT NOT NULL REFERENCES project (id),
  key_id       TEXT NOT NULL REFERENCES api_key (id),
  model        TEXT NOT NULL,
  price_id     TEXT NOT NULL REFERENCES price_version (id),
  input_bound  INTEGER NOT NULL CHECK (input_bound >= 0),
  output_bound INTEGER NOT NULL CHECK (output_bound >= 0),
  amount       INTEGER NOT NULL CHECK (amount >= 0),
  currency     TEXT NOT NULL,
  legs         INTEGER NOT NULL CHECK (legs >= 0),      -- pending transfers '<request_id>/1' … '<request_id>/<legs>'
  budget_month TEXT,                                    -- the month of the key's budget that it counts in, if it has one
  epoch        INTEGER NOT NULL REFERENCES epoch (number),
  started_at   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE budget (                                   -- of one key in one UTC month
  key_id TEXT NOT NULL REFERENCES api_key (id),
  month  TEXT NOT NULL,
  held   INTEGER NOT NULL DEFAULT 0 CHECK (held >= 0),
  spent  INTEGER NOT NULL DEFAULT 0 CHECK (spent >= 0),
  PRIMARY KEY (key_id, month)
) STRICT, WITHOUT ROWID;

CREATE TABLE credit_grant (
  id              TEXT PRIMARY KEY,
  tenant_id       TEXT NOT NULL REFERENCES tenant (id),
  amount          INTEGER NOT NULL CHECK (amount > 0),
  currency        TEXT NOT NULL,
  funding         TEXT NOT NULL CHECK (funding IN ('customer', 'operator', 'sponsor')),
  priority        INTEGER NOT NULL,                     -- lower is spent first
  expires_at      INTEGER,
  idempotency_key TEXT,
  created_at      INTEGER NOT NULL,
  UNIQUE (tenant_id, idempotency_key)
) STRICT;

CREATE TABLE live_grant (                               -- grants that may have something left, in the order they are spent
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  currency   TEXT NOT NULL,
  priority   INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,                          -- 9223372036854775807: never
  grant_id   TEXT NOT NULL REFERENCES credit_grant (id),
  account    TEXT NOT NULL REFERENCES account (id),
  PRIMARY KEY (tenant_id, currency, priority, expires_at, grant_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX live_grant_expiry ON live_grant (expires_at);
