"""What an empty home gets on its first start, on PostgreSQL."""

from tests.bootstrap.test_bootstrap import *  # noqa: F403 - each of its tests is one of this file

del db  # noqa: F821 - this folder's
