"""Double entry: accounts and transfers, pending / post / void. Knows no tokens, no tenants, no prices."""
