-- Files that tenants send, and the jobs that tune a model by them. The contents of a file lie in the home, called by their SHA-256.
CREATE TABLE stored_file (
  id         TEXT PRIMARY KEY,
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  project_id TEXT NOT NULL REFERENCES project (id),
  purpose    TEXT NOT NULL CHECK (purpose IN ('fine-tune')),
  filename   TEXT NOT NULL,
  bytes      INTEGER NOT NULL CHECK (bytes >= 0),
  sha256     TEXT NOT NULL CHECK (length(sha256) = 64),
  created_at INTEGER NOT NULL,
  deleted_at INTEGER                                    -- the row stays, because jobs name it; the contents go with the last of them
) STRICT;
CREATE INDEX stored_file_tenant ON stored_file (tenant_id, created_at);
CREATE INDEX stored_file_sha256 ON stored_file (sha256);

CREATE TABLE tuning_job (
  id               TEXT PRIMARY KEY,
  tenant_id        TEXT NOT NULL REFERENCES tenant (id),
  project_id       TEXT NOT NULL REFERENCES project (id),
  key_id           TEXT NOT NULL REFERENCES api_key (id), -- whose budget it counts in
  model            TEXT NOT NULL,                       -- the base, by its name on offer
  price_id         TEXT NOT NULL REFERENCES price_version (id), -- in force when the job was made: what it is rated by, whenever it runs
  training_file    TEXT NOT NULL REFERENCES stored_file (id),
  validation_file  TEXT REFERENCES stored_file (id),
  wish             TEXT NOT NULL,                       -- JSON: hyperparameters as they were asked for, seed, suffix
  claim_key        TEXT UNIQUE,                         -- SHA-256 of tenant, project and the client's Idempotency-Key
  claim_body       TEXT,                                -- SHA-256 of what it came with
  status           TEXT NOT NULL CHECK (status IN ('validating_files', 'queued', 'running', 'succeeded', 'failed', 'cancelled')),
  examples         INTEGER CHECK (examples > 0),        -- these are NULL until the files were counted
  tokens_per_epoch INTEGER CHECK (tokens_per_epoch > 0),
  epochs           INTEGER CHECK (epochs > 0),
  batch_size       INTEGER CHECK (batch_size > 0),
  amount           INTEGER CHECK (amount >= 0),         -- what all of it comes to
  step             INTEGER NOT NULL DEFAULT 0 CHECK (step >= 0),
  steps            INTEGER NOT NULL DEFAULT 0 CHECK (steps >= 0),
  trained          INTEGER NOT NULL DEFAULT 0 CHECK (trained >= 0), -- tokens so far; the last durable checkpoint's are at most these
  billed           INTEGER NOT NULL DEFAULT 0 CHECK (billed >= 0), -- tokens of what was delivered
  tuned_model      TEXT,
  error_code       TEXT,
  error            TEXT,
  error_param      TEXT,
  epoch            INTEGER REFERENCES epoch (number),   -- the supervisor that has it in hand; NULL: nobody
  failures         INTEGER NOT NULL DEFAULT 0 CHECK (failures >= 0), -- of its trainer, since the last checkpoint
  not_before       INTEGER NOT NULL DEFAULT 0,          -- a supervisor leaves it alone until then
  cancel_at        INTEGER,                             -- when its tenant asked for its end
  created_at       INTEGER NOT NULL,
  started_at       INTEGER,
  finished_at      INTEGER,
  CHECK ((error_code IS NULL) = (error IS NULL)),
  CHECK ((finished_at IS NULL) = (status IN ('validating_files', 'queued', 'running'))),
  CHECK (status NOT IN ('queued', 'running', 'succeeded') OR amount IS NOT NULL),
  CHECK (status <> 'succeeded' OR tuned_model IS NOT NULL),
  CHECK (tuned_model IS NOT NULL OR billed = 0)         -- nobody pays for what was not delivered
) STRICT;
CREATE INDEX tuning_job_tenant ON tuning_job (tenant_id, created_at);
CREATE INDEX tuning_job_open ON tuning_job (created_at) WHERE finished_at IS NULL;

CREATE TABLE tuning_attempt (                           -- each hold that was made for a job; one of them at most is billed
  request_id TEXT PRIMARY KEY,
  job_id     TEXT NOT NULL REFERENCES tuning_job (id),
  epoch      INTEGER NOT NULL REFERENCES epoch (number),
  began_at   INTEGER NOT NULL
) STRICT;
CREATE INDEX tuning_attempt_job ON tuning_attempt (job_id, began_at);

CREATE TABLE tuning_event (
  job_id  TEXT NOT NULL REFERENCES tuning_job (id),
  number  INTEGER NOT NULL CHECK (number > 0),
  at      INTEGER NOT NULL,
  level   TEXT NOT NULL CHECK (level IN ('info', 'warn', 'error')),
  kind    TEXT NOT NULL CHECK (kind IN ('message', 'metrics')),
  message TEXT NOT NULL,
  data    TEXT,                                         -- JSON
  PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE tuning_step (                              -- the loss curve; a run that goes on from a checkpoint writes over what came after it
  job_id   TEXT NOT NULL REFERENCES tuning_job (id),
  step     INTEGER NOT NULL CHECK (step > 0),
  tokens   INTEGER NOT NULL CHECK (tokens >= 0),
  epoch    TEXT NOT NULL,                               -- decimals, as the trainer wrote them
  loss     TEXT NOT NULL,
  held_out TEXT,
  PRIMARY KEY (job_id, step)
) STRICT, WITHOUT ROWID;

CREATE TABLE tuning_checkpoint (
  id         TEXT PRIMARY KEY,
  job_id     TEXT NOT NULL REFERENCES tuning_job (id),
  step       INTEGER NOT NULL CHECK (step > 0),
  tokens     INTEGER NOT NULL CHECK (tokens >= 0),
  created_at INTEGER NOT NULL,
  UNIQUE (job_id, step)
) STRICT;
