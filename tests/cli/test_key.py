"""`millrace key`."""

import asyncio
from contextlib import closing

import pytest
from tests.cli.conftest import Cli

from millrace.base.clock import SystemClock
from millrace.base.errors import Reason, Refusal
from millrace.tenants.authenticate import Directory
from millrace.tenants.values import Scope


def test_create_prints_the_form_of_the_contract(acme: Cli) -> None:
    """id, key, tenant and project, and nothing else."""
    form = acme.json("key", "create", "--tenant", "acme", "--project", "lab")
    assert set(form) == {"id", "key", "tenant", "project"}
    assert form["key"].startswith("mr_")
    assert (form["tenant"], form["project"]) == ("acme", "lab")


def test_the_secret_opens_what_was_asked_for(acme: Cli) -> None:
    """Scopes, models, limits and budget of the command are those that a server finds for the secret."""
    form = acme.json(
        "key", "create", "--tenant", "acme", "--models", "echo, other", "--rpm", "60", "--tpm", "1000",
        "--budget", "10.00", "--scopes", "inference",
    )  # fmt: skip
    with closing(acme.database()) as database:
        key = asyncio.run(Directory(database, SystemClock()).caller(form["key"])).key
    assert key.models == frozenset({"echo", "other"})
    assert key.scopes == {Scope.INFERENCE}
    assert (key.rpm, key.tpm, key.budget) == (60, 1000, 10 * 10**9)


def test_a_secret_is_shown_once(acme: Cli) -> None:
    """The list has ids and limits, never a secret."""
    form = acme.json("key", "create", "--tenant", "acme", "--rpm", "60")
    listed = acme.json("key", "list", "--tenant", "acme")
    last = listed["keys"][-1]
    assert (last["id"], last["project"], last["rpm"], last["budget"]) == (form["id"], "default", 60, None)
    assert form["key"] not in str(listed) + acme.text("key", "list", "--tenant", "acme")


def test_revoke_ends_a_key_for_good(acme: Cli) -> None:
    """A revoked key opens nothing; revoking it again says when it was."""
    form = acme.json("key", "create", "--tenant", "acme")
    ended = acme.json("key", "revoke", form["id"], "--reason", "leaked")
    assert (ended["id"], ended["reason"], ended["repeated"]) == (form["id"], "leaked", False)
    assert acme.json("key", "revoke", form["id"]) == {**ended, "repeated": True}
    assert acme.json("key", "list", "--tenant", "acme")["keys"][-1]["revoked_at"] == ended["revoked_at"]
    with closing(acme.database()) as database, pytest.raises(Refusal) as refused:
        asyncio.run(Directory(database, SystemClock()).caller(form["key"]))
    assert refused.value.reason is Reason.INVALID_API_KEY


def test_bad_values_are_refused(acme: Cli) -> None:
    """Each by its name; and a refused key leaves no new project behind."""
    assert "rpm" in acme.refused("key", "create", "--tenant", "acme", "--project", "new", "--rpm", "0")
    assert "budget" in acme.refused("key", "create", "--tenant", "acme", "--budget", "-1")
    assert "--scopes" in acme.refused("key", "create", "--tenant", "acme", "--scopes", "everything")
    assert "scopes" in acme.refused("key", "create", "--tenant", "acme", "--scopes", "")
    assert "models" in acme.refused("key", "create", "--tenant", "acme", "--models", ",")
    assert [one["name"] for one in acme.json("tenant", "show", "acme")["projects"]] == ["default"]


def test_a_stranger_is_not_found(cli: Cli) -> None:
    """Unknown tenants and keys are refused with where to look."""
    assert "there is no tenant 'nobody'" in cli.refused("key", "create", "--tenant", "nobody")
    assert "there is no tenant 'nobody'" in cli.refused("key", "list", "--tenant", "nobody")
    assert "key_unknown" in cli.refused("key", "revoke", "key_unknown")
