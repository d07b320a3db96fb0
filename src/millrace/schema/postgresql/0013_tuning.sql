-- Files that tenants send, and the jobs that tune a model by them. The contents of a file lie in the home, called by their SHA-256.
CREATE TABLE stored_file (
  id         TEXT COLLATE "C" PRIMARY KEY,
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  project_id TEXT COLLATE "C" NOT NULL REFERENCES project (id),
  purpose    TEXT COLLATE "C" NOT NULL CHECK (purpose IN ('fine-tune')),
  filename   TEXT COLLATE "C" NOT NULL,
  bytes      BIGINT NOT NULL CHECK (bytes >= 0),
  sha256     TEXT COLLATE "C" NOT NULL CHECK (length(sha256) = 64),
  created_at BIGINT NOT NULL,
  deleted_at BIGINT
);
CREATE INDEX stored_file_tenant ON stored_file (tenant_id, created_at);
CREATE INDEX stored_file_sha256 ON stored_file (sha256);

CREATE TABLE tuning_job (
  id               TEXT COLLATE "C" PRIMARY KEY,
  tenant_id        TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  project_id       TEXT COLLATE "C" NOT NULL REFERENCES project (id),
  key_id           TEXT COLLATE "C" NOT NULL REFERENCES api_key (id),
  model            TEXT COLLATE "C" NOT NULL,
  price_id         TEXT COLLATE "C" NOT NULL REFERENCES price_version (id),
  training_file    TEXT COLLATE "C" NOT NULL REFERENCES stored_file (id),
  validation_file  TEXT COLLATE "C" REFERENCES stored_file (id),
  wish             TEXT COLLATE "C" NOT NULL,
  claim_key        TEXT COLLATE "C" UNIQUE,
  claim_body       TEXT COLLATE "C",
  status           TEXT COLLATE "C" NOT NULL CHECK (status IN ('validating_files', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
  examples         BIGINT CHECK (examples > 0),
  tokens_per_epoch BIGINT CHECK (tokens_per_epoch > 0),
  epochs           BIGINT CHECK (epochs > 0),
  batch_size       BIGINT CHECK (batch_size > 0),
  amount           BIGINT CHECK (amount >= 0),
  step             BIGINT NOT NULL DEFAULT 0 CHECK (step >= 0),
  steps            BIGINT NOT NULL DEFAULT 0 CHECK (steps >= 0),
  trained          BIGINT NOT NULL DEFAULT 0 CHECK (trained >= 0),
  billed           BIGINT NOT NULL DEFAULT 0 CHECK (billed >= 0),
  tuned_model      TEXT COLLATE "C",
  error_code       TEXT COLLATE "C",
  error            TEXT COLLATE "C",
  error_param      TEXT COLLATE "C",
  epoch            BIGINT REFERENCES epoch (number),
  failures         BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0),
  not_before       BIGINT NOT NULL DEFAULT 0,
  cancel_at        BIGINT,
  created_at       BIGINT NOT NULL,
  started_at       BIGINT,
  finished_at      BIGINT,
  CHECK ((error_code IS NULL) = (error IS NULL)),
  CHECK ((finished_at IS NULL) = (status IN ('validating_files', 'queued', 'running'))),
  CHECK (status NOT IN ('queued', 'running', 'succeeded') OR amount IS NOT NULL),
  CHECK (status <> 'succeeded' OR tuned_model IS NOT NULL),
  CHECK (tuned_model IS NOT NULL OR billed = 0)
);
CREATE INDEX tuning_job_tenant ON tuning_job (tenant_id, created_at);
CREATE INDEX tuning_job_open ON tuning_job (created_at) WHERE finished_at IS NULL;

CREATE TABLE tuning_attempt (
  request_id TEXT COLLATE "C" PRIMARY KEY,
  job_id     TEXT COLLATE "C" NOT NULL REFERENCES tuning_job (id),
  epoch      BIGINT NOT NULL REFERENCES epoch (number),
  began_at   BIGINT NOT NULL
);
CREATE INDEX tuning_attempt_job ON tuning_attempt (job_id, began_at);

CREATE TABLE tuning_event (
  job_id  TEXT COLLATE "C" NOT NULL REFERENCES tuning_job (id),
  number  BIGINT NOT NULL CHECK (number > 0),
  at      BIGINT NOT NULL,
  level   TEXT COLLATE "C" NOT NULL CHECK (level IN ('info', 'warn', 'error')),
  kind    TEXT COLLATE "C" NOT NULL CHECK (kind IN ('message', 'metrics')),
  message TEXT COLLATE "C" NOT NULL,
  data    TEXT COLLATE "C",
  PRIMARY KEY (job_id, number)
);

CREATE TABLE tuning_step (
  job_id   TEXT COLLATE "C" NOT NULL REFERENCES tuning_job (id),
  step     BIGINT NOT NULL CHECK (step > 0),
  tokens   BIGINT NOT NULL CHECK (tokens >= 0),
  epoch    TEXT COLLATE "C" NOT NULL,
  loss     TEXT COLLATE "C" NOT NULL,
  held_out TEXT COLLATE "C",
  PRIMARY KEY (job_id, step)
);

CREATE TABLE tuning_checkpoint (
  id         TEXT COLLATE "C" PRIMARY KEY,
  job_id     TEXT COLLATE "C" NOT NULL REFERENCES tuning_job (id),
  step       BIGINT NOT NULL CHECK (step > 0),
  tokens     BIGINT NOT NULL CHECK (tokens >= 0),
  created_at BIGINT NOT NULL,
  UNIQUE (job_id, step)
);
