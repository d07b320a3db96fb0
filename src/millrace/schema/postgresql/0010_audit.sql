-- Where the last audit found everything in order, so that the next can go on from there; who audits a day; what engines made.
CREATE TABLE audit_mark (
  number    BIGINT PRIMARY KEY,
  transfers BIGINT NOT NULL CHECK (transfers >= 0),
  usage     BIGINT NOT NULL CHECK (usage >= 0),
  chains    TEXT COLLATE "C" NOT NULL,
  waiting   TEXT COLLATE "C" NOT NULL,
  at        BIGINT NOT NULL
);

CREATE TABLE audit_balance (
  name            TEXT COLLATE "C" NOT NULL,
  mark            BIGINT NOT NULL,
  debits_pending  BIGINT NOT NULL,
  debits_posted   BIGINT NOT NULL,
  credits_pending BIGINT NOT NULL,
  credits_posted  BIGINT NOT NULL,
  used            BIGINT NOT NULL,
  expired         BIGINT NOT NULL,
  PRIMARY KEY (name, mark)
);

CREATE TABLE audit_day (
  day         TEXT COLLATE "C" PRIMARY KEY,
  claimed_at  BIGINT NOT NULL,
  finished_at BIGINT,
  failed      BIGINT CHECK (failed >= 0)
);

CREATE TABLE engine_count (
  epoch    BIGINT NOT NULL,
  model    TEXT COLLATE "C" NOT NULL,
  day      TEXT COLLATE "C" NOT NULL,
  requests BIGINT NOT NULL,
  input    BIGINT NOT NULL,
  output   BIGINT NOT NULL,
  PRIMARY KEY (epoch, model, day)
);
