"""Values without I/O: identifiers, money, time, refusals. Knows no other room."""
