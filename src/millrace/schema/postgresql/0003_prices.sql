-- The price book: versions are immutable, a change is a new version with its own effective date.
CREATE TABLE price_version (
  id             TEXT COLLATE "C" PRIMARY KEY,
  model          TEXT COLLATE "C" NOT NULL,
  currency       TEXT COLLATE "C" NOT NULL,
  version        BIGINT NOT NULL CHECK (version > 0),
  effective_from BIGINT NOT NULL,
  components     TEXT COLLATE "C" NOT NULL,
  created_at     BIGINT NOT NULL,
  UNIQUE (model, currency, version)
);
CREATE INDEX price_version_effective ON price_version (model, currency, effective_from);
CREATE TRIGGER price_version_is_never_changed BEFORE UPDATE ON price_version
FOR EACH ROW EXECUTE FUNCTION refuse('a price version is never changed; import a new one');
CREATE TRIGGER price_version_is_never_deleted BEFORE DELETE ON price_version
FOR EACH ROW EXECUTE FUNCTION refuse('a price version is never deleted; import a new one');
