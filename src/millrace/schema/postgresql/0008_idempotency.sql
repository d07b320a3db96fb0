-- Answers that are kept for repetition, by the key that the client gave its request.
CREATE TABLE idempotency (
  key        TEXT COLLATE "C" PRIMARY KEY,
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  body       TEXT COLLATE "C" NOT NULL,
  request_id TEXT COLLATE "C" NOT NULL UNIQUE,
  epoch      BIGINT NOT NULL REFERENCES epoch (number),
  created_at BIGINT NOT NULL,
  state      TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'kept', 'too_large', 'lost')),
  status     BIGINT CHECK (status BETWEEN 100 AND 599),
  form       TEXT COLLATE "C",
  answer     BYTEA,
  size       BIGINT NOT NULL CHECK (size >= 0),
  CHECK ((state = 'kept') = (answer IS NOT NULL AND status IS NOT NULL AND form IS NOT NULL))
);
CREATE INDEX idempotency_age ON idempotency (created_at);

CREATE TABLE idempotency_space (
  tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  epoch     BIGINT NOT NULL REFERENCES epoch (number),
  keys      BIGINT NOT NULL CHECK (keys >= 0),
  bytes     BIGINT NOT NULL CHECK (bytes >= 0),
  PRIMARY KEY (tenant_id, epoch)
);
