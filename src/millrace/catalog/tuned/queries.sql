-- name: add
INSERT INTO tuned_model (name, tenant_id, base, job_id, sha256, created_at)
VALUES (:name, :tenant_id, :base, :job_id, :sha256, :created_at);

-- name: by_job
SELECT name, tenant_id, base, job_id, sha256, created_at FROM tuned_model WHERE job_id = :job_id;

-- name: of_tenant
SELECT m.name, m.tenant_id, m.base, m.job_id, m.sha256, m.created_at
FROM tuned_model m
WHERE m.tenant_id = :tenant_id AND NOT EXISTS (SELECT 1 FROM tuned_removal r WHERE r.name = m.name)
ORDER BY m.created_at, m.name;

-- name: all
SELECT m.name, m.tenant_id, m.base, m.job_id, m.sha256, m.created_at
FROM tuned_model m
WHERE NOT EXISTS (SELECT 1 FROM tuned_removal r WHERE r.name = m.name)
ORDER BY m.created_at, m.name;

-- name: named
SELECT m.name, m.tenant_id, m.base, m.job_id, m.sha256, m.created_at
FROM tuned_model m
WHERE m.name = :name AND NOT EXISTS (SELECT 1 FROM tuned_removal r WHERE r.name = m.name);

-- name: add_removal
INSERT INTO tuned_removal (name, at) VALUES (:name, :at);

-- name: removed_since
SELECT name FROM tuned_removal WHERE at >= :at ORDER BY at, name;

-- name: files
SELECT DISTINCT m.sha256
FROM tuned_model m
WHERE NOT EXISTS (SELECT 1 FROM tuned_removal r WHERE r.name = m.name);
