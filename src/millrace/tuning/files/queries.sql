-- name: add
INSERT INTO stored_file (id, tenant_id, project_id, purpose, filename, bytes, sha256, created_at)
VALUES (:id, :tenant_id, :project_id, :purpose, :filename, :bytes, :sha256, :created_at);

-- name: find
SELECT id, tenant_id, project_id, filename, bytes, sha256, created_at, purpose FROM stored_file
WHERE id = :id AND tenant_id = :tenant_id AND deleted_at IS NULL;

-- name: of_job
-- Also one that was deleted since.
SELECT id, tenant_id, project_id, filename, bytes, sha256, created_at, purpose FROM stored_file WHERE id = :id;

-- name: page
SELECT id, tenant_id, project_id, filename, bytes, sha256, created_at, purpose FROM stored_file
WHERE tenant_id = :tenant_id AND deleted_at IS NULL AND (created_at, id) < (:before_at, :before_id)
ORDER BY created_at DESC, id DESC LIMIT :rows;

-- name: page_upward
SELECT id, tenant_id, project_id, filename, bytes, sha256, created_at, purpose FROM stored_file
WHERE tenant_id = :tenant_id AND deleted_at IS NULL AND (created_at, id) > (:before_at, :before_id)
ORDER BY created_at, id LIMIT :rows;

-- name: taken
SELECT COALESCE(SUM(bytes), 0) FROM stored_file WHERE tenant_id = :tenant_id AND deleted_at IS NULL;

-- name: used_by
SELECT id FROM tuning_job WHERE finished_at IS NULL AND (training_file = :id OR validation_file = :id) ORDER BY id LIMIT 1;

-- name: delete
UPDATE stored_file SET deleted_at = :at WHERE id = :id AND deleted_at IS NULL;

-- name: in_use
SELECT DISTINCT sha256 FROM stored_file WHERE deleted_at IS NULL;
