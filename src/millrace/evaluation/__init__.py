"""Asking a model every case of a suite, judging its answers by written rules, and saying how sure the share is."""
