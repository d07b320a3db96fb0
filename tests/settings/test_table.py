"""One table: typed values, and no key that nobody asked for."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.settings.table import Table


def table(**values: object) -> Table:
    return Table(values, where="a.toml", path="limits")


def test_values_come_typed() -> None:
    """Texts, integers and seconds come as such; a whole number of seconds may be written without a point."""
    values = table(name="a", count=3, wait_s=2)
    assert (values.text("name"), values.integer("count", 1, 5), values.seconds("wait_s", 0, 9, 1.0)) == ("a", 3, 2.0)
    assert isinstance(values.seconds("wait_s", 0, 9, 1.0), float)


def test_what_is_absent_has_its_default() -> None:
    """Defaults are taken as they are; an optional key is None."""
    values = table()
    assert (values.text("name", "b"), values.integer("count", 1, 5, 4), values.seconds("s", 0, 9, 1.5)) == ("b", 4, 1.5)
    assert (values.optional_text("t"), values.optional_integer("n", 0, 1), values.raw("r")) == (None, None, None)
    assert (values.tables("list"), values.table("inner").path) == ([], "limits.inner")


@pytest.mark.parametrize("value", ["3", 3.0, True, 0, 6, None, [3]])
def test_what_is_no_integer_in_range_is_refused(value: object) -> None:
    """The sentence has the file, the key, the value and what was expected."""
    with pytest.raises(Refusal) as caught:
        table(count=value).integer("count", 1, 5)
    assert caught.value.reason is Reason.BAD_SETTING
    assert caught.value.sentence == f"a.toml: limits.count = {value!r}: expected an integer from 1 to 5"


@pytest.mark.parametrize("value", ["3", True, -1, 10, float("nan"), float("inf")])
def test_what_is_no_time_in_range_is_refused(value: object) -> None:
    """Neither a text nor a boolean nor 'not a number' is a number of seconds."""
    with pytest.raises(Refusal, match="expected a number of seconds from 0 to 9"):
        table(wait_s=value).seconds("wait_s", 0, 9, 1.0)


@pytest.mark.parametrize("value", ["true", 1, 0])
def test_what_is_no_flag_is_refused(value: object) -> None:
    """Only true and false are; 1 is not."""
    assert table(embeds=True).flag("embeds", default=False)
    assert not table().flag("embeds", default=False)
    with pytest.raises(Refusal, match=r"limits\.embeds = .*: expected true or false"):
        table(embeds=value).flag("embeds", default=False)


@pytest.mark.parametrize("value", ["", 3, ["a"]])
def test_what_is_no_text_is_refused(value: object) -> None:
    """An empty text is none."""
    with pytest.raises(Refusal, match="expected a text in quotes"):
        table(name=value).text("name")


def test_a_value_is_shown_only_so_far() -> None:
    """A value of a megabyte does not become a sentence of one."""
    with pytest.raises(Refusal) as caught:
        table(count="x" * 1_000_000).integer("count", 1, 5)
    assert len(caught.value.sentence) < 200


@pytest.mark.parametrize("value", [3, "a", [3], {}])
def test_what_is_no_list_of_tables_is_refused(value: object) -> None:
    """The sentence shows how such tables are written."""
    with pytest.raises(Refusal, match=r"expected tables, each written \[\[models\]\]"):
        Table({"models": value}, where="a.toml").tables("models")


def test_what_is_no_table_is_refused() -> None:
    """A value where a section belongs is refused."""
    with pytest.raises(Refusal, match=r"server = 3: expected a table, written \[server\]"):
        Table({"server": 3}, where="a.toml").table("server")


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    """A slip of the pen is answered with what was probably meant, anything else with all there is."""
    values = table(body_byte_max=1)
    values.integer("body_bytes_max", 1, 5, 1)
    values.integer("drain_s", 1, 5, 1)
    with pytest.raises(Refusal, match=r"a\.toml: limits\.body_byte_max is not .*; did you mean 'body_bytes_max'\?"):
        values.finish()
    values = table(colour="red")
    values.integer("drain_s", 1, 5, 1)
    with pytest.raises(Refusal, match=r"limits\.colour is not a setting; known are: drain_s"):
        values.finish()


def test_a_known_key_is_finished() -> None:
    """A table of which each key was asked for has no complaint."""
    values = table(drain_s=1)
    values.integer("drain_s", 1, 5)
    values.finish()


def test_a_missing_key_is_named_with_its_likeness() -> None:
    """When a required key was mistyped, both the key and the typing error are in the sentence."""
    with pytest.raises(Refusal, match=r"limits\.url is missing: .* quotes; 'ulr' stands there, is it that\?"):
        table(ulr="http://x").text("url")
    with pytest.raises(Refusal, match=r"limits\.url is missing: expected a text in quotes$"):
        table().text("url")
