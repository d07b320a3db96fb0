"""The database door: one writer with group commit, read-only readers, named SQL, migrations. No domain words."""
