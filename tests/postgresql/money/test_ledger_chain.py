"""tests/money/ledger/test_chain.py on PostgreSQL."""

from tests.money.ledger.test_chain import *  # noqa: F403 - each of its tests is one of this file
