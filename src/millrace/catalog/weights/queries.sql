-- name: count_pull
INSERT INTO model_pull (model, day, pulls) VALUES (:model, :day, 1)
ON CONFLICT (model, day) DO UPDATE SET pulls = model_pull.pulls + 1;

-- name: pulls
SELECT model, SUM(pulls) FROM model_pull GROUP BY model;
