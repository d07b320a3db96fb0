"""The order of rows in llama's Q and K. Pure.

Rotary positions turn pairs of numbers. transformers pairs a number with the one half a head away, llama.cpp (for the
architecture `llama`; Qwen keeps the halves) with its neighbour: so within each head the two halves are interleaved.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.conversion.checkpoint import Floats


def rotate_rows(rows: "Floats", heads: int) -> "Floats":
    """The rows of whole heads (of a bias: its one row) in llama.cpp's order."""
    if rows.shape[0] == 1:
        return rotate_rows(rows.reshape(-1, 1), heads).reshape(1, -1)
    width = rows.shape[1]
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, width).swapaxes(1, 2).reshape(rows.shape)
