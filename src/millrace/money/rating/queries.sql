-- name: insert
INSERT INTO price_version (id, model, currency, version, effective_from, components, created_at)
VALUES (:id, :model, :currency, :version, :effective_from, :components, :created_at);

-- name: in_force
-- Of two versions with one effective date the later one holds: that is how a planned price is corrected before its day.
SELECT id, model, currency, version, effective_from, components
FROM price_version
WHERE model = :model AND currency = :currency AND effective_from <= :instant
ORDER BY effective_from DESC, version DESC
LIMIT 1;

-- name: next_change
SELECT min(effective_from)
FROM price_version
WHERE model = :model AND currency = :currency AND effective_from > :instant;

-- name: by_id
SELECT id, model, currency, version, effective_from, components FROM price_version WHERE id = :id;

-- name: all
SELECT id, model, currency, version, effective_from, components
FROM price_version
ORDER BY model, currency, version;

-- name: history
SELECT max(version), min(created_at) FROM price_version WHERE model = :model AND currency = :currency;
