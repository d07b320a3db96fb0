"""Models on offer: the one answer to "which model"."""
