-- Several servers on one database: who is alive, who took whose work over, what a dead one had released.
ALTER TABLE epoch ADD COLUMN home TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE epoch ADD COLUMN lease_until BIGINT NOT NULL DEFAULT 0;
ALTER TABLE epoch ADD COLUMN taken_by BIGINT REFERENCES epoch (number);
ALTER TABLE epoch ADD COLUMN slot BIGINT NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX epoch_slot ON epoch (slot) WHERE ended_at IS NULL AND slot > 0;

ALTER TABLE open_hold ADD COLUMN draws TEXT COLLATE "C" NOT NULL DEFAULT '[]';
ALTER TABLE open_hold ADD COLUMN watermark BYTEA CHECK (length(watermark) = 48);

CREATE TABLE waiver (                                   -- what a fenced server had released of requests that others settled
  request_id TEXT COLLATE "C" PRIMARY KEY,
  recorded   BIGINT NOT NULL CHECK (recorded > 0),      -- all tokens recorded for release; late waived: recorded - billed - usage.waived
  at         BIGINT NOT NULL
);

CREATE TABLE lease (
  account    TEXT COLLATE "C" PRIMARY KEY REFERENCES account (id),
  epoch      BIGINT NOT NULL REFERENCES epoch (number),
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  currency   TEXT COLLATE "C" NOT NULL,
  origin     TEXT COLLATE "C" NOT NULL REFERENCES account (id),
  priority   BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  used_at    BIGINT NOT NULL,
  recalled   BIGINT NOT NULL DEFAULT 0 CHECK (recalled IN (0, 1))
);
CREATE INDEX lease_tenant ON lease (tenant_id, currency);

CREATE TABLE bucket (
  key_id TEXT COLLATE "C" NOT NULL REFERENCES api_key (id),
  name   TEXT COLLATE "C" NOT NULL CHECK (name IN ('rpm', 'tpm')),
  level  BIGINT NOT NULL,
  at     BIGINT NOT NULL,
  PRIMARY KEY (key_id, name)
);

CREATE TABLE chain (
  number BIGINT PRIMARY KEY,
  length BIGINT NOT NULL CHECK (length >= 0),
  head   BYTEA NOT NULL CHECK (length(head) = 32)
);
ALTER TABLE transfer ADD COLUMN chain BIGINT;
ALTER TABLE transfer ADD COLUMN hash BYTEA CHECK ((hash IS NULL) = (chain IS NULL) AND (hash IS NULL OR length(hash) = 32));
