-- name: add
INSERT INTO tuning_job (id, tenant_id, project_id, key_id, model, price_id, training_file, validation_file, wish, claim_key,
  claim_body, status, examples, tokens_per_epoch, epochs, batch_size, amount, created_at)
VALUES (:id, :tenant_id, :project_id, :key_id, :model, :price_id, :training_file, :validation_file, :wish, :claim_key,
  :claim_body, :status, :examples, :tokens_per_epoch, :epochs, :batch_size, :amount, :created_at);

-- name: fail_new
UPDATE tuning_job SET status = 'failed', finished_at = :at, error_code = :error_code, error = :error, error_param = :error_param
WHERE id = :id AND status = 'validating_files' AND epoch IS NULL;

-- name: find
SELECT id, tenant_id, project_id, key_id, model, price_id, training_file, validation_file, wish, created_at, claim_key, claim_body,
  status, examples, tokens_per_epoch, epochs, batch_size, amount, step, steps, trained, billed, tuned_model, error_code, error,
  error_param, epoch, failures, not_before, cancel_at, started_at, finished_at
FROM tuning_job WHERE id = :id;

-- name: by_claim
SELECT id, tenant_id, project_id, key_id, model, price_id, training_file, validation_file, wish, created_at, claim_key, claim_body,
  status, examples, tokens_per_epoch, epochs, batch_size, amount, step, steps, trained, billed, tuned_model, error_code, error,
  error_param, epoch, failures, not_before, cancel_at, started_at, finished_at
FROM tuning_job WHERE claim_key = :claim_key;

-- name: page
SELECT id, tenant_id, project_id, key_id, model, price_id, training_file, validation_file, wish, created_at, claim_key, claim_body,
  status, examples, tokens_per_epoch, epochs, batch_size, amount, step, steps, trained, billed, tuned_model, error_code, error,
  error_param, epoch, failures, not_before, cancel_at, started_at, finished_at
FROM tuning_job WHERE tenant_id = :tenant_id AND (created_at, id) < (:before_at, :before_id)
ORDER BY created_at DESC, id DESC LIMIT :rows;

-- name: open
-- Jobs that are not over, oldest first, with those that wait for a time that has not come, and without those of suspended tenants.
SELECT j.id, j.tenant_id, j.project_id, j.key_id, j.model, j.price_id, j.training_file, j.validation_file, j.wish, j.created_at,
  j.claim_key, j.claim_body, j.status, j.examples, j.tokens_per_epoch, j.epochs, j.batch_size, j.amount, j.step, j.steps, j.trained,
  j.billed, j.tuned_model, j.error_code, j.error, j.error_param, j.epoch, j.failures, j.not_before, j.cancel_at, j.started_at,
  j.finished_at
FROM tuning_job AS j
WHERE j.finished_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM suspension AS s WHERE s.tenant_id = j.tenant_id AND s.lifted_at IS NULL)
ORDER BY j.created_at, j.id;

-- name: epochs
-- Supervisors that have a job in hand, alive or dead.
SELECT DISTINCT epoch FROM tuning_job WHERE finished_at IS NULL AND epoch IS NOT NULL ORDER BY epoch;

-- name: claim
-- One row changes for one supervisor: the job is in nobody's hand, or in that of one who is over or was taken over, all of whose
-- holds are then resolved.
UPDATE tuning_job SET epoch = :epoch, status = CASE WHEN status = 'running' THEN 'queued' ELSE status END
WHERE id = :id AND finished_at IS NULL AND (epoch IS NULL OR epoch IN (SELECT number FROM epoch WHERE ended_at IS NOT NULL));

-- name: mine
-- Whose server was taken over has nothing in hand any more.
SELECT status FROM tuning_job WHERE id = :id AND epoch = :epoch AND finished_at IS NULL
  AND EXISTS (SELECT 1 FROM epoch WHERE number = :epoch AND taken_by IS NULL AND ended_at IS NULL) FOR UPDATE;

-- name: begin
UPDATE tuning_job SET status = 'running', started_at = COALESCE(started_at, :at) WHERE id = :id AND epoch = :epoch;

