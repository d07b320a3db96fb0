"""Models that tenants tuned: which there are, whose, on which base; and the adapters' files."""
