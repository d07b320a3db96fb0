-- Models that a tenant tuned: an adapter on a base model, seen and used by that tenant only. A removal is a row; the model's own
-- row stays, because usage names it.
CREATE TABLE tuned_model (
  name       TEXT PRIMARY KEY,
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  base       TEXT NOT NULL,                        -- the model on offer that it was made from, and at whose price it is sold
  job_id     TEXT NOT NULL UNIQUE,                 -- what made it; a second publication by the same job is the same model
  sha256     TEXT NOT NULL CHECK (length(sha256) = 64),  -- of the adapter's file, which is called by it
  created_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tuned_model_tenant ON tuned_model (tenant_id);
CREATE INDEX tuned_model_sha256 ON tuned_model (sha256);

CREATE TABLE tuned_removal (
  name TEXT PRIMARY KEY REFERENCES tuned_model (name),
  at   INTEGER NOT NULL
) STRICT;
CREATE INDEX tuned_removal_at ON tuned_removal (at);
