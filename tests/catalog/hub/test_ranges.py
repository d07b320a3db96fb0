"""Range planning: what is missing is asked for once, and the log of a download is believed as far as it is whole."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from millrace.catalog.hub.ranges import (
    RECORD_BYTES,
    Range,
    Record,
    count,
    front,
    merge,
    missing,
    parse_records,
    pieces,
    render_log,
    render_record,
)

SIZE = 200
ENDS = st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))
RANGES = st.lists(ENDS.map(lambda ends: Range(min(ends), max(ends))), max_size=12)


def bytes_of(ranges: tuple[Range, ...] | list[Range]) -> list[int]:
    return [byte for start, end in ranges for byte in range(start, end)]


@given(done=RANGES, piece=st.integers(1, 70))
def test_pieces_are_what_is_missing_and_nothing_else(done: list[Range], piece: int) -> None:
    """Every byte that is not here is in exactly one piece, in order; no piece is larger than it may be, none is empty."""
    planned = pieces(SIZE, done, piece)
    here = {*bytes_of(done)}
    assert bytes_of(planned) == [byte for byte in range(SIZE) if byte not in here]
    assert all(0 < end - start <= piece for start, end in planned)


@given(done=RANGES)
def test_merging_keeps_the_bytes(done: list[Range]) -> None:
    """As few ranges as can be, with the same bytes; what is merged and what is missing are the whole."""
    merged = merge(done)
    assert bytes_of(merged) == sorted({*bytes_of(done)})
    assert all(before.end < after.start for before, after in pairwise(merged))
    assert count(merged) + count(missing(SIZE, done)) == SIZE


@given(done=RANGES)
def test_the_front_is_whole(done: list[Range]) -> None:
    """Every byte before it is here, and the one at it is not."""
    end = front(merge(done))
    here = {*bytes_of(done)}
    assert {*range(end)} <= here
    assert end not in here


@given(ranges=RANGES, cut=st.integers(0, RECORD_BYTES * 12))
def test_a_log_is_read_up_to_where_it_was_torn(ranges: list[Range], cut: int) -> None:
    """Cut anywhere, the whole records before the cut are read and nothing else."""
    records = [Record(start, end, 7) for start, end in ranges if start < end]
    log = render_log(records)[:cut]
    assert list(parse_records(log, SIZE)) == records[: len(log) // RECORD_BYTES]


@given(ranges=RANGES.filter(lambda ranges: any(start < end for start, end in ranges)), at=st.integers(0), bit=st.integers(0, 7))
def test_a_flipped_bit_ends_the_log(ranges: list[Range], at: int, bit: int) -> None:
    """A damaged record and what stands behind it are not believed."""
    records = [Record(start, end, 7) for start, end in ranges if start < end]
    log = bytearray(render_log(records))
    at %= len(log)
    log[at] ^= 1 << bit
    assert list(parse_records(bytes(log), SIZE)) == records[: at // RECORD_BYTES]


def test_a_record_says_what_was_written() -> None:
    """Start, end, and the content's CRC; one beyond the file's end is none."""
    log = render_record(10, b"abc")
    assert parse_records(log, 13) == (Record(10, 13, 0x352441C2),)
    assert parse_records(log, 12) == ()
