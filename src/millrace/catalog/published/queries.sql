-- name: lock_tenant
-- What a tenant has is counted and added to by one at a time.
SELECT id FROM tenant WHERE id = :tenant_id;

-- name: lock_tenant @postgresql
SELECT id FROM tenant WHERE id = :tenant_id FOR NO KEY UPDATE;

-- name: add_repository
INSERT INTO hub_repository (id, tenant_id, name, visibility, created_at)
VALUES (:id, :tenant_id, :name, :visibility, :created_at);

-- name: repository
SELECT r.id, r.tenant_id, t.name, r.name, r.visibility, r.created_at
FROM hub_repository r JOIN tenant t ON t.id = r.tenant_id WHERE t.name = :owner AND r.name = :name;

-- name: visible_repository
-- To a reader (empty: nobody with a key). What a suspended tenant published is shown to nobody.
SELECT r.id, r.tenant_id, t.name, r.name, r.visibility, r.created_at
FROM hub_repository r JOIN tenant t ON t.id = r.tenant_id
WHERE t.name = :owner AND r.name = :name AND (r.visibility = 'public' OR r.tenant_id = :reader)
  AND NOT EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_id = t.id AND s.lifted_at IS NULL);

-- name: list
SELECT r.id, r.tenant_id, t.name, r.name, r.visibility, r.created_at, v.commit_id, COALESCE(v.created_at, r.created_at),
  (SELECT COALESCE(SUM(p.pulls), 0) FROM hub_pull p WHERE p.repository_id = r.id),
  (SELECT COALESCE(SUM(f.size), 0) FROM hub_file f WHERE f.revision_id = v.id)
FROM hub_repository r JOIN tenant t ON t.id = r.tenant_id
  LEFT JOIN hub_revision v ON v.repository_id = r.id
    AND v.number = (SELECT MAX(w.number) FROM hub_revision w WHERE w.repository_id = r.id)
WHERE (:every = 1 OR r.tenant_id = :reader OR r.visibility = 'public' AND v.id IS NOT NULL)
  AND (:every = 1 OR NOT EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_id = t.id AND s.lifted_at IS NULL))
  AND (:owner = '' OR t.name = :owner)
  AND LOWER(t.name || '/' || r.name) LIKE :pattern ESCAPE '\'
ORDER BY t.name, r.name LIMIT :limit;

-- name: set_visibility
UPDATE hub_repository SET visibility = :visibility WHERE id = :id;

-- name: lock_repository
SELECT id FROM hub_repository WHERE id = :id FOR UPDATE;

-- name: repositories_of
SELECT COUNT(*) FROM hub_repository WHERE tenant_id = :tenant_id;

-- name: head
SELECT id, repository_id, number, commit_id, parent, message, created_at FROM hub_revision
WHERE repository_id = :repository_id ORDER BY number DESC LIMIT 1;

-- name: revision
SELECT id, repository_id, number, commit_id, parent, message, created_at FROM hub_revision
WHERE repository_id = :repository_id AND commit_id = :commit_id;

-- name: add_revision
INSERT INTO hub_revision (id, repository_id, number, commit_id, parent, message, created_at)
VALUES (:id, :repository_id, :number, :commit_id, :parent, :message, :created_at);

-- name: files
SELECT path, sha256, size FROM hub_file WHERE revision_id = :revision_id ORDER BY path;

-- name: known
-- Which of these files a tenant may name without sending them: those that it published, sent, or could pull from anybody.
SELECT DISTINCT f.sha256 FROM hub_file f JOIN hub_revision v ON v.id = f.revision_id
  JOIN hub_repository r ON r.id = v.repository_id
WHERE f.sha256 IN (:hashes...) AND (
  r.tenant_id = :tenant_id OR r.visibility = 'public'
    AND NOT EXISTS (SELECT 1 FROM suspension s WHERE s.tenant_id = r.tenant_id AND s.lifted_at IS NULL)
)
UNION
SELECT sha256 FROM hub_upload WHERE tenant_id = :tenant_id AND whole_at IS NOT NULL AND sha256 IN (:hashes...);

-- name: stored
-- Bytes that a tenant has here: each content once, with what it sends or has sent and not committed.
SELECT COALESCE(SUM(size), 0) FROM (
  SELECT f.sha256, f.size FROM hub_file f JOIN hub_revision v ON v.id = f.revision_id
    JOIN hub_repository r ON r.id = v.repository_id WHERE r.tenant_id = :tenant_id
  UNION SELECT sha256, size FROM hub_upload WHERE tenant_id = :tenant_id
) AS mine;

-- name: owned
SELECT DISTINCT f.sha256 FROM hub_file f JOIN hub_revision v ON v.id = f.revision_id
  JOIN hub_repository r ON r.id = v.repository_id WHERE r.tenant_id = :tenant_id AND f.sha256 IN (:hashes...)
UNION SELECT sha256 FROM hub_upload WHERE tenant_id = :tenant_id AND sha256 IN (:hashes...);

-- name: upload
SELECT size, whole_at FROM hub_upload WHERE tenant_id = :tenant_id AND sha256 = :sha256;

-- name: uploads_of
SELECT COUNT(*) FROM hub_upload WHERE tenant_id = :tenant_id;

-- name: begin_upload
INSERT INTO hub_upload (tenant_id, sha256, size, touched_at, whole_at) VALUES (:tenant_id, :sha256, :size, :at, NULL)
ON CONFLICT (tenant_id, sha256) DO UPDATE SET touched_at = excluded.touched_at, whole_at = NULL, size = excluded.size;

-- name: whole_upload
UPDATE hub_upload SET whole_at = :at, touched_at = :at WHERE tenant_id = :tenant_id AND sha256 = :sha256;

-- name: end_upload
DELETE FROM hub_upload WHERE tenant_id = :tenant_id AND sha256 = :sha256;

-- name: end_uploads
DELETE FROM hub_upload WHERE tenant_id = :tenant_id AND whole_at IS NOT NULL AND sha256 IN (:hashes...);

-- name: stale_uploads
SELECT tenant_id, sha256 FROM hub_upload WHERE touched_at < :before;

-- name: named
SELECT sha256 FROM hub_file WHERE sha256 IN (:hashes...) UNION SELECT sha256 FROM hub_upload WHERE sha256 IN (:hashes...);

-- name: contents
SELECT DISTINCT sha256, size FROM hub_file;

-- name: contents_of
SELECT DISTINCT f.sha256 FROM hub_file f JOIN hub_revision v ON v.id = f.revision_id WHERE v.repository_id = :repository_id;

-- name: delete_files
DELETE FROM hub_file WHERE revision_id IN (SELECT id FROM hub_revision WHERE repository_id = :repository_id);

-- name: delete_revisions
DELETE FROM hub_revision WHERE repository_id = :repository_id;

-- name: delete_pulls
DELETE FROM hub_pull WHERE repository_id = :repository_id;

-- name: delete_repository
DELETE FROM hub_repository WHERE id = :repository_id;

-- name: count_pull
INSERT INTO hub_pull (repository_id, day, tenant_id, pulls) VALUES (:repository_id, :day, :tenant_id, 1)
ON CONFLICT (repository_id, day, tenant_id) DO UPDATE SET pulls = hub_pull.pulls + 1;

-- name: pulls
SELECT COALESCE(SUM(pulls), 0) FROM hub_pull WHERE repository_id = :repository_id;
