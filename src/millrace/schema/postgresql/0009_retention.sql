-- Sums of usage by the quarter of an hour; usage written out to files; and what was deleted since it was in those.
CREATE TABLE rollup (
  tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  bucket       BIGINT NOT NULL CHECK (bucket >= 0),
  key_id       TEXT COLLATE "C" NOT NULL REFERENCES api_key (id),
  model        TEXT COLLATE "C" NOT NULL,
  price_id     TEXT COLLATE "C" NOT NULL REFERENCES price_version (id),
  tier         BIGINT NOT NULL,
  currency     TEXT COLLATE "C" NOT NULL,
  requests     BIGINT NOT NULL CHECK (requests > 0),
  input        BIGINT NOT NULL,
  cached_input BIGINT NOT NULL,
  output       BIGINT NOT NULL,
  reasoning    BIGINT NOT NULL,
  waived       BIGINT NOT NULL,
  units        BIGINT NOT NULL,
  nano         BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, bucket, key_id, model, price_id, tier, currency)
);

CREATE TABLE rollup_cursor (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  seq BIGINT NOT NULL CHECK (seq >= 0)
);

CREATE TABLE export (
  seq_lo       BIGINT PRIMARY KEY CHECK (seq_lo > 0),
  seq_hi       BIGINT NOT NULL UNIQUE,
  file         TEXT COLLATE "C" NOT NULL UNIQUE,
  sha256       TEXT COLLATE "C" NOT NULL,
  size         BIGINT NOT NULL CHECK (size > 0),
  requests     BIGINT NOT NULL CHECK (requests > 0),
  tokens       BIGINT NOT NULL CHECK (tokens >= 0),
  waived       BIGINT NOT NULL CHECK (waived >= 0),
  amounts      TEXT COLLATE "C" NOT NULL,
  finished_lo  BIGINT NOT NULL,
  finished_hi  BIGINT NOT NULL,
  exported_at  BIGINT NOT NULL,
  CHECK (seq_hi >= seq_lo)
);

CREATE TABLE dropped_range (
  seq_lo     BIGINT PRIMARY KEY REFERENCES export (seq_lo),
  seq_hi     BIGINT NOT NULL,
  dropped_to BIGINT NOT NULL,
  at         BIGINT NOT NULL
);

CREATE TABLE archived (
  request_id TEXT COLLATE "C" PRIMARY KEY,
  seq_lo     BIGINT NOT NULL REFERENCES dropped_range (seq_lo),
  tenant_id  TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  invoice_id TEXT COLLATE "C"
);
CREATE INDEX archived_invoice ON archived (invoice_id) WHERE invoice_id IS NOT NULL;

CREATE TABLE dropped_usage (
  day          BIGINT NOT NULL,
  tenant_id    TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  key_id       TEXT COLLATE "C" NOT NULL REFERENCES api_key (id),
  started_day  BIGINT NOT NULL,
  model        TEXT COLLATE "C" NOT NULL,
  price_id     TEXT COLLATE "C" NOT NULL REFERENCES price_version (id),
  tier         BIGINT NOT NULL,
  currency     TEXT COLLATE "C" NOT NULL,
  invoice_id   TEXT COLLATE "C" NOT NULL,
  requests     BIGINT NOT NULL CHECK (requests > 0),
  input        BIGINT NOT NULL,
  cached_input BIGINT NOT NULL,
  output       BIGINT NOT NULL,
  reasoning    BIGINT NOT NULL,
  waived       BIGINT NOT NULL,
  amount       BIGINT NOT NULL,
  PRIMARY KEY (tenant_id, day, key_id, started_day, model, price_id, tier, currency, invoice_id)
);
CREATE INDEX dropped_usage_invoice ON dropped_usage (invoice_id);

CREATE TRIGGER export_is_never_changed BEFORE UPDATE ON export
FOR EACH ROW EXECUTE FUNCTION refuse('an export is never changed');
CREATE TRIGGER export_is_never_deleted BEFORE DELETE ON export
FOR EACH ROW EXECUTE FUNCTION refuse('an export is never deleted');

DROP TRIGGER usage_is_never_deleted ON usage;
CREATE FUNCTION refuse_unless_archived() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
    SELECT 1 FROM archived AS a JOIN dropped_range AS d ON d.seq_lo = a.seq_lo
    WHERE a.request_id = old.request_id AND old.seq BETWEEN d.seq_lo AND d.seq_hi
  ) THEN
    RAISE EXCEPTION USING MESSAGE = 'a usage row is deleted only once it is archived', ERRCODE = 'integrity_constraint_violation';
  END IF;
  RETURN old;
END
$$;
CREATE TRIGGER usage_is_deleted_once_archived BEFORE DELETE ON usage
FOR EACH ROW EXECUTE FUNCTION refuse_unless_archived();
