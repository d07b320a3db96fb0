-- Invoices are frozen documents; a void is a row beside one, and frees its usage for another.
CREATE TABLE counter (
  name  TEXT COLLATE "C" PRIMARY KEY,
  value BIGINT NOT NULL CHECK (value >= 0)
);

CREATE TABLE invoice (
  id        TEXT COLLATE "C" PRIMARY KEY,
  number    TEXT COLLATE "C" NOT NULL UNIQUE,
  tenant_id TEXT COLLATE "C" NOT NULL REFERENCES tenant (id),
  period    TEXT COLLATE "C" NOT NULL,
  currency  TEXT COLLATE "C" NOT NULL,
  total     BIGINT NOT NULL CHECK (total >= 0),
  document  TEXT COLLATE "C" NOT NULL,
  sha256    TEXT COLLATE "C" NOT NULL,
  issued_at BIGINT NOT NULL
);
CREATE INDEX invoice_tenant ON invoice (tenant_id, period);
CREATE TRIGGER invoice_is_never_changed BEFORE UPDATE ON invoice
FOR EACH ROW EXECUTE FUNCTION refuse('an invoice is never changed; void it and issue another');
CREATE TRIGGER invoice_is_never_deleted BEFORE DELETE ON invoice
FOR EACH ROW EXECUTE FUNCTION refuse('an invoice is never deleted; void it');

CREATE TABLE invoice_void (
  invoice_id TEXT COLLATE "C" PRIMARY KEY REFERENCES invoice (id),
  reason     TEXT COLLATE "C" NOT NULL CHECK (reason <> ''),
  at         BIGINT NOT NULL
);
CREATE TRIGGER invoice_void_is_never_changed BEFORE UPDATE ON invoice_void
FOR EACH ROW EXECUTE FUNCTION refuse('a void is final; issue another invoice');
CREATE TRIGGER invoice_void_is_never_deleted BEFORE DELETE ON invoice_void
FOR EACH ROW EXECUTE FUNCTION refuse('a void is final; issue another invoice');

-- What the next invoice takes, and what an invoice took. A request of which nothing was billed is on no invoice.
CREATE INDEX usage_not_invoiced ON usage (tenant_id, finished_at) WHERE invoice_id IS NULL AND input + output > 0;
CREATE INDEX usage_of_invoice ON usage (invoice_id) WHERE invoice_id IS NOT NULL;
