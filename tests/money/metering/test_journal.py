"""The progress journal: what was recorded is read back, whatever was torn, damaged, rotated or refused on the way."""

import errno
import logging
import os
import resource
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millrace.base.errors import Reason, Refusal
from millrace.generation.chunk import NO_TOKENS, CountedBy, TokenCounts
from millrace.money.metering.journal import NOTHING_RECORDED, RECORD_BYTES, Journal, Watermark, segments, watermarks

ANNA, BERT, CARL = (bytes([letter]) * 16 for letter in b"abc")


def said(output: int, confirmed: int = 0, *, input_: int = 10) -> Watermark:
    return Watermark(TokenCounts(input_, 2, output, 0), confirmed, 0, CountedBy.ENGINE)


def record(journal: Journal, who: bytes, output: int, confirmed: int = 0, *, input_: int = 10) -> None:
    counts = TokenCounts(input_, 2, output, 0)
    journal.record(who, counts, TokenCounts(input_, 2, confirmed, 0), CountedBy.ENGINE)


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow past so many bytes: what a full disk looks like to a writer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_last_record_of_each_request_is_read_back(tmp_path: Path) -> None:
    """Counts are cumulative, so only the last record of a request counts; each field comes back as it was."""
    journal = Journal(tmp_path, 1)
    record(journal, ANNA, 1)
    record(journal, BERT, 4, 3)
    record(journal, ANNA, 2, 1)
    journal.record(CARL, TokenCounts(9, 8, 7, 6), TokenCounts(9, 8, 5, 4), CountedBy.RELEASED_TEXT)
    assert watermarks(tmp_path) == {
        ANNA: said(2, 1), BERT: said(4, 3), CARL: Watermark(TokenCounts(9, 8, 7, 6), 5, 4, CountedBy.RELEASED_TEXT),
    }  # fmt: skip
    assert journal.watermark(ANNA) == said(2, 1)
    journal.forget(ANNA)
    assert journal.watermark(ANNA) == NOTHING_RECORDED
    journal.close()


def test_what_was_recorded_needs_no_close_and_no_sync(tmp_path: Path) -> None:
    """A killed process closes nothing: the bytes are in the file as soon as `record` returns."""
    journal = Journal(tmp_path, 1)
    record(journal, ANNA, 5)
    assert segments(tmp_path)[0].stat().st_size == 2 * RECORD_BYTES
    assert watermarks(tmp_path) == {ANNA: said(5)}
    journal.close()


def test_a_torn_end_loses_only_the_record_that_was_never_released(tmp_path: Path) -> None:
    """Cut at each byte of the last record: all records before it are read."""
    journal = Journal(tmp_path / "whole", 1)
    record(journal, ANNA, 1)
    record(journal, ANNA, 2, 1)
    journal.close()
    (path,) = segments(tmp_path / "whole")
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        records = (size - RECORD_BYTES) // RECORD_BYTES
        assert watermarks(path.parent) == ({ANNA: said(1)} if records >= 1 else {}), size


def test_damage_at_any_byte_spoils_at_most_its_own_record(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each byte of the file is turned over in its turn, the header's too; the log says how many records were lost."""
    journal = Journal(tmp_path, 1)
    record(journal, ANNA, 1)
    record(journal, BERT, 2)
    record(journal, ANNA, 3, 1)
    journal.close()
    (path,) = segments(tmp_path)
    whole = path.read_bytes()
    expected = {
        0: {ANNA: said(3, 1), BERT: said(2)},
        1: {ANNA: said(3, 1), BERT: said(2)},
        2: {ANNA: said(3, 1)},
        3: {ANNA: said(1), BERT: said(2)},
    }
    for offset in range(len(whole)):
        damaged = bytearray(whole)
        damaged[offset] ^= 0x41
        path.write_bytes(damaged)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert watermarks(tmp_path) == expected[offset // RECORD_BYTES], offset
        assert (offset < RECORD_BYTES) == (caplog.text == "")


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=400))
def test_a_garbage_tail_is_passed_over(tmp_path_factory: pytest.TempPathFactory, tail: bytes) -> None:
    """Whatever a dying disk leaves behind the last record, nothing is read from it and nothing before it is lost."""
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder, 1)
    record(journal, ANNA, 3)
    journal.close()
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes() + tail)
    assert watermarks(folder) == {ANNA: said(3)}
    shutil.rmtree(folder)


