"""Price books, and what a request comes to under one: exact and versioned. Moves no money."""
