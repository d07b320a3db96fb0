-- Each query but the sums and pages returns one text: the first disagreement, named with its ids.
-- Sums are taken in two halves (units and nano-units), since a sum of a large cloud does not fit 64 bits.

-- name: count_accounts
SELECT COUNT(*) FROM account;

-- name: count_transfers
SELECT COUNT(*) FROM transfer;

-- name: count_resolutions
SELECT COUNT(*) FROM transfer WHERE kind IN ('post', 'void');

-- name: count_posts
SELECT COUNT(*) FROM transfer WHERE kind = 'post';

-- name: count_usage
SELECT COUNT(*) FROM usage;

-- name: count_holds
SELECT COUNT(*) FROM open_hold;

-- name: count_grants
SELECT COUNT(*) FROM credit_grant;

-- name: count_budgets
SELECT COUNT(*) FROM budget;

-- name: totals
SELECT currency, SUM(debits_posted / 1000000000), SUM(debits_posted % 1000000000), SUM(credits_posted / 1000000000),
  SUM(credits_posted % 1000000000), SUM(debits_pending / 1000000000), SUM(debits_pending % 1000000000),
  SUM(credits_pending / 1000000000), SUM(credits_pending % 1000000000)
FROM account GROUP BY currency ORDER BY currency;

-- name: pending_transfers
SELECT a.currency, SUM(p.amount / 1000000000), SUM(p.amount % 1000000000)
FROM transfer AS p JOIN account AS a ON a.id = p.debit_account
WHERE p.kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer AS r WHERE r.pending_id = p.id)
GROUP BY a.currency;

-- name: open_holds
SELECT currency, SUM(amount / 1000000000), SUM(amount % 1000000000) FROM open_hold GROUP BY currency;

-- name: replay
-- Every account, built again from nothing but the transfers.
WITH line (account, debits_pending, debits_posted, credits_pending, credits_posted) AS (
  SELECT debit_account, 0, amount, 0, 0 FROM transfer WHERE kind IN ('single', 'post')
  UNION ALL
  SELECT credit_account, 0, 0, 0, amount FROM transfer WHERE kind IN ('single', 'post')
  UNION ALL
  SELECT debit_account, amount, 0, 0, 0 FROM transfer AS p
  WHERE kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer AS r WHERE r.pending_id = p.id)
  UNION ALL
  SELECT credit_account, 0, 0, amount, 0 FROM transfer AS p
  WHERE kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer AS r WHERE r.pending_id = p.id)
),
replayed AS (
  SELECT account,
    SUM(debits_pending / 1000000000) AS dp, SUM(debits_pending % 1000000000) AS dp_nano,
    SUM(debits_posted / 1000000000) AS d, SUM(debits_posted % 1000000000) AS d_nano,
    SUM(credits_pending / 1000000000) AS cp, SUM(credits_pending % 1000000000) AS cp_nano,
    SUM(credits_posted / 1000000000) AS c, SUM(credits_posted % 1000000000) AS c_nano
  FROM line GROUP BY account
)
SELECT 'account ' || a.id || ' has columns that its transfers do not come to: ' || CASE
  WHEN COALESCE(d + d_nano / 1000000000, 0) <> debits_posted / 1000000000
    OR COALESCE(d_nano % 1000000000, 0) <> debits_posted % 1000000000 THEN 'debits_posted'
  WHEN COALESCE(c + c_nano / 1000000000, 0) <> credits_posted / 1000000000
    OR COALESCE(c_nano % 1000000000, 0) <> credits_posted % 1000000000 THEN 'credits_posted'
  WHEN COALESCE(dp + dp_nano / 1000000000, 0) <> debits_pending / 1000000000
    OR COALESCE(dp_nano % 1000000000, 0) <> debits_pending % 1000000000 THEN 'debits_pending'
  ELSE 'credits_pending' END
FROM account AS a LEFT JOIN replayed AS r ON r.account = a.id
WHERE COALESCE(d + d_nano / 1000000000, 0) <> debits_posted / 1000000000
  OR COALESCE(d_nano % 1000000000, 0) <> debits_posted % 1000000000
  OR COALESCE(c + c_nano / 1000000000, 0) <> credits_posted / 1000000000
  OR COALESCE(c_nano % 1000000000, 0) <> credits_posted % 1000000000
  OR COALESCE(dp + dp_nano / 1000000000, 0) <> debits_pending / 1000000000
  OR COALESCE(dp_nano % 1000000000, 0) <> debits_pending % 1000000000
  OR COALESCE(cp + cp_nano / 1000000000, 0) <> credits_pending / 1000000000
  OR COALESCE(cp_nano % 1000000000, 0) <> credits_pending % 1000000000
