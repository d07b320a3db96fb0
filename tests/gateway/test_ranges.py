"""Which bytes a request asks for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.gateway.ranges import Span, Unsatisfiable, asked, matches

ETAG = '"abc"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, Span(0, 10, whole=True)), ("bytes=0-", Span(0, 10, whole=False)), ("bytes=2-4", Span(2, 5, whole=False)),
        ("bytes=9-99", Span(9, 10, whole=False)), ("bytes=-3", Span(7, 10, whole=False)),
        ("bytes=-99", Span(0, 10, whole=False)),
        ("bytes=10-", Unsatisfiable()), ("bytes=-0", Unsatisfiable()), ("bytes=4-2", Span(0, 10, whole=True)),
        ("bytes=-", Span(0, 10, whole=True)), ("bytes=1-2,4-5", Span(0, 10, whole=True)),
        ("lines=1-2", Span(0, 10, whole=True)),
        ("bytes=1-" + "9" * 30, Span(0, 10, whole=True)), ("bytes=a-b", Span(0, 10, whole=True)),
    ],
)  # fmt: skip
def test_the_forms_of_a_range(header: str | None, expected: object) -> None:
    """What the RFC has, and what is none of it asks for the whole file."""
    assert asked(header, 10, etag=ETAG) == expected


@given(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 60)), st.one_of(st.none(), st.integers(0, 60)))
def test_a_range_is_what_python_slices(size: int, first: int | None, last: int | None) -> None:
    """For every range of every file: the bytes are those that the RFC says, and never outside of the file."""
    content = bytes(range(size))
    header = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    found = asked(header, size, etag=ETAG)
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        assert found == Span(0, size, whole=True)
        return
    end = size if last is None else last + 1
    expected = content[max(size - (last or 0), 0) :] if first is None else content[first:end]
    if not expected:
        assert isinstance(found, Unsatisfiable)
    else:
        assert isinstance(found, Span)
        assert content[found.start : found.end] == expected


def test_a_range_of_another_version_asks_for_all() -> None:
    """If-Range with the ETag keeps the range; with another tag or a date the file is sent whole."""
    assert asked("bytes=1-2", 10, etag=ETAG, if_range=ETAG) == Span(1, 3, whole=False)
    for other in ('"xyz"', "W/" + ETAG, "Tue, 24 Nov 2026 00:00:00 GMT"):
        assert asked("bytes=1-2", 10, etag=ETAG, if_range=other) == Span(0, 10, whole=True)


def test_what_one_has_need_not_be_sent() -> None:
    """If-None-Match is a star, or a list in which weak tags count."""
    assert matches('"xyz", W/"abc"', ETAG)
    assert matches("*", ETAG)
    assert not matches('"xyz"', ETAG)
    assert not matches(None, ETAG)
