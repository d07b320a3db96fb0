-- Models that tenants publish, and how often models are pulled. What the files contain lies beside the database, by its SHA-256.
CREATE TABLE hub_repository (
  id         TEXT PRIMARY KEY,
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),        -- whose name is the owner in OWNER/NAME
  name       TEXT NOT NULL,
  visibility TEXT NOT NULL CHECK (visibility IN ('private', 'public')),
  created_at INTEGER NOT NULL,
  UNIQUE (tenant_id, name)
) STRICT;

CREATE TABLE hub_revision (                               -- never changed; the one with the greatest number is 'main'
  id            TEXT PRIMARY KEY,
  repository_id TEXT NOT NULL REFERENCES hub_repository (id),
  number        INTEGER NOT NULL CHECK (number > 0),
  commit_id     TEXT NOT NULL,                            -- 40 hexadecimal digits: of the files and of the commit before it
  parent        TEXT CHECK (number = 1 OR parent IS NOT NULL),
  message       TEXT NOT NULL,
  created_at    INTEGER NOT NULL,
  UNIQUE (repository_id, number),
  UNIQUE (repository_id, commit_id)
) STRICT;

CREATE TABLE hub_file (
  revision_id TEXT NOT NULL REFERENCES hub_revision (id),
  path        TEXT NOT NULL,
  sha256      TEXT NOT NULL,
  size        INTEGER NOT NULL CHECK (size >= 0),         -- bytes
  PRIMARY KEY (revision_id, path)
) STRICT, WITHOUT ROWID;
CREATE INDEX hub_file_sha256 ON hub_file (sha256);

CREATE TABLE hub_upload (                                 -- a file that a tenant sends, or has sent and not committed yet
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  sha256     TEXT NOT NULL,
  size       INTEGER NOT NULL CHECK (size >= 0),
  touched_at INTEGER NOT NULL,
  whole_at   INTEGER,                                     -- when all of it had come and its hash was right
  PRIMARY KEY (tenant_id, sha256)
) STRICT, WITHOUT ROWID;
CREATE INDEX hub_upload_sha256 ON hub_upload (sha256);

CREATE TABLE hub_pull (
  repository_id TEXT NOT NULL REFERENCES hub_repository (id),
  day           TEXT NOT NULL,                            -- '2026-11-23', UTC
  tenant_id     TEXT NOT NULL,                            -- who pulled; empty: nobody with a key
  pulls         INTEGER NOT NULL CHECK (pulls > 0),
  PRIMARY KEY (repository_id, day, tenant_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE model_pull (                                 -- how often the operator pulled a model from a hub
  model TEXT NOT NULL,                                    -- what it is called here
  day   TEXT NOT NULL,
  pulls INTEGER NOT NULL CHECK (pulls > 0),
  PRIMARY KEY (model, day)
) STRICT, WITHOUT ROWID;