LIMIT 1;

-- name: overdrawn
SELECT 'account ' || id || ' is overdrawn: it may go ' || overdraft || ' nano-units below zero and is at '
  || (credits_posted - debits_posted - debits_pending)
FROM account WHERE overdraft IS NOT NULL AND credits_posted - debits_posted - debits_pending + overdraft < 0
LIMIT 1;

-- name: stray_transfer
SELECT 'transfer ' || t.id || CASE
  WHEN d.id IS NULL THEN ' debits account ' || t.debit_account || ', which is not there'
  WHEN c.id IS NULL THEN ' credits account ' || t.credit_account || ', which is not there'
  WHEN t.amount < 0 THEN ' has a negative amount'
  ELSE ' is between ' || d.id || ' and ' || c.id || ', which are of two currencies or one account' END
FROM transfer AS t LEFT JOIN account AS d ON d.id = t.debit_account LEFT JOIN account AS c ON c.id = t.credit_account
WHERE d.id IS NULL OR c.id IS NULL OR d.currency <> c.currency OR d.id = c.id OR t.amount < 0
LIMIT 1;

-- name: resolved_twice
SELECT 'pending transfer ' || pending_id || ' is resolved ' || COUNT(*) || ' times'
FROM transfer WHERE pending_id IS NOT NULL GROUP BY pending_id HAVING COUNT(*) > 1
LIMIT 1;

-- name: wrong_resolution
SELECT 'transfer ' || r.id || CASE
  WHEN r.pending_id IS NULL THEN ' is a ' || r.kind || ' and resolves nothing'
  WHEN r.kind NOT IN ('post', 'void') THEN ' is a ' || r.kind || ' and cannot resolve ' || r.pending_id
  WHEN p.id IS NULL OR p.kind <> 'pending' THEN ' resolves ' || r.pending_id || ', which is no pending transfer'
  WHEN r.kind = 'void' AND r.amount <> 0 THEN ' is a void of ' || r.amount || ', not of 0'
  WHEN r.amount > p.amount THEN ' posts ' || r.amount || ', more than the ' || p.amount || ' that were pending'
  ELSE ' is between other accounts than ' || r.pending_id || ', which it resolves' END
FROM transfer AS r LEFT JOIN transfer AS p ON p.id = r.pending_id
WHERE (r.kind IN ('post', 'void') AND (
    r.pending_id IS NULL OR p.id IS NULL OR p.kind <> 'pending' OR r.amount > p.amount OR (r.kind = 'void' AND r.amount <> 0)
    OR r.debit_account <> p.debit_account OR r.credit_account <> p.credit_account
  )) OR (r.kind NOT IN ('post', 'void') AND r.pending_id IS NOT NULL)
LIMIT 1;

-- name: hold_without_legs
-- '0' is the character after '/': the legs of 'req_1' are 'req_1/1', 'req_1/2' and so on. The plus keeps the planner on ids.
SELECT 'hold ' || request_id || ' of ' || amount || ' in ' || legs || ' parts has pending transfers of '
  || (units * 1000000000 + nano) || ' in ' || found
FROM (
  SELECT h.request_id, h.amount, h.legs, COUNT(p.id) AS found, COALESCE(SUM(p.amount / 1000000000), 0) AS units,
    COALESCE(SUM(p.amount % 1000000000), 0) AS nano
  FROM open_hold AS h LEFT JOIN transfer AS p ON p.id > h.request_id || '/' AND p.id < h.request_id || '0'
    AND +p.kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer AS r WHERE r.pending_id = p.id)
  GROUP BY h.request_id
)
WHERE found <> legs OR units + nano / 1000000000 <> amount / 1000000000 OR nano % 1000000000 <> amount % 1000000000
LIMIT 1;

-- name: pending_without_hold
SELECT 'transfer ' || p.id || ' is pending, and there is no open hold for it'
FROM transfer AS p
WHERE p.kind = 'pending' AND NOT EXISTS (SELECT 1 FROM transfer AS r WHERE r.pending_id = p.id)
  AND NOT EXISTS (SELECT 1 FROM open_hold AS h WHERE h.request_id = substr(p.id, 1, instr(p.id, '/') - 1))
LIMIT 1;

