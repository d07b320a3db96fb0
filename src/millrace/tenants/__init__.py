"""Tenants, projects and keys: the one answer to "who may"."""
