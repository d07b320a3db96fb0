"""Slices of a tenant's credit that a server holds for its own holds (escrow leases)."""
