"""multipart/form-data: the same parts, however the bytes are cut."""

import random

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.wire.multipart import HEAD_BYTES_MAX, Multipart, PartBegins, boundary_of

CONTENT = b"\r\n--mil-x\r\n-mill\r\n--mil\r\n\r\n--" + bytes(range(256))
BODY = (
    b'nobody reads this\r\n--mill\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune'
    b'\r\n--mill\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name="file"; filename="a \\"b\\".jsonl"\r\n\r\n'
    + CONTENT + b"\r\n--mill--\r\nnor this"
)  # fmt: skip


def read(pieces: list[bytes]) -> list[tuple[PartBegins, bytes]]:
    """The parts with their contents."""
    reader, parts = Multipart("mill"), list[tuple[PartBegins, bytes]]()
    for data in pieces:
        for piece in reader.feed(data):
            if isinstance(piece, PartBegins):
                parts.append((piece, b""))
            else:
                parts[-1] = (parts[-1][0], parts[-1][1] + piece)
    assert reader.over
    return parts


@pytest.mark.parametrize("seed", range(50))
def test_any_cut_gives_the_same(seed: int) -> None:
    """Whole, byte by byte, or cut anywhere: names and contents are those that were sent, near boundaries included."""
    chance = random.Random(seed)
    cuts = sorted(chance.sample(range(1, len(BODY)), 0 if seed == 0 else len(BODY) - 1 if seed == 1 else chance.randint(1, 40)))
    pieces = [BODY[a:b] for a, b in zip([0, *cuts], [*cuts, len(BODY)], strict=True)]
    (purpose, word), (file, content) = read(pieces)
    assert (purpose, word) == (PartBegins("purpose", None), b"fine-tune")
    assert (file.name, file.filename, content) == ("file", 'a \\"b\\".jsonl', CONTENT)


def test_a_body_that_is_cut_is_not_over() -> None:
    """Whoever asks knows that the last boundary is missing."""
    reader = Multipart("mill")
    reader.feed(BODY[: BODY.index(b"--mill--")])
    assert not reader.over


@pytest.mark.parametrize(
    "body",
    [b"--mill!!", b"--mill\r\n\r\n\r\nx", b"--mill\r\nContent-Disposition: form-data\r\n\r\n", b"--mill\r\n" + b"x" * 9000],
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    """A boundary that goes on, a part without a name, a head without end."""
    with pytest.raises(Refusal) as refused:
        Multipart("mill").feed(body)
    assert refused.value.reason is Reason.INVALID_REQUEST
    assert len(body) < HEAD_BYTES_MAX + 1000


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "multipart/mixed; boundary=x", ""])
def test_another_type_is_refused(kind: str) -> None:
    """Without a boundary there is nothing to look for."""
    with pytest.raises(Refusal):
        boundary_of(kind)
    assert boundary_of('multipart/form-data; charset=utf-8; boundary="a b"') == "a b"
    assert boundary_of("Multipart/Form-Data; boundary=ab") == "ab"
