"""Engines made of models as they are declared: what `wiring` has made, one kind a file."""
