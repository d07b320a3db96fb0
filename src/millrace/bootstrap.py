"""What an empty home gets on its first start: a tenant with something to spend, a project and a key."""

from typing import Final

from msgspec import Struct

from millrace.base.clock import Clock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.base.money import NANO
from millrace.money.grants import store as grants
from millrace.money.grants.grant import Funding
from millrace.store.database import Database
from millrace.store.once import write_once
from millrace.store.transaction import Tx
from millrace.tenants import store as tenants
from millrace.tenants.secret import Secret

TENANT: Final = "demo"
PROJECT: Final = "default"
GRANT_NANO: Final = 10 * NANO
"""Ten units of the tenant's currency: some fifty million tokens of the bundled model, and a gift, never revenue."""


class FirstKey(Struct, frozen=True, kw_only=True):
    """The first key of a home. `secret` is nowhere else: whoever gets this shows it, once."""

    tenant: str
    project: str
    key_id: str
    secret: Secret


def bootstrap(db: Database, clock: Clock) -> FirstKey | None:
    """Make tenant, project, grant and key in one transaction, unless there is a tenant already (None).

    Of servers that start at the same moment on one database, one makes them.
    """
    try:
        return write_once(db, lambda tx: _first(tx, Ids(clock), clock.now()))
    except Refusal as refusal:
        if refusal.reason is not Reason.CONFLICT:
            raise
        return None  # another one made them between our look and our name


def _first(tx: Tx, ids: Ids, now: int) -> FirstKey | None:
    if tenants.tenants(tx):
        return None
    tenant = tenants.create_tenant(tx, ids, now, name=TENANT)
    project = tenants.create_project(tx, ids, now, tenant=tenant, name=PROJECT)
    grants.give(
        tx,
        grants.new_grant(
            id=ids.new("grant"), tenant_id=tenant.id, amount=GRANT_NANO, currency=tenant.currency,
            funding=Funding.OPERATOR, now=now,
        ),
    )  # fmt: skip
    key, secret = tenants.create_key(tx, ids, now, project=project)
    return FirstKey(tenant=tenant.name, project=project.name, key_id=key.id, secret=secret)