def test_rotation_carries_the_live_and_drops_the_settled(tmp_path: Path) -> None:
    """A full segment gives way to one that begins with the last record of each live request; the old file is gone."""
    journal = Journal(tmp_path, 1, segment_bytes_max=10 * RECORD_BYTES)
    record(journal, ANNA, 1)
    record(journal, BERT, 1)
    journal.forget(BERT)
    for output in range(2, 60):
        record(journal, CARL, output, output - 1)
    assert len(segments(tmp_path)) == 1
    assert segments(tmp_path)[0].name > "00000001-000005"
    assert watermarks(tmp_path) == {ANNA: said(1), CARL: said(59, 58)}
    journal.close()


def test_a_segment_grows_with_what_is_live(tmp_path: Path) -> None:
    """When the live requests alone fill a segment, the next one has room for as much again: no rotation for each
    record.
    """
    journal = Journal(tmp_path, 1, segment_bytes_max=4 * RECORD_BYTES)
    for number in range(100):
        record(journal, number.to_bytes(16, "big"), 1)
    assert len(watermarks(tmp_path)) == 100
    assert int(segments(tmp_path)[0].stem.rpartition("-")[2]) < 12
    journal.close()


def test_a_kill_while_rotating_loses_nothing(tmp_path: Path) -> None:
    """Killed with the new segment written up to any byte and the old one not yet deleted, the two together say all."""
    journal = Journal(tmp_path, 1, segment_bytes_max=6 * RECORD_BYTES)
    for who, output in ((ANNA, 1), (BERT, 1), (CARL, 1), (ANNA, 2), (BERT, 2)):
        record(journal, who, output, output - 1)
    old = segments(tmp_path)[0]
    kept = old.read_bytes()
    before = watermarks(tmp_path)
    record(journal, BERT, 3, 2)  # rotates
    journal.close()
    (new,) = segments(tmp_path)
    assert new != old
    old.write_bytes(kept)
    carried = new.read_bytes()[:-RECORD_BYTES]  # without the record that made it rotate
    assert len(carried) == 4 * RECORD_BYTES
    for cut in range(len(carried) + 1):
        new.write_bytes(carried[:cut])
        assert watermarks(tmp_path) == before, cut


def test_a_rotation_that_the_disk_refuses_changes_nothing(tmp_path: Path) -> None:
    """The record is refused, the old segment stays, no half segment is left; with room again it goes on."""
    journal = Journal(tmp_path, 1, segment_bytes_max=6 * RECORD_BYTES)
    for output in range(1, 6):
        record(journal, ANNA, output)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    with room_for(RECORD_BYTES + 7):
        for _ in range(3):
            with pytest.raises(Refusal) as refused:
                record(journal, ANNA, 6)
            assert refused.value.reason is Reason.STORE_UNAVAILABLE
    assert len(segments(tmp_path)) == 1
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files
    assert watermarks(tmp_path) == {ANNA: said(5)} == {ANNA: journal.watermark(ANNA)}
    record(journal, ANNA, 7)
    assert watermarks(tmp_path) == {ANNA: said(7)}
    journal.close()


def test_a_record_that_the_disk_takes_half_of_is_written_over(tmp_path: Path) -> None:
    """A full disk may take a part: the caller is refused, and the next record takes the place of the part."""
    journal = Journal(tmp_path, 1)
    record(journal, ANNA, 1)
    with room_for(2 * RECORD_BYTES + 20), pytest.raises(Refusal, match="make room on the disk"):
        record(journal, BERT, 1)
    assert segments(tmp_path)[0].stat().st_size == 2 * RECORD_BYTES + 20
    assert journal.watermark(BERT) == NOTHING_RECORDED
    record(journal, CARL, 1)
    assert watermarks(tmp_path) == {ANNA: said(1), CARL: said(1)}
    journal.close()


