-- What the rows of the three busiest tables refer to is asked once for each statement that adds rows, not by a foreign key for
-- each row: that was two thirds of the time of hold and settle. The arguments of a `refers` trigger name the foreign keys that it
-- stands for: column, table, column, table, …. What is referred to cannot go away: see the end of this file.
ALTER TABLE transfer DROP CONSTRAINT transfer_debit_account_fkey;
ALTER TABLE transfer DROP CONSTRAINT transfer_credit_account_fkey;
ALTER TABLE transfer DROP CONSTRAINT transfer_pending_id_fkey;
ALTER TABLE usage DROP CONSTRAINT usage_tenant_id_fkey;
ALTER TABLE usage DROP CONSTRAINT usage_project_id_fkey;
ALTER TABLE usage DROP CONSTRAINT usage_key_id_fkey;
ALTER TABLE usage DROP CONSTRAINT usage_price_id_fkey;
ALTER TABLE open_hold DROP CONSTRAINT open_hold_tenant_id_fkey;
ALTER TABLE open_hold DROP CONSTRAINT open_hold_project_id_fkey;
ALTER TABLE open_hold DROP CONSTRAINT open_hold_key_id_fkey;
ALTER TABLE open_hold DROP CONSTRAINT open_hold_price_id_fkey;
ALTER TABLE open_hold DROP CONSTRAINT open_hold_epoch_fkey;

-- Each looks its few different values up by key, whatever the tables' sizes were when the plan was made.
CREATE FUNCTION transfer_refers() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  IF EXISTS (
    SELECT FROM (SELECT debit_account FROM added UNION SELECT credit_account FROM added) AS one (id)
    WHERE NOT EXISTS (SELECT FROM account WHERE account.id = one.id)
  ) OR EXISTS (
    SELECT FROM added WHERE pending_id IS NOT NULL AND NOT EXISTS (SELECT FROM transfer WHERE transfer.id = added.pending_id)
  ) THEN
    RAISE EXCEPTION USING MESSAGE = 'a transfer refers to what is not there', ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER transfer_refers AFTER INSERT ON transfer REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION transfer_refers('debit_account', 'account', 'credit_account', 'account', 'pending_id', 'transfer');

CREATE FUNCTION usage_refers() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  IF EXISTS (
    SELECT FROM (SELECT DISTINCT tenant_id, project_id, key_id, price_id FROM added) AS one
      LEFT JOIN tenant ON tenant.id = one.tenant_id LEFT JOIN project ON project.id = one.project_id
      LEFT JOIN api_key ON api_key.id = one.key_id LEFT JOIN price_version ON price_version.id = one.price_id
    WHERE tenant.id IS NULL OR project.id IS NULL OR api_key.id IS NULL OR price_version.id IS NULL
  ) THEN
    RAISE EXCEPTION USING MESSAGE = 'a usage row refers to what is not there', ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER usage_refers AFTER INSERT ON usage REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION usage_refers(
  'tenant_id', 'tenant', 'project_id', 'project', 'key_id', 'api_key', 'price_id', 'price_version'
);

CREATE FUNCTION open_hold_refers() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
  IF EXISTS (
    SELECT FROM (SELECT DISTINCT tenant_id, project_id, key_id, price_id, epoch FROM added) AS one
      LEFT JOIN tenant ON tenant.id = one.tenant_id LEFT JOIN project ON project.id = one.project_id
      LEFT JOIN api_key ON api_key.id = one.key_id LEFT JOIN price_version ON price_version.id = one.price_id
      LEFT JOIN epoch ON epoch.number = one.epoch
    WHERE tenant.id IS NULL OR project.id IS NULL OR api_key.id IS NULL OR price_version.id IS NULL OR epoch.number IS NULL
  ) THEN
    RAISE EXCEPTION USING MESSAGE = 'an open hold refers to what is not there', ERRCODE = 'foreign_key_violation';
  END IF;
  RETURN NULL;
END
$$;
CREATE TRIGGER open_hold_refers AFTER INSERT ON open_hold REFERENCING NEW TABLE AS added FOR EACH STATEMENT
EXECUTE FUNCTION open_hold_refers(
  'tenant_id', 'tenant', 'project_id', 'project', 'key_id', 'api_key', 'price_id', 'price_version', 'epoch', 'epoch'
);

CREATE TRIGGER account_is_referred_to BEFORE DELETE OR UPDATE OF id ON account
FOR EACH ROW EXECUTE FUNCTION refuse('an account stays, with its name');
CREATE TRIGGER tenant_is_referred_to BEFORE DELETE OR UPDATE OF id ON tenant
FOR EACH ROW EXECUTE FUNCTION refuse('a tenant stays, with its id');
CREATE TRIGGER project_is_referred_to BEFORE DELETE OR UPDATE OF id ON project
FOR EACH ROW EXECUTE FUNCTION refuse('a project stays, with its id');
CREATE TRIGGER api_key_is_referred_to BEFORE DELETE OR UPDATE OF id ON api_key
FOR EACH ROW EXECUTE FUNCTION refuse('a key stays, with its id; revoke it');
CREATE TRIGGER epoch_is_referred_to BEFORE DELETE OR UPDATE OF number ON epoch
FOR EACH ROW EXECUTE FUNCTION refuse('an epoch stays, with its number');
