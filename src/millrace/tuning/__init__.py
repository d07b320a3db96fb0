"""Tuning: a model taught by a tenant's examples (LoRA), in a process apart from the gateway."""
