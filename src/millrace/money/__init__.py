"""The books, a room of rooms: ledger, metering, rating, billing, grants, invoices, audit."""
