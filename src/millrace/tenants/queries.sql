-- name: add_tenant
INSERT INTO tenant (id, name, mode, currency, credit_limit, created_at)
VALUES (:id, :name, :mode, :currency, :credit_limit, :created_at);

-- name: tenant_by_name
SELECT t.id, t.name, t.mode, t.currency, t.credit_limit, t.created_at, s.id IS NOT NULL
FROM tenant t LEFT JOIN suspension s ON s.tenant_id = t.id AND s.lifted_at IS NULL
WHERE t.name = :name;

-- name: tenant_by_id
SELECT t.id, t.name, t.mode, t.currency, t.credit_limit, t.created_at, s.id IS NOT NULL
FROM tenant t LEFT JOIN suspension s ON s.tenant_id = t.id AND s.lifted_at IS NULL
WHERE t.id = :id;

-- name: tenants
SELECT t.id, t.name, t.mode, t.currency, t.credit_limit, t.created_at, s.id IS NOT NULL
FROM tenant t LEFT JOIN suspension s ON s.tenant_id = t.id AND s.lifted_at IS NULL
ORDER BY t.name;

-- name: add_suspension
INSERT INTO suspension (id, tenant_id, reason, at) VALUES (:id, :tenant_id, :reason, :at);

-- name: open_suspension
SELECT id, tenant_id, reason, at, lifted_at FROM suspension WHERE tenant_id = :tenant_id AND lifted_at IS NULL;

-- name: lift_suspension
UPDATE suspension SET lifted_at = :at WHERE tenant_id = :tenant_id AND lifted_at IS NULL
RETURNING id, tenant_id, reason, at, lifted_at;

-- name: suspensions
SELECT id, tenant_id, reason, at, lifted_at FROM suspension WHERE tenant_id = :tenant_id ORDER BY id;

-- name: add_project
INSERT INTO project (id, tenant_id, name, created_at) VALUES (:id, :tenant_id, :name, :created_at);

-- name: project_by_name
SELECT id, tenant_id, name, created_at FROM project WHERE tenant_id = :tenant_id AND name = :name;

-- name: projects
SELECT id, tenant_id, name, created_at FROM project WHERE tenant_id = :tenant_id ORDER BY name;

-- name: add_key
INSERT INTO api_key (id, project_id, sha256, scopes, models, rpm, tpm, budget, created_at)
VALUES (:id, :project_id, :sha256, :scopes, :models, :rpm, :tpm, :budget, :created_at);

-- name: keys
SELECT k.id, k.project_id, k.scopes, k.models, k.rpm, k.tpm, k.budget, k.created_at, r.at
FROM api_key k JOIN project p ON p.id = k.project_id LEFT JOIN revocation r ON r.key_id = k.id
WHERE p.tenant_id = :tenant_id
ORDER BY k.id;

-- name: key_by_id
SELECT k.id, k.project_id, k.scopes, k.models, k.rpm, k.tpm, k.budget, k.created_at, r.at
FROM api_key k LEFT JOIN revocation r ON r.key_id = k.id
WHERE k.id = :id;

-- name: revocation
SELECT key_id, reason, at FROM revocation WHERE key_id = :key_id;

-- name: add_revocation
INSERT INTO revocation (key_id, reason, at) VALUES (:key_id, :reason, :at);

-- name: caller_by_sha256
-- A revoked key is not found here, like one that never was.
SELECT t.id, t.name, t.mode, t.currency, t.credit_limit, t.created_at, s.id IS NOT NULL,
       p.id, p.tenant_id, p.name, p.created_at,
       k.id, k.project_id, k.scopes, k.models, k.rpm, k.tpm, k.budget, k.created_at, NULL
FROM api_key k
JOIN project p ON p.id = k.project_id
JOIN tenant t ON t.id = p.tenant_id
LEFT JOIN suspension s ON s.tenant_id = t.id AND s.lifted_at IS NULL
WHERE k.sha256 = :sha256 AND NOT EXISTS (SELECT 1 FROM revocation r WHERE r.key_id = k.id);
