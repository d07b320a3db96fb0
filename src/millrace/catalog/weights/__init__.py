"""Weights on disk: content-addressed files, and the models that are made of them."""
