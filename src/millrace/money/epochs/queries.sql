-- name: begin
-- The slot is the smallest number that no living server has. Two that begin at once may choose the same: then one gets no row.
INSERT INTO epoch (number, started_at, home, lease_until, slot)
SELECT (SELECT COALESCE(MAX(number), 0) + 1 FROM epoch), :now, :home, :lease_until,
  (SELECT MIN(candidate) FROM (
    SELECT 1 AS candidate UNION ALL SELECT slot + 1 FROM epoch WHERE ended_at IS NULL AND slot > 0
  ) AS candidates WHERE candidate NOT IN (SELECT slot FROM epoch WHERE ended_at IS NULL))
WHERE true
ON CONFLICT DO NOTHING
RETURNING number, slot;

-- name: renew
-- One row changes, unless somebody took over: then this server is fenced. The row stays locked until the transaction ends, so
-- that nobody takes over in the middle of it.
UPDATE epoch SET lease_until = :lease_until WHERE number = :number AND taken_by IS NULL AND ended_at IS NULL;

-- name: living
SELECT COUNT(*) FROM epoch WHERE ended_at IS NULL AND taken_by IS NULL AND lease_until > :now;

-- name: others
-- Those that are not over, ours excepted, and whether whoever took them over is still at it.
SELECT e.number, e.home, e.lease_until, e.taken_by, t.ended_at IS NULL AND t.taken_by IS NULL AND t.lease_until > :now, t.home
FROM epoch AS e LEFT JOIN epoch AS t ON t.number = e.taken_by
WHERE e.ended_at IS NULL AND e.number <> :number ORDER BY e.number;

-- name: take_over
-- One row changes for one taker: what was believed of the epoch still holds.
UPDATE epoch SET taken_by = :taker
WHERE number = :number AND ended_at IS NULL AND lease_until = :lease_until AND COALESCE(taken_by, 0) = :taken_by;

-- name: taken
SELECT number, home FROM epoch WHERE taken_by = :taker AND ended_at IS NULL ORDER BY number;

-- name: end
-- One row changes, or something of the epoch is open yet.
UPDATE epoch SET ended_at = :now
WHERE number = :number AND ended_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM open_hold WHERE open_hold.epoch = :number)
  AND NOT EXISTS (SELECT 1 FROM lease WHERE lease.epoch = :number);

-- name: is_over
SELECT 1 FROM epoch WHERE number = :number AND ended_at IS NOT NULL;
