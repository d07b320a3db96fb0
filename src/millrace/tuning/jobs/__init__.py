"""Tuning jobs: what was asked for, how far it is, what became of it."""
