-- The price book: versions are immutable, a change is a new version with its own effective date.
CREATE TABLE price_version (
  id             TEXT PRIMARY KEY,
  model          TEXT NOT NULL,
  currency       TEXT NOT NULL,
  version        INTEGER NOT NULL CHECK (version > 0),
  effective_from INTEGER NOT NULL,
  components     TEXT NOT NULL,                    -- canonical JSON: tiers with their integer prices, batch factor
  created_at     INTEGER NOT NULL,
  UNIQUE (model, currency, version)
) STRICT;
CREATE INDEX price_version_effective ON price_version (model, currency, effective_from);
CREATE TRIGGER price_version_is_never_changed BEFORE UPDATE ON price_version
BEGIN
  SELECT RAISE(ABORT, 'a price version is never changed; import a new one');
END;
CREATE TRIGGER price_version_is_never_deleted BEFORE DELETE ON price_version
BEGIN
  SELECT RAISE(ABORT, 'a price version is never deleted; import a new one');
END;
