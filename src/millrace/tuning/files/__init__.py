"""Files that tenants send: whose, for what, and their contents."""
