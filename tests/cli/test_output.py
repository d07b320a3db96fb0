"""Plain output is stable: the same for the same view, columns that can be counted."""

from millrace.cli.output import Facts, Table, Text, cell, render


def test_a_table_has_aligned_columns() -> None:
    """Text to the left, numbers to the right, two blanks between, none at the end."""
    table = Table(("NAME", "AMOUNT", "NOTE"), [("a", "1.50", ""), ("longer", "100.00", "x")], frozenset({1}))
    assert render(table).splitlines() == [
        "NAME    AMOUNT  NOTE",
        "a         1.50",
        "longer  100.00  x",
    ]


def test_an_empty_table_is_a_sentence() -> None:
    """Headings above nothing would look like a failure."""
    assert render(Table(("NAME",), [], empty="There is none.")) == "There is none."


def test_facts_and_text() -> None:
    """A line for each property, values below each other; a text as it is."""
    assert render(Facts((("a", "1"), ("longer", "2")))) == "a       1\nlonger  2"
    assert render(Text("as it is\n")) == "as it is\n"


def test_an_empty_cell_is_visible() -> None:
    """None and '' are a dash, 0 is a number."""
    assert [cell(value) for value in (None, "", 0, "x")] == ["-", "-", "0", "x"]