def test_a_journal_that_cannot_begin_says_so(tmp_path: Path) -> None:
    """No room for the header, or no folder: a Refusal that names the file, and nothing half made."""
    with room_for(20), pytest.raises(Refusal, match="00000001-000001"):
        Journal(tmp_path, 1)
    assert segments(tmp_path) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(Refusal, match="00000002-000001"):
        Journal(tmp_path / "file", 2)


def test_after_close_nothing_is_written_anywhere(tmp_path: Path) -> None:
    """A late record is refused, and does not go to the file that has got the old number; sync and close are harmless.
    """
    journal = Journal(tmp_path / "journal", 1)
    record(journal, ANNA, 1)
    journal.close()
    journal.close()
    other = tmp_path / "other"
    with other.open("wb"):
        with pytest.raises(Refusal) as refused:
            record(journal, ANNA, 2)
        journal.sync()
    assert other.read_bytes() == b""
    assert os.strerror(errno.EBADF) in refused.value.sentence


def test_sync_from_a_thread_survives_rotations(tmp_path: Path) -> None:
    """A sync never meets a file that a rotation has just closed."""
    journal = Journal(tmp_path, 1, segment_bytes_max=4 * RECORD_BYTES)
    failures: list[BaseException] = []
    stop = threading.Event()

    def sync() -> None:
        while not stop.is_set():
            try:
                journal.sync()
            except BaseException as error:  # noqa: BLE001 - reported below
                failures.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    for output in range(40):
        record(journal, ANNA, output)
    stop.set()
    thread.join()
    journal.close()
    assert failures == []


def test_a_reader_beside_rotations_misses_nothing(tmp_path: Path) -> None:
    """A segment that goes between being listed and being read has its live records in the next one."""
    journal = Journal(tmp_path, 1, segment_bytes_max=4 * RECORD_BYTES)
    record(journal, ANNA, 0)
    found: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            try:
                found.append(watermarks(tmp_path).keys())
            except BaseException as error:  # noqa: BLE001 - reported below
                found.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for output in range(400):
        record(journal, ANNA, output)
    stop.set()
    thread.join()
    journal.close()
    assert [one for one in found if one != {ANNA}] == []


def test_later_epochs_and_segments_win(tmp_path: Path) -> None:
    """A request belongs to one epoch, and files are read in the order in which they were made."""
    first = Journal(tmp_path, 9)
    record(first, ANNA, 1)
    first.close()
    second = Journal(tmp_path, 10)
    record(second, ANNA, 2)
    second.close()
    assert watermarks(tmp_path) == {ANNA: said(2)}


def test_no_folder_no_watermarks(tmp_path: Path) -> None:
    """The first boot finds no journal at all."""
    assert watermarks(tmp_path / "none") == {}


class TestWatermark:
    """What may be billed of what was recorded."""

    def test_nothing_is_billed_before_a_chunk_surely_went_out(self) -> None:
        """Not even the input: the client may have got nothing."""
        mark = said(5, 0)
        assert mark.billable == NO_TOKENS
        assert mark.waived == 15

    def test_what_was_confirmed_is_billed_and_the_rest_waived(self) -> None:
        """Confirmed output with the whole input; the chunk in doubt is waived."""
        mark = said(5, 3)
        assert mark.billable == TokenCounts(10, 2, 3, 0)
        assert mark.waived == 2

    def test_a_lower_final_count_lowers_what_was_confirmed(self) -> None:
        """An engine that counts at the end found 85 where 100 were estimated and 90 confirmed: 85 are billed."""
        mark = Watermark(TokenCounts(10, 2, 85, 40), 90, 50, CountedBy.ENGINE_FINAL)
        assert mark.billable == TokenCounts(10, 2, 85, 40)
        assert mark.waived == 0

    @given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
    def test_billable_and_waived_are_what_was_recorded(self, output: int, reasoning: int, confirmed: int, thought: int) -> None:
        """Always, and both are such as a usage row takes."""
        mark = Watermark(TokenCounts(10, 2, output, min(reasoning, output)), confirmed, thought, CountedBy.ENGINE)
        billable = mark.billable
        assert billable.input + billable.output + mark.waived == 10 + output
        assert 0 <= billable.reasoning <= billable.output <= output
        assert mark.waived >= 0
