"""The reader of server-sent events: what it reads, what it passes over, and that cutting never shows."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.base.sse import Event, EventReader, EventTooLargeError

READINGS = {
    "plain": (b'data: {"a":1}\n\n', [Event(b'{"a":1}')]),
    "two at once": (b"data: a\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
    "no space after the colon": (b"data:a\n\n", [Event(b"a")]),
    "only one space is dropped": (b"data:  a\n\n", [Event(b" a")]),
    "lines joined by LF": (b"data: a\ndata: b\n\n", [Event(b"a\nb")]),
    "a type": (b"event: ping\ndata: {}\n\n", [Event(b"{}", "ping")]),
    "a type lasts one event": (b"event: ping\ndata: 1\n\ndata: 2\n\n", [Event(b"1", "ping"), Event(b"2")]),
    "a type without data is no event": (b"event: ping\n\ndata: 2\n\n", [Event(b"2")]),
    "comments": (b": keep-alive\n\n:\ndata: a\n: b\n\n", [Event(b"a")]),
    "empty data": (b"data:\n\ndata\n\n", [Event(b""), Event(b"")]),
    "fields not used": (b"id: 7\nretry: 10\nbar\nfoo: x\ndata: a\n\n", [Event(b"a")]),
    "data that looks like a field": (b"data: xdata: y\n\n", [Event(b"xdata: y")]),
    "field names are exact": (b"DATA: a\n data: b\ndatas: c\n\n", []),
    "CRLF": (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"a"), Event(b"b")]),
    "CR": (b"data: a\r\rdata: b\r\r", [Event(b"a"), Event(b"b")]),
    "mixed ends": (b"data: a\r\ndata: b\rdata: c\n\r\n", [Event(b"a\nb\nc")]),
    "byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [Event(b"a")]),
    "one byte order mark only": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event(b"b")]),
    "byte order mark later is text": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"a")]),
    "U+2028, U+0085 and form feed are text": (
        "data: a\u2028b\u0085c\x0cd\n\n".encode(),
        [Event("a\u2028b\u0085c\x0cd".encode())],
    ),
    "blank lines": (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [Event(b"a"), Event(b"b")]),
    "nothing": (b"", []),
}


def read(*pieces: bytes) -> tuple[list[Event], int]:
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)], reader.close()


@pytest.mark.parametrize(("stream", "events"), READINGS.values(), ids=READINGS)
def test_reading(stream: bytes, events: list[Event]) -> None:
    """Each stream of the table reads as the events beside it, with nothing left over."""
    assert read(stream) == (events, 0)


@pytest.mark.parametrize(("stream", "events"), READINGS.values(), ids=READINGS)
def test_one_byte_at_a_time(stream: bytes, events: list[Event]) -> None:
    """A stream that comes in single bytes reads the same, CRLF and the byte order mark cut apart included."""
    assert read(*(bytes([byte]) for byte in stream)) == (events, 0)


@pytest.mark.parametrize(("stream", "events"), READINGS.values(), ids=READINGS)
def test_cut_in_three(stream: bytes, events: list[Event]) -> None:
    """Cut at any two places, with nothing at all between the first and the second piece, a stream reads the same."""
    for second in range(len(stream) + 1):
        for first in range(second + 1):
            assert read(stream[:first], b"", stream[first:second], stream[second:]) == (events, 0)


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data: ", b"event: e", b": c", b"id: 1", b"x", b"", b"", b"data: \xe2\x80\xa8"]
)
STREAMS = st.tuples(
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb"]),
    st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r", b"\r\n"])), max_size=20),
    LINES,
).map(lambda parts: parts[0] + b"".join(line + end for line, end in parts[1]) + parts[2])


@settings(deadline=None)
@given(stream=STREAMS, cuts=st.lists(st.integers(0, 120), max_size=12))
def test_cutting_never_shows(stream: bytes, cuts: list[int]) -> None:
    """However a stream is cut into feeds, empty ones too, the events and the lost bytes are those of one feed."""
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert read(*pieces) == read(stream)


@settings(deadline=None)
@given(stream=STREAMS)
def test_the_plain_way_agrees_with_the_long_way(stream: bytes) -> None:
    """The short cut for whole `data: ` events gives what the line by line reading gives."""
    plain, long = EventReader(), EventReader()
    piece = b"data: x\n\n" + stream
    assert plain.feed(piece) == long._lines(piece)
    assert plain.close() == long.close()


@pytest.mark.parametrize(
    ("stream", "lost"),
    [
        (b"data: a\n\ndata: b", len(b"data: b")),
        (b"data: b\n", len(b"data: b\n")),
        (b"data: b\r\n", len(b"data: b\n")),
        (b"data: b\nda", len(b"data: b\nda")),
        (b"data: a\n\n: kee", 0),
        (b"data: a\n\n\n", 0),
    ],
)
def test_an_incomplete_event_is_discarded_and_reported(stream: bytes, lost: int) -> None:
    """What the end of the body cuts off is no event, and close says how many bytes that were; a comment is no loss."""
    events, reported = read(stream)
    assert Event(b"b") not in events
    assert reported == lost


@pytest.mark.parametrize(
    "stream",
    [
        b"data: 0123456789\n\n",
        b"data: 0123456789",
        b": 0123456789abcdef\n",
        b"data: 01234\ndata: 01234\n\n",
        b"data\n" * 100,
        b"data: a\n\ndata: 0123456789",
    ],
)
def test_an_event_is_bounded(stream: bytes) -> None:
    """An event beyond the bound raises, in one feed as in single bytes, whether or not it ever ends."""
    with pytest.raises(EventTooLargeError, match="15 bytes"):
        EventReader(15).feed(stream)
    byte_by_byte = EventReader(15)
    with pytest.raises(EventTooLargeError, match="15 bytes"):
        list(map(byte_by_byte.feed, (bytes([byte]) for byte in stream)))


@pytest.mark.parametrize("stream", [b"data: 012345678\n\n", b"data:0123456789\ndata:\n\n"])
def test_an_event_may_be_as_large_as_the_bound(stream: bytes) -> None:
    """The bound itself is allowed, and keep-alives never add up to it."""
    reader = EventReader(len(stream) - 2)
    assert reader.feed(b": ping\n" * 50 + stream)[0].data.startswith(b"012345678")


def test_many_small_pieces_take_linear_time() -> None:
    """A line of 400,000 single bytes is joined once: a third of a second; copying it at each feed takes many."""
    reader = EventReader()
    before = time.process_time()
    assert [event for _ in range(400_000) for event in reader.feed(b"x")] == []
    assert reader.feed(b"\ndata: a\n\n") == [Event(b"a")]
    assert time.process_time() - before < 4
