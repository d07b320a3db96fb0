"""Backups: everything durable of a cloud in one file, and back. The file is the same whichever database it came from."""
