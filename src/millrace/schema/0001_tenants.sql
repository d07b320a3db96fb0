-- Who pays, and with which keys. A state change is a row with its time and reason, never a boolean.
CREATE TABLE tenant (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL UNIQUE,
  mode         TEXT NOT NULL CHECK (mode IN ('prepaid', 'postpaid')),
  currency     TEXT NOT NULL,
  credit_limit INTEGER NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),  -- nano-units; postpaid only
  created_at   INTEGER NOT NULL,
  CHECK (mode = 'postpaid' OR credit_limit = 0)
) STRICT;

CREATE TABLE suspension (
  id        TEXT PRIMARY KEY,
  tenant_id TEXT NOT NULL REFERENCES tenant (id),
  reason    TEXT NOT NULL,
  at        INTEGER NOT NULL,
  lifted_at INTEGER
) STRICT;
CREATE UNIQUE INDEX suspension_open ON suspension (tenant_id) WHERE lifted_at IS NULL;

CREATE TABLE project (
  id         TEXT PRIMARY KEY,
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  name       TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT;

CREATE TABLE api_key (
  id         TEXT PRIMARY KEY,
  project_id TEXT NOT NULL REFERENCES project (id),
  sha256     TEXT NOT NULL UNIQUE                       -- of the whole secret, hexadecimal; the secret itself is nowhere
             CHECK (sha256 NOT GLOB 'mr_*'),
  scopes     TEXT NOT NULL,                             -- comma-separated
  models     TEXT,                                      -- comma-separated; NULL: every model
  rpm        INTEGER CHECK (rpm > 0),
  tpm        INTEGER CHECK (tpm > 0),
  budget     INTEGER CHECK (budget >= 0),               -- nano-units of the tenant's currency per UTC month
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX api_key_project ON api_key (project_id);

CREATE TABLE revocation (
  key_id TEXT PRIMARY KEY REFERENCES api_key (id),
  reason TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;