-- name: usage_twice
SELECT 'request ' || request_id || ' has ' || COUNT(*) || ' usage rows'
FROM usage GROUP BY request_id HAVING COUNT(*) > 1
LIMIT 1;

-- name: usage_and_hold
SELECT 'request ' || h.request_id || ' has a usage row and an open hold'
FROM open_hold AS h JOIN usage AS u ON u.request_id = h.request_id
LIMIT 1;

-- name: usage_against_posts
-- The CAST gives the text its type, without which no index can be made for the join.
WITH posted AS (
  SELECT CAST(substr(id, 1, instr(id, '/') - 1) AS TEXT) AS request_id,
    SUM(amount / 1000000000) AS units, SUM(amount % 1000000000) AS nano
  FROM transfer WHERE kind = 'post' GROUP BY 1
)
SELECT 'request ' || u.request_id || ' was charged ' || u.amount || ' and posted '
  || (COALESCE(p.units, 0) * 1000000000 + COALESCE(p.nano, 0))
FROM usage AS u LEFT JOIN posted AS p ON p.request_id = u.request_id
WHERE COALESCE(p.units, 0) + COALESCE(p.nano, 0) / 1000000000 <> u.amount / 1000000000
  OR COALESCE(p.nano, 0) % 1000000000 <> u.amount % 1000000000
LIMIT 1;

-- name: post_without_usage
SELECT 'transfer ' || t.id || ' posts, and there is no usage row for it'
FROM transfer AS t
WHERE t.kind = 'post'
  AND NOT EXISTS (SELECT 1 FROM usage AS u WHERE u.request_id = substr(t.id, 1, instr(t.id, '/') - 1))
LIMIT 1;

-- name: post_of_a_stranger
-- A request draws on its own tenant's accounts and earns on its own model's.
SELECT 'request ' || u.request_id || ' of ' || u.tenant_id || ' drew on ' || t.debit_account || ' for ' || t.credit_account
FROM transfer AS t JOIN usage AS u ON u.request_id = substr(t.id, 1, instr(t.id, '/') - 1)
WHERE t.kind = 'post' AND (
  t.credit_account <> 'revenue/' || u.currency || '/' || u.model
  OR (t.debit_account <> 'receivable/' || u.tenant_id || '/' || u.currency AND NOT EXISTS (
    SELECT 1 FROM credit_grant AS g
    WHERE g.id = substr(t.debit_account, 7) AND t.debit_account = 'grant/' || g.id
      AND g.tenant_id = u.tenant_id AND g.currency = u.currency
  ))
)
LIMIT 1;

-- name: tenant_against_posts
-- By whose accounts they were: grants say it in their row, a receivable in its name.
WITH line (tenant_id, currency, charged, posted) AS (
  SELECT tenant_id, currency, amount, 0 FROM usage
  UNION ALL
  SELECT g.tenant_id, g.currency, 0, t.amount
  FROM transfer AS t JOIN credit_grant AS g ON g.id = substr(t.debit_account, 7)
  WHERE t.kind = 'post' AND t.debit_account >= 'grant/' AND t.debit_account < 'grant0'
  UNION ALL
  SELECT substr(t.debit_account, 12, instr(substr(t.debit_account, 12), '/') - 1), a.currency, 0, t.amount
  FROM transfer AS t JOIN account AS a ON a.id = t.debit_account
  WHERE t.kind = 'post' AND t.debit_account >= 'receivable/' AND t.debit_account < 'receivable0'
)
SELECT 'tenant ' || tenant_id || ' was charged ' || (charged * 1000000000 + charged_nano) || ' nano-units of ' || currency
  || ' and posted ' || (posted * 1000000000 + posted_nano)
FROM (
  SELECT tenant_id, currency, SUM(charged / 1000000000) AS charged, SUM(charged % 1000000000) AS charged_nano,
    SUM(posted / 1000000000) AS posted, SUM(posted % 1000000000) AS posted_nano
  FROM line GROUP BY tenant_id, currency
)
WHERE charged + charged_nano / 1000000000 <> posted + posted_nano / 1000000000
  OR charged_nano % 1000000000 <> posted_nano % 1000000000
LIMIT 1;

-- name: count_tenants
SELECT COUNT(*) FROM (SELECT DISTINCT tenant_id, currency FROM usage);

