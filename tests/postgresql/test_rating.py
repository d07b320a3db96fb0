"""The price book, as tests/money/rating tests it on SQLite, on PostgreSQL."""

from tests.money.rating.test_store import *  # noqa: F403 - each of its tests is one of this file

del db  # noqa: F821 - this folder's
