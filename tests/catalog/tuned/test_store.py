"""Which tuned models there are, and whose: the owner's, a stranger's, and removed ones."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from millrace import schema
from millrace.base.clock import FakeClock
from millrace.base.errors import Reason, Refusal
from millrace.base.ids import Ids
from millrace.catalog.tuned import store
from millrace.catalog.tuned.values import TunedModel, tuned_name
from millrace.store.sqlite_database import SqliteDatabase
from millrace.tenants import store as tenants

Make = Callable[..., TunedModel]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "millrace.db")
    database.migrate(schema.migrations())
    yield database
    database.close()


@pytest.fixture
def make(db: SqliteDatabase) -> Make:
    """A published model: `make("acme", "job_1")`."""
    ids = Ids(FakeClock())
    known = db.write_now(lambda tx: {name: tenants.create_tenant(tx, ids, 0, name=name) for name in ("acme", "bolt")})

    def published(tenant: str, job: str, sha256: str = "a" * 64, at: int = 1) -> TunedModel:
        model = TunedModel(
            name=tuned_name("tiny", tenant, job), tenant_id=known[tenant].id, base="tiny", job_id=job, sha256=sha256,
            created_at=at,
        )  # fmt: skip
        return db.write_now(lambda tx: store.publish(tx, model))

    return published


def test_a_job_publishes_once(db: SqliteDatabase, make: Make) -> None:
    """The second time is answered with the first model; another model of the same job is refused."""
    first = make("acme", "job_1")
    assert make("acme", "job_1", at=9) == first
    assert db.read(lambda tx: store.of_tenant(tx, first.tenant_id)) == [first]
    with pytest.raises(Refusal) as caught:
        make("acme", "job_1", sha256="b" * 64)
    assert caught.value.reason is Reason.CONFLICT


def test_a_tenant_has_its_own(db: SqliteDatabase, make: Make) -> None:
    """Oldest first; a stranger's are not among them, the operator sees all."""
    later, own, strangers = make("acme", "job_2", at=2), make("acme", "job_1", at=1), make("bolt", "job_3", at=3)
    assert db.read(lambda tx: store.of_tenant(tx, own.tenant_id)) == [own, later]
    assert db.read(lambda tx: store.of_tenant(tx, strangers.tenant_id)) == [strangers]
    assert db.read(store.of_all) == [own, later, strangers]


def test_a_removed_model_is_gone(db: SqliteDatabase, make: Make) -> None:
    """From every list; twice is as good as once; who looks for removals since then finds it."""
    model = make("acme", "job_1")
    db.write_now(lambda tx: store.remove(tx, model, 5))
    db.write_now(lambda tx: store.remove(tx, model, 6))
    assert db.read(lambda tx: store.of_tenant(tx, model.tenant_id)) == []
    assert db.read(lambda tx: store.named(tx, model.name)) is None
    assert db.read(store.of_all) == []
    assert db.read(lambda tx: store.removed_since(tx, 5)) == [model.name]
    assert db.read(lambda tx: store.removed_since(tx, 6)) == []


def test_a_removed_model_is_not_published_again(db: SqliteDatabase, make: Make) -> None:
    """A job that ends twice does not bring back what its tenant removed."""
    model = make("acme", "job_1")
    db.write_now(lambda tx: store.remove(tx, model, 5))
    assert make("acme", "job_1") == model
    assert db.read(lambda tx: store.named(tx, model.name)) is None


def test_a_file_is_in_use_while_a_model_names_it(db: SqliteDatabase, make: Make) -> None:
    """Two models can have one file; it is needed until both are removed."""
    one, other = make("acme", "job_1"), make("bolt", "job_2")
    make("acme", "job_3", sha256="b" * 64)
    db.write_now(lambda tx: store.remove(tx, one, 5))
    assert db.read(store.files_in_use) == {"a" * 64, "b" * 64}
    db.write_now(lambda tx: store.remove(tx, other, 5))
    assert db.read(store.files_in_use) == {"b" * 64}


def test_a_hash_is_a_whole_one(make: Make) -> None:
    """The database refuses what cannot be a file's name."""
    model = make("acme", "job_1")
    with pytest.raises(Exception, match="CHECK"):
        make("acme", "job_2", sha256=replace(model, sha256="short").sha256)
