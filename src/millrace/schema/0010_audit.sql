-- Where the last audit found everything in order, so that the next can go on from there; who audits a day; what engines made.
CREATE TABLE audit_mark (
  number    INTEGER PRIMARY KEY,
  transfers INTEGER NOT NULL CHECK (transfers >= 0),    -- sequence numbers up to which the rows were read
  usage     INTEGER NOT NULL CHECK (usage >= 0),
  chains    TEXT NOT NULL,                              -- JSON [[number, length, head], …] at that point
  waiting   TEXT NOT NULL,                              -- JSON [[id, debit, credit, amount], …]: what was pending there
  at        INTEGER NOT NULL
) STRICT;

CREATE TABLE audit_balance (                            -- what the transfers up to a mark come to; a mark holds what changed since
  name            TEXT NOT NULL,                        -- an account, or 'budget/<key>/<month>', which has only `used`
  mark            INTEGER NOT NULL,                     -- without a row in audit_mark: the audit did not come to its end
  debits_pending  INTEGER NOT NULL,
  debits_posted   INTEGER NOT NULL,
  credits_pending INTEGER NOT NULL,
  credits_posted  INTEGER NOT NULL,
  used            INTEGER NOT NULL,
  expired         INTEGER NOT NULL,
  PRIMARY KEY (name, mark)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit_day (                                -- one server audits a day for all
  day         TEXT PRIMARY KEY,                         -- UTC
  claimed_at  INTEGER NOT NULL,
  finished_at INTEGER,
  failed      INTEGER CHECK (failed >= 0)               -- how many checks disagreed
) STRICT, WITHOUT ROWID;

CREATE TABLE engine_count (                             -- what engines said they made, counted apart from usage
  epoch    INTEGER NOT NULL,
  model    TEXT NOT NULL,
  day      TEXT NOT NULL,                               -- UTC, when the tokens came
  requests INTEGER NOT NULL,
  input    INTEGER NOT NULL,
  output   INTEGER NOT NULL,
  PRIMARY KEY (epoch, model, day)
) STRICT, WITHOUT ROWID;
