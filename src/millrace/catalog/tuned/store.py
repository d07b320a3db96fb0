"""Tuned models in the database. Each function takes a transaction, so that several make one change."""

from typing import Any

from millrace.base.errors import Reason, Refusal
from millrace.catalog.tuned.values import TunedModel
from millrace.store.named import Queries
from millrace.store.transaction import Tx

_SQL = Queries("millrace.catalog.tuned")


def publish(tx: Tx, model: TunedModel) -> TunedModel:
    """Offer the model to its tenant from now on. A second time by the same job changes nothing and returns the first.

    The adapter's file must be in its place before. Raises CONFLICT where the job published another model.
    """
    row = tx.row(_SQL["by_job"], job_id=model.job_id)
    if row is None:
        tx.run(
            _SQL["add"], name=model.name, tenant_id=model.tenant_id, base=model.base, job_id=model.job_id,
            sha256=model.sha256, created_at=model.created_at,
        )  # fmt: skip
        return model
    before = _model(row)
    if (before.name, before.tenant_id, before.base, before.sha256) != (model.name, model.tenant_id, model.base, model.sha256):
        raise Refusal(
            Reason.CONFLICT, f"job {model.job_id} published {before.name} with the adapter {before.sha256[:12]}… already"
        )
    return before


def of_tenant(tx: Tx, tenant_id: str) -> list[TunedModel]:
    """The tenant's models that are not removed, oldest first."""
    return [_model(row) for row in tx.rows(_SQL["of_tenant"], tenant_id=tenant_id)]


def of_all(tx: Tx) -> list[TunedModel]:
    """Everybody's models that are not removed, oldest first; for the operator."""
    return [_model(row) for row in tx.rows(_SQL["all"])]


def named(tx: Tx, name: str) -> TunedModel | None:
    """For the operator: the model of that name, whoever's it is; None where there is none, or none any more."""
    row = tx.row(_SQL["named"], name=name)
    return None if row is None else _model(row)


def remove(tx: Tx, model: TunedModel, at: int) -> None:
    """End its offer. What runs on it ends as it would; a second time changes nothing."""
    if named(tx, model.name) is not None:
        tx.run(_SQL["add_removal"], name=model.name, at=at)


def removed_since(tx: Tx, at: int) -> list[str]:
    """The names of the models that were removed at or after an instant."""
    return [row[0] for row in tx.rows(_SQL["removed_since"], at=at)]


def files_in_use(tx: Tx) -> frozenset[str]:
    """The SHA-256 of every adapter that a model still needs."""
    return frozenset(row[0] for row in tx.rows(_SQL["files"]))


def _model(row: tuple[Any, ...]) -> TunedModel:
    name, tenant_id, base, job_id, sha256, created_at = row
    return TunedModel(name=name, tenant_id=tenant_id, base=base, job_id=job_id, sha256=sha256, created_at=created_at)
