"""From usage rows to invoices: frozen documents, numbered without gaps, that the ledger agrees with."""
