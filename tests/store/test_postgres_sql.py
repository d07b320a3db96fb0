"""The common dialect in PostgreSQL's words."""

import pytest

from millrace.store.named import Statement
from millrace.store.postgres_sql import translate


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("SELECT :a, :b, :a", "SELECT $1, $2, $1"),
        ("SELECT id FROM t WHERE id IN (:ids...)", "SELECT id FROM t WHERE id = ANY($1)"),
        ("SELECT id FROM t WHERE id NOT IN (:ids...) AND n > :n", "SELECT id FROM t WHERE id <> ALL($1) AND n > $2"),
        ("SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED", "SELECT id FROM t ORDER BY id FOR UPDATE SKIP LOCKED"),
        ("SELECT :n::bigint, ':no', \":no\", 'it''s :no'", "SELECT $1::bigint, ':no', \":no\", 'it''s :no'"),
        ("SELECT 1 -- not :this\n, :a /* nor\n:that */", "SELECT 1 -- not :this\n, $1 /* nor\n:that */"),
        ("DO $$ SELECT ':x' || :y $$", "DO $$ SELECT ':x' || :y $$"),
        ("SELECT a[1:2], t.c::text, b LIKE '50%'", "SELECT a[1:2], t.c::text, b LIKE '50%'"),
        ("WHERE (:a IS NULL OR t.a = :a) AND :b IS NOT NULL", "WHERE ($1::int8 IS NULL OR t.a = $2) AND $3::int8 IS NOT NULL"),
        ("FROM unnest(:ids..., :amounts...) AS v (id, amount)", "FROM unnest($1, $2) AS v (id, amount)"),
    ],
)
def test_parameters_are_numbered(ours: str, theirs: str) -> None:
    """Names become numbers, lists are looked through, and what only looks like a parameter stays."""
    assert translate(ours).sql == theirs


def test_parameters_come_in_the_order_of_their_numbers() -> None:
    """Each once; a question for NULL has a parameter of its own, since NULL has no type."""
    translated = translate("SELECT :b, :a, :b WHERE :a IS NULL OR :c IS NULL")
    assert translated.bound({"a": "x", "b": 2, "c": None}) == [2, "x", 1, None]
    with pytest.raises(KeyError):
        translated.bound({"a": "x", "b": 2})


def test_a_variant_is_what_postgresql_is_asked() -> None:
    """Its own text, parameters included; the portable one is SQLite's."""
    statement = Statement("SELECT :a WHERE x GLOB :g", "SELECT :g, :a")
    assert translate(statement).sql == "SELECT $1, $2"
    assert [name for name, _ in translate(statement).sources] == ["g", "a"]


def test_a_statement_that_takes_lists_says_so() -> None:
    """So that many rows are one question; a list behind IN is not meant."""
    assert translate("SELECT unnest(:ids...)").many
    assert not translate("SELECT 1 FROM t WHERE id IN (:ids...)").many
