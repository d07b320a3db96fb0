-- Models that tenants publish, and how often models are pulled. What the files contain lies beside the database, by its SHA-256.
CREATE TABLE hub_repository (
  id         TEXT COLLATE "C" PRIMARY KEY,
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  name       TEXT COLLATE "C" NOT NULL,
  visibility TEXT COLLATE "C" NOT NULL CHECK (visibility IN ('private', 'public')),
  created_at BIGINT NOT NULL,
  UNIQUE (tenant_id, name)
);

CREATE TABLE hub_revision (
  id            TEXT COLLATE "C" PRIMARY KEY,
  repository_id TEXT COLLATE "C" NOT NULL REFERENCES hub_repository (id),
  number        BIGINT NOT NULL CHECK (number > 0),
  commit_id     TEXT COLLATE "C" NOT NULL,
  parent        TEXT COLLATE "C" CHECK (number = 1 OR parent IS NOT NULL),
  message       TEXT COLLATE "C" NOT NULL,
  created_at    BIGINT NOT NULL,
  UNIQUE (repository_id, number),
  UNIQUE (repository_id, commit_id)
);

CREATE TABLE hub_file (
  revision_id TEXT COLLATE "C" NOT NULL REFERENCES hub_revision (id),
  path        TEXT COLLATE "C" NOT NULL,
  sha256      TEXT COLLATE "C" NOT NULL,
  size        BIGINT NOT NULL CHECK (size >= 0),
  PRIMARY KEY (revision_id, path)
);
CREATE INDEX hub_file_sha256 ON hub_file (sha256);

CREATE TABLE hub_upload (
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  sha256     TEXT COLLATE "C" NOT NULL,
  size       BIGINT NOT NULL CHECK (size >= 0),
  touched_at BIGINT NOT NULL,
  whole_at   BIGINT,
  PRIMARY KEY (tenant_id, sha256)
);
CREATE INDEX hub_upload_sha256 ON hub_upload (sha256);

CREATE TABLE hub_pull (
  repository_id TEXT COLLATE "C" NOT NULL REFERENCES hub_repository (id),
  day           TEXT COLLATE "C" NOT NULL,
  tenant_id     TEXT COLLATE "C" NOT NULL,
  pulls         BIGINT NOT NULL CHECK (pulls > 0),
  PRIMARY KEY (repository_id, day, tenant_id)
);

CREATE TABLE model_pull (
  model TEXT COLLATE "C" NOT NULL,
  day   TEXT COLLATE "C" NOT NULL,
  pulls BIGINT NOT NULL CHECK (pulls > 0),
  PRIMARY KEY (model, day)
);