-- name: add_attempt
INSERT INTO tuning_attempt (request_id, job_id, epoch, began_at) VALUES (:request_id, :job_id, :epoch, :began_at);

-- name: attempts
SELECT request_id, epoch, began_at FROM tuning_attempt WHERE job_id = :job_id ORDER BY began_at, request_id;

-- name: let_go
UPDATE tuning_job SET epoch = NULL, status = CASE WHEN status = 'running' THEN 'queued' ELSE status END, not_before = :not_before,
  failures = :failures
WHERE id = :id AND epoch = :epoch AND finished_at IS NULL;

-- name: count_failure
UPDATE tuning_job SET failures = failures + 1 WHERE id = :id AND epoch = :epoch AND finished_at IS NULL;

-- name: plan
UPDATE tuning_job SET status = 'queued', examples = :examples, tokens_per_epoch = :tokens_per_epoch, epochs = :epochs,
  batch_size = :batch_size, amount = :amount
WHERE id = :id AND epoch = :epoch AND status = 'validating_files';

-- name: progress
UPDATE tuning_job SET step = :step, steps = :steps, trained = :trained WHERE id = :id AND epoch = :epoch AND finished_at IS NULL;

-- name: well
-- It came as far as a checkpoint that is there: what failed before is forgotten.
UPDATE tuning_job SET failures = 0 WHERE id = :id AND epoch = :epoch;

-- name: finish
UPDATE tuning_job SET status = :status, finished_at = :at, billed = :billed, tuned_model = :tuned_model, error_code = :error_code,
  error = :error, error_param = :error_param, epoch = NULL, trained = CASE WHEN :trained < 0 THEN trained ELSE :trained END
WHERE id = :id AND epoch = :epoch AND finished_at IS NULL;

-- name: ask_for_the_end
UPDATE tuning_job SET cancel_at = :at WHERE id = :id AND finished_at IS NULL AND cancel_at IS NULL;

-- name: cancel_waiting
-- In nobody's hand it is over at once.
UPDATE tuning_job SET status = 'cancelled', finished_at = :at WHERE id = :id AND finished_at IS NULL AND epoch IS NULL;

-- name: cancelled
SELECT cancel_at FROM tuning_job WHERE id = :id;

-- name: add_event
INSERT INTO tuning_event (job_id, number, at, level, kind, message, data)
SELECT :job_id, COALESCE(MAX(number), 0) + 1, :at, :level, :kind, :message, :data FROM tuning_event WHERE job_id = :job_id;

-- name: events
SELECT number, at, level, kind, message, data FROM tuning_event
WHERE job_id = :job_id AND number < :before ORDER BY number DESC LIMIT :rows;

-- name: events_after
SELECT number, at, level, kind, message, data FROM tuning_event
WHERE job_id = :job_id AND number > :after ORDER BY number LIMIT :rows;

-- name: last_message
SELECT message FROM tuning_event WHERE job_id = :job_id AND kind = 'message' ORDER BY number DESC LIMIT 1;

-- name: add_step
INSERT INTO tuning_step (job_id, step, tokens, epoch, loss, held_out) VALUES (:job_id, :step, :tokens, :epoch, :loss, :held_out)
ON CONFLICT (job_id, step) DO UPDATE SET tokens = excluded.tokens, epoch = excluded.epoch, loss = excluded.loss,
  held_out = excluded.held_out;

-- name: steps
SELECT step, tokens, epoch, loss, held_out FROM tuning_step WHERE job_id = :job_id ORDER BY step;

-- name: step_at
SELECT step, tokens, epoch, loss, held_out FROM tuning_step WHERE job_id = :job_id AND step <= :step ORDER BY step DESC LIMIT 1;

-- name: add_checkpoint
INSERT INTO tuning_checkpoint (id, job_id, step, tokens, created_at) VALUES (:id, :job_id, :step, :tokens, :created_at)
ON CONFLICT (job_id, step) DO NOTHING;

-- name: checkpoints
SELECT id, step, tokens, created_at FROM tuning_checkpoint WHERE job_id = :job_id ORDER BY step DESC;
