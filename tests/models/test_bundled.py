"""What the repository carries of the bundled model: small, well-formed, and honest about itself."""

import re
from pathlib import Path

BUNDLED = Path(__file__).resolve().parents[2] / "src/millrace/catalog/bundled"
WEIGHTS, CARD = BUNDLED / "millrace-tiny.gguf", BUNDLED / "MODEL_CARD.md"
BYTES_MAX = 40_000_000


def test_the_weights_are_small() -> None:
    """The weights are at most 40 MB, so that a clone stays quick."""
    assert 1024 * 1024 < WEIGHTS.stat().st_size <= BYTES_MAX


def test_the_weights_are_gguf() -> None:
    """The file begins as GGUF version 3, names its architecture and itself, and no author."""
    with WEIGHTS.open("rb") as file:
        head = file.read(4096)
    assert head[:4] == b"GGUF"
    assert int.from_bytes(head[4:8], "little") == 3
    assert b"qwen3" in head
    assert b"millrace-tiny" in head
    assert b"general.author" not in head


def test_nothing_half_written_lies_beside_it() -> None:
    """An export leaves the weights and the card, and no temporary file."""
    assert {path.name for path in BUNDLED.iterdir()} == {WEIGHTS.name, CARD.name}


def test_the_card_names_its_sources() -> None:
    """The card says what it is, its licence, and whom its data is owed to."""
    card = CARD.read_text(encoding="utf-8")
    for word in ("demonstration", "Apache-2.0", "CLINC150", "banking77", "Taskmaster-4", "STAR", "CC BY 4.0", "MIT"):
        assert word in card, word


def test_the_card_counts_the_bytes() -> None:
    """The size in the card is the size of the file."""
    card = CARD.read_text(encoding="utf-8")
    found = re.search(r"([\d,]+) bytes", card)
    assert found is not None
    assert int(found[1].replace(",", "")) == WEIGHTS.stat().st_size
