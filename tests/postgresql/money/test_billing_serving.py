"""tests/money/billing/test_serving.py on PostgreSQL, but for those that make many houses."""

from tests.money.billing.test_serving import *  # noqa: F403 - each of its tests is one of this file

del test_a_batch_is_as_its_orders_one_by_one, test_tenants_do_not_see_each_other, test_a_time_zone_changes_nothing  # noqa: F821
