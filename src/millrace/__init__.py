"""Millrace: an AI cloud that anyone can run."""

__version__ = "0.1.0"
