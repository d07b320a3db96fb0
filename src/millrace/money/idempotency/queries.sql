-- name: claim
-- Whoever comes second waits for the first one's transaction, and then finds his row.
INSERT INTO idempotency (key, tenant_id, body, request_id, epoch, created_at, state, size)
VALUES (:key, :tenant_id, :body, :request_id, :epoch, :created_at, 'running', :size)
ON CONFLICT DO NOTHING;

-- name: claim @postgresql
INSERT INTO idempotency (key, tenant_id, body, request_id, epoch, created_at, state, size)
SELECT key, tenant_id, body, request_id, epoch, created_at, 'running', size
FROM unnest(:key...::text[], :tenant_id...::text[], :body...::text[], :request_id...::text[], :epoch...::bigint[],
  :created_at...::bigint[], :size...::bigint[])
  AS v (key, tenant_id, body, request_id, epoch, created_at, size)
ORDER BY key
ON CONFLICT DO NOTHING;

-- name: owners
SELECT key, request_id FROM idempotency WHERE key IN (:keys...);

-- name: find
SELECT request_id, body, state, status, form, answer FROM idempotency WHERE key = :key AND tenant_id = :tenant_id;

-- name: running
SELECT request_id, tenant_id, epoch, size FROM idempotency
WHERE request_id IN (:request_ids...) AND state = 'running'
ORDER BY request_id FOR UPDATE;

-- name: finish
UPDATE idempotency SET state = :state, status = :status, form = :form, answer = :answer, size = :size
WHERE request_id = :request_id;

-- name: finish @postgresql
UPDATE idempotency SET state = v.state, status = v.status, form = v.form, answer = v.answer, size = v.size
FROM unnest(:request_id...::text[], :state...::text[], :status...::bigint[], :form...::text[], :answer...::bytea[],
  :size...::bigint[])
  AS v (request_id, state, status, form, answer, size)
WHERE idempotency.request_id = v.request_id;

-- name: release
DELETE FROM idempotency WHERE request_id IN (:request_ids...);

-- name: lose
UPDATE idempotency SET state = 'lost', size = 0 WHERE request_id IN (:request_ids...);

-- name: old
-- What is running stays, however old: its request may still be billed.
SELECT request_id, tenant_id, epoch, size FROM idempotency
WHERE created_at <= :before AND state <> 'running'
ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED;

-- name: spaces
SELECT tenant_id, SUM(keys), SUM(bytes) FROM idempotency_space WHERE tenant_id IN (:tenant_ids...) GROUP BY tenant_id;

-- name: take_space
INSERT INTO idempotency_space (tenant_id, epoch, keys, bytes) VALUES (:tenant_id, :epoch, :keys, :bytes)
ON CONFLICT (tenant_id, epoch) DO UPDATE SET
  keys = idempotency_space.keys + excluded.keys, bytes = idempotency_space.bytes + excluded.bytes;

-- name: take_space @postgresql
INSERT INTO idempotency_space (tenant_id, epoch, keys, bytes)
SELECT tenant_id, epoch, keys, bytes
FROM unnest(:tenant_id...::text[], :epoch...::bigint[], :keys...::bigint[], :bytes...::bigint[])
  AS v (tenant_id, epoch, keys, bytes)
ORDER BY tenant_id, epoch
ON CONFLICT (tenant_id, epoch) DO UPDATE SET
  keys = idempotency_space.keys + excluded.keys, bytes = idempotency_space.bytes + excluded.bytes;

-- name: give_space
UPDATE idempotency_space SET keys = keys - :keys, bytes = bytes - :bytes WHERE tenant_id = :tenant_id AND epoch = :epoch;

-- name: forget_space
DELETE FROM idempotency_space WHERE tenant_id = :tenant_id AND epoch = :epoch AND keys = 0;
