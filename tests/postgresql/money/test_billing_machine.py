"""tests/money/billing/test_machine.py on PostgreSQL."""

from tests.money.billing.test_machine import *  # noqa: F403 - each of its tests is one of this file
