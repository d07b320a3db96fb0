-- Who pays, and with which keys. A state change is a row with its time and reason, never a boolean.
CREATE TABLE tenant (
  id           TEXT COLLATE "C" PRIMARY KEY,
  name         TEXT COLLATE "C" NOT NULL UNIQUE,
  mode         TEXT COLLATE "C" NOT NULL CHECK (mode IN ('prepaid', 'postpaid')),
  currency     TEXT COLLATE "C" NOT NULL,
  credit_limit BIGINT NOT NULL DEFAULT 0 CHECK (credit_limit >= 0),
  created_at   BIGINT NOT NULL,
  CHECK (mode = 'postpaid' OR credit_limit = 0)
);

CREATE TABLE suspension (
  id        TEXT COLLATE "C" PRIMARY KEY,
  tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  reason    TEXT COLLATE "C" NOT NULL,
  at        BIGINT NOT NULL,
  lifted_at BIGINT
);
CREATE UNIQUE INDEX suspension_open ON suspension (tenant_id) WHERE lifted_at IS NULL;

CREATE TABLE project (
  id         TEXT COLLATE "C" PRIMARY KEY,
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  name       TEXT COLLATE "C" NOT NULL,
  created_at BIGINT NOT NULL,
  UNIQUE (tenant_id, name)
);

CREATE TABLE api_key (
  id         TEXT COLLATE "C" PRIMARY KEY,
  project_id TEXT COLLATE "C" NOT NULL REFERENCES project (id),
  sha256     TEXT COLLATE "C" NOT NULL UNIQUE CHECK (sha256 NOT LIKE 'mr\_%'),
  scopes     TEXT COLLATE "C" NOT NULL,
  models     TEXT COLLATE "C",
  rpm        BIGINT CHECK (rpm > 0),
  tpm        BIGINT CHECK (tpm > 0),
  budget     BIGINT CHECK (budget >= 0),
  created_at BIGINT NOT NULL
);
CREATE INDEX api_key_project ON api_key (project_id);

CREATE TABLE revocation (
  key_id TEXT COLLATE "C" PRIMARY KEY REFERENCES api_key (id),
  reason TEXT COLLATE "C" NOT NULL,
  at     BIGINT NOT NULL
);
