-- Invoices are frozen documents; a void is a row beside one, and frees its usage for another.
CREATE TABLE counter (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL CHECK (value >= 0)
) STRICT;

CREATE TABLE invoice (
  id        TEXT PRIMARY KEY,
  number    TEXT NOT NULL UNIQUE,                       -- counted in the transaction that issues it: no gaps
  tenant_id TEXT NOT NULL REFERENCES tenant (id),
  period    TEXT NOT NULL,                              -- '2026-11'
  currency  TEXT NOT NULL,
  total     INTEGER NOT NULL CHECK (total >= 0),
  document  TEXT NOT NULL,                              -- canonical JSON, frozen
  sha256    TEXT NOT NULL,                              -- of the document, hexadecimal
  issued_at INTEGER NOT NULL
) STRICT;
CREATE INDEX invoice_tenant ON invoice (tenant_id, period);
CREATE TRIGGER invoice_is_never_changed BEFORE UPDATE ON invoice
BEGIN
  SELECT RAISE(ABORT, 'an invoice is never changed; void it and issue another');
END;
CREATE TRIGGER invoice_is_never_deleted BEFORE DELETE ON invoice
BEGIN
  SELECT RAISE(ABORT, 'an invoice is never deleted; void it');
END;

CREATE TABLE invoice_void (
  invoice_id TEXT PRIMARY KEY REFERENCES invoice (id),  -- so an invoice is voided once
  reason     TEXT NOT NULL CHECK (reason <> ''),
  at         INTEGER NOT NULL
) STRICT;
CREATE TRIGGER invoice_void_is_never_changed BEFORE UPDATE ON invoice_void
BEGIN
  SELECT RAISE(ABORT, 'a void is final; issue another invoice');
END;
CREATE TRIGGER invoice_void_is_never_deleted BEFORE DELETE ON invoice_void
BEGIN
  SELECT RAISE(ABORT, 'a void is final; issue another invoice');
END;

-- What the next invoice takes, and what an invoice took. A request of which nothing was billed is on no invoice.
CREATE INDEX usage_not_invoiced ON usage (tenant_id, finished_at) WHERE invoice_id IS NULL AND input + output > 0;
CREATE INDEX usage_of_invoice ON usage (invoice_id) WHERE invoice_id IS NOT NULL;
