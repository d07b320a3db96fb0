"""Prepaid value: grants with funding, priority and expiry. Each is a ledger account; what is left of it is that
account's balance.
"""
