-- Answers that are kept for repetition, by the key that the client gave its request.
CREATE TABLE idempotency (
  key        TEXT PRIMARY KEY,                          -- SHA-256 of tenant, project and the client's key: no client's text
  tenant_id  TEXT NOT NULL REFERENCES tenant (id),
  body       TEXT NOT NULL,                             -- SHA-256 of route and body
  request_id TEXT NOT NULL UNIQUE,                      -- the one that claimed the key
  epoch      INTEGER NOT NULL REFERENCES epoch (number), -- in whose idempotency_space it is counted
  created_at INTEGER NOT NULL,
  state      TEXT NOT NULL CHECK (state IN ('running', 'kept', 'too_large', 'lost')),
  status     INTEGER CHECK (status BETWEEN 100 AND 599),
  form       TEXT,                                      -- the content type of the answer
  answer     BLOB,                                      -- compressed
  size       INTEGER NOT NULL CHECK (size >= 0),        -- bytes of the answer; while it is running, of the largest there can be
  CHECK ((state = 'kept') = (answer IS NOT NULL AND status IS NOT NULL AND form IS NOT NULL))
) STRICT;
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE idempotency_space (                        -- what a tenant's keys take, those of each server apart
  tenant_id TEXT NOT NULL REFERENCES tenant (id),
  epoch     INTEGER NOT NULL REFERENCES epoch (number),
  keys      INTEGER NOT NULL CHECK (keys >= 0),
  bytes     INTEGER NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (tenant_id, epoch)
) STRICT, WITHOUT ROWID;