-- name: rated
SELECT seq, request_id, input, cached_input, output, reasoning, price_id, tier, amount, currency, model
FROM usage WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: grant_sums
WITH debited AS (
  SELECT t.debit_account AS account,
    SUM(CASE WHEN kind = 'post' THEN amount ELSE 0 END) AS used,
    SUM(CASE WHEN kind = 'single' AND t.id >= substr(t.debit_account, 7) || '/expired/' AND t.id < substr(t.debit_account, 7) || '/expired0' THEN amount ELSE 0 END) AS expired
  FROM transfer AS t WHERE t.debit_account LIKE 'grant/%' AND kind IN ('post', 'single') GROUP BY t.debit_account
)
SELECT 'grant ' || g.id || ' of ' || g.amount || ': used ' || COALESCE(d.used, 0) || ', expired ' || COALESCE(d.expired, 0)
  || ', left ' || COALESCE(a.credits_posted - a.debits_posted - a.debits_pending, 0)
  || ', held ' || COALESCE(a.debits_pending, 0)
FROM credit_grant AS g
  LEFT JOIN account AS a ON a.id = 'grant/' || g.id
  LEFT JOIN debited AS d ON d.account = 'grant/' || g.id
WHERE a.id IS NULL OR a.currency <> g.currency
  OR COALESCE(d.used, 0) + COALESCE(d.expired, 0) + a.credits_posted - a.debits_posted <> g.amount
LIMIT 1;

-- name: grant_without_transfer
SELECT 'grant ' || g.id || ' of ' || g.amount || ' was not booked by a transfer of its id'
FROM credit_grant AS g LEFT JOIN transfer AS t ON t.id = g.id
WHERE t.id IS NULL OR t.kind <> 'single' OR t.amount <> g.amount OR t.credit_account <> 'grant/' || g.id
LIMIT 1;

-- name: grant_forgotten
SELECT 'grant ' || g.id || ' has ' || (a.credits_posted - a.debits_posted) || ' left and is not among the live ones'
FROM credit_grant AS g JOIN account AS a ON a.id = 'grant/' || g.id
WHERE a.credits_posted > a.debits_posted AND NOT EXISTS (
  SELECT 1 FROM live_grant AS l
  WHERE l.tenant_id = g.tenant_id AND l.currency = g.currency AND l.priority = g.priority
    AND l.expires_at = COALESCE(g.expires_at, 9223372036854775807) AND l.grant_id = g.id AND l.account = a.id
)
LIMIT 1;

-- name: budget_sums
-- A request counts in the month in which it was held for, whenever it ends.
WITH spent AS (
  SELECT key_id, strftime('%Y-%m', started_at / 1000000000, 'unixepoch') AS month, SUM(amount) AS amount
  FROM usage WHERE key_id IN (SELECT key_id FROM budget) GROUP BY 1, 2
),
held AS (
  SELECT key_id, budget_month AS month, SUM(amount) AS amount
  FROM open_hold WHERE budget_month IS NOT NULL GROUP BY 1, 2
)
SELECT 'key ' || b.key_id || ' in ' || b.month || ': the budget says spent ' || b.spent || ' and held ' || b.held
  || ', the requests come to ' || COALESCE(s.amount, 0) || ' and ' || COALESCE(h.amount, 0)
FROM budget AS b
  LEFT JOIN spent AS s ON s.key_id = b.key_id AND s.month = b.month
  LEFT JOIN held AS h ON h.key_id = b.key_id AND h.month = b.month
WHERE b.spent <> COALESCE(s.amount, 0) OR b.held <> COALESCE(h.amount, 0)
LIMIT 1;

-- name: budget_missing
SELECT 'request ' || u.request_id || ' of key ' || u.key_id || ' counts in no budget'
FROM api_key AS k JOIN usage AS u ON u.key_id = k.id
WHERE k.budget IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM budget AS b
  WHERE b.key_id = k.id AND b.month = strftime('%Y-%m', u.started_at / 1000000000, 'unixepoch')
)
LIMIT 1;

-- name: budget_exceeded
SELECT 'key ' || k.id || ' has a budget of ' || k.budget || ' and used ' || (b.spent + b.held) || ' of it in ' || b.month
FROM budget AS b JOIN api_key AS k ON k.id = b.key_id
WHERE k.budget IS NOT NULL AND b.spent > k.budget - b.held
LIMIT 1;

-- name: unknown_epoch
SELECT 'request ' || request_id || ' was held by epoch ' || epoch || ', which never was'
FROM (SELECT request_id, epoch FROM open_hold UNION ALL SELECT request_id, epoch FROM usage) AS r
WHERE NOT EXISTS (SELECT 1 FROM epoch AS e WHERE e.number = r.epoch)
LIMIT 1;
