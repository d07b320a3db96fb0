-- Models that a tenant tuned: an adapter on a base model, seen and used by that tenant only. A removal is a row; the model's own
-- row stays, because usage names it.
CREATE TABLE tuned_model (
  name       TEXT COLLATE "C" PRIMARY KEY,
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  base       TEXT COLLATE "C" NOT NULL,
  job_id     TEXT COLLATE "C" NOT NULL UNIQUE,
  sha256     TEXT COLLATE "C" NOT NULL CHECK (length(sha256) = 64),
  created_at BIGINT NOT NULL
);
CREATE INDEX tuned_model_tenant ON tuned_model (tenant_id);
CREATE INDEX tuned_model_sha256 ON tuned_model (sha256);

CREATE TABLE tuned_removal (
  name TEXT COLLATE "C" PRIMARY KEY REFERENCES tuned_model (name),
  at   BIGINT NOT NULL
);
CREATE INDEX tuned_removal_at ON tuned_removal (at);
