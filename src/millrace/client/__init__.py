"""A thin typed client of our own HTTP API."""
