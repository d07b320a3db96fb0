"""What a caller may do, and how it is refused."""

import pytest
from msgspec.structs import replace

from millrace.base.errors import Reason, Refusal
from millrace.tenants.values import Caller, Key, Mode, Project, Scope, Tenant

TENANT = Tenant(
    id="ten_1", name="acme", mode=Mode.PREPAID, currency="CNY", credit_limit=0, created_at=1, suspended=False
)
PROJECT = Project(id="proj_1", tenant_id="ten_1", name="default", created_at=1)
KEY = Key(
    id="key_1", project_id="proj_1", scopes=frozenset(Scope), models=None, rpm=None, tpm=None, budget=None,
    created_at=1, revoked_at=None,
)


def caller(key: Key) -> Caller:
    return Caller(tenant=TENANT, project=PROJECT, key=key)


def test_a_key_opens_what_its_scopes_name() -> None:
    """A key with a scope passes it."""
    for scope in Scope:
        caller(KEY).require(scope)


def test_a_key_without_the_scope_is_refused() -> None:
    """A reader's key cannot make tokens; the refusal says what is missing and what there is."""
    reader = caller(replace(KEY, scopes=frozenset({Scope.READ})))
    reader.require(Scope.READ)
    with pytest.raises(Refusal, match=r"key_1 lacks the scope 'inference' \(it has: read\)") as caught:
        reader.require(Scope.INFERENCE)
    assert caught.value.reason is Reason.SCOPE_MISSING


def test_a_key_without_a_list_may_use_every_model() -> None:
    """No list is no limit; whether there is such a model is not asked here."""
    caller(KEY).require_model("anything")


def test_a_key_with_a_list_may_use_only_those() -> None:
    """A model that is not on the key's list is refused, and the list is named."""
    limited = caller(replace(KEY, models=frozenset({"qwen3-8b", "millrace-tiny"})))
    limited.require_model("qwen3-8b")
    with pytest.raises(Refusal, match="may not use model 'qwen3-max'; it may use: millrace-tiny, qwen3-8b") as caught:
        limited.require_model("qwen3-max")
    assert (caught.value.reason, caught.value.param) == (Reason.MODEL_NOT_ALLOWED, "model")


def test_a_refusal_stays_short() -> None:
    """Neither a hundred allowed models nor a name of a megabyte make a page of a refusal."""
    limited = caller(replace(KEY, models=frozenset(f"model-{number}" for number in range(100))))
    with pytest.raises(Refusal) as caught:
        limited.require_model("x" * 1_000_000)
    assert len(caught.value.sentence) < 500
