"""Rows of float32 as the bytes of a GGUF tensor, each type by the library that does it.

float32, float16, bfloat16 and Q8_0 are made by the package gguf. It only reads the K types; those are made by ggml itself,
whose library comes with llama.cpp inside the wheel xllamacpp and exports `ggml_quantize_chunk` of its public ggml.h. The
library is opened beside Python, without importing xllamacpp: a conversion runs no engine.
"""

import ctypes
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from millrace.base.errors import Reason, Refusal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from millrace.conversion.checkpoint import Floats

BLOCKS: Final = {
    "F32": (1, 4), "F16": (1, 2), "BF16": (1, 2), "Q8_0": (32, 34), "Q5_0": (32, 22), "Q4_K": (256, 144),
    "Q5_K": (256, 176), "Q6_K": (256, 210),
}  # fmt: skip
"""Type → (values, bytes) of one block."""

BY_GGML: Final = frozenset({"Q5_0", "Q4_K", "Q5_K", "Q6_K"})

_QUANTIZE: Final = "ggml_quantize_chunk"


def nbytes(kind: str, values: int) -> int:
    per_block, size = BLOCKS[kind]
    return values // per_block * size


def check_kinds(kinds: set[str]) -> None:
    """Raises BAD_SETTING where one of these types cannot be made on this machine."""
    if not kinds & BY_GGML:
        return
    try:
        _ggml()
    except (OSError, AttributeError) as error:
        raise Refusal(
            Reason.BAD_SETTING,
            "the 4-bit types are made by ggml's own library, and the xllamacpp that is installed here does not offer it "
            f"({error}); convert to q8_0, or to f16 and then with llama.cpp's program llama-quantize",
        ) from error


def encode(rows: "Floats", kind: str) -> "NDArray[np.uint8]":
    """The bytes of these rows, whose width is a multiple of the type's block."""
    import numpy as np

    if kind in BY_GGML:
        return _by_ggml(rows, kind)
    import gguf

    made = gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind])
    return np.ascontiguousarray(made).view(np.uint8).reshape(-1)


def _by_ggml(rows: "Floats", kind: str) -> "NDArray[np.uint8]":
    import gguf
    import numpy as np

    values = np.ascontiguousarray(rows, np.float32)
    out = np.empty(nbytes(kind, values.size), np.uint8)
    number = int(gguf.GGMLQuantizationType[kind])
    written = _ggml()(number, values.ctypes.data, out.ctypes.data, 0, values.shape[0], values.shape[1], None)
    assert written == out.size, "ggml's blocks have other sizes than BLOCKS says"
    return out


@cache
def _ggml() -> Any:
    """The function, with its types. Raises OSError or AttributeError where there is none."""
    found = importlib.util.find_spec("xllamacpp")
    places = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    library = next((file for place in places for file in place.glob("xllamacpp*.so")), None)
    if library is None:
        raise OSError("xllamacpp is not installed, or has no library of its own")
    quantize = getattr(ctypes.CDLL(str(library)), _QUANTIZE)
    quantize.restype = ctypes.c_size_t
    quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, *[ctypes.c_int64] * 3, ctypes.c_void_p]
    return quantize
