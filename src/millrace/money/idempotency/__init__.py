"""Answers kept for repetition: who claimed a key, what he was answered, what a repeat is told. Knows no money."""
