"""The trainer: a process of its own that turns a base and a file of examples into an adapter."""
