"""Tensors in safetensors files, read by rows: a model of any size goes through a few megabytes of memory.

The format (huggingface/safetensors, README): eight bytes with the length of a JSON object, the object, the tensors. Lengths
and places are claims: each is checked against the file before a byte is read. Read here and not by the package safetensors,
whose numpy side does not know bfloat16.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.base.errors import Reason, Refusal
from millrace.catalog.safetensors_header import TensorInfo, read_tensor_file

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

JSON_BYTES_MAX: Final = 64 << 20
"""config.json and its neighbours; the largest, tokenizer.json, has some 20 MB."""

WIDTHS: Final = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of one number, of the types that weights are published in."""

INDEX: Final = "model.safetensors.index.json"
SINGLE: Final = "model.safetensors"


class Tensor(NamedTuple):
    """Where one tensor lies."""

    name: str
    file: Path
    kind: str
    shape: tuple[int, ...]
    start: int

    @property
    def rows(self) -> int:
        """A vector is one row; a matrix has those that it has."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def width(self) -> int:
        return math.prod(self.shape) // self.rows


def read_checkpoint(folder: Path) -> dict[str, Tensor]:
    """All tensors of the model in a folder, one file or several with their index. Raises BAD_SETTING."""
    index = folder / INDEX
    if not index.is_file():
        return read_tensors(folder / SINGLE)
    where = read_object(index).get("weight_map")
    if not isinstance(where, dict) or not all(isinstance(name, str) and Path(name).name == name for name in where.values()):
        raise unusable(index, "it does not say in which file beside it each tensor is")
    files: dict[str, Mapping[str, Tensor]] = {name: read_tensors(folder / name) for name in sorted(set(where.values()))}
    for tensor, name in where.items():
        if tensor not in files[name]:
            raise unusable(folder / name, f"it lacks the tensor {tensor}, which the index says is in it; pull the model again")
    found = {name: tensor for file in files.values() for name, tensor in file.items()}
    if len(found) != sum(map(len, files.values())):
        raise unusable(index, "a tensor is in two of its files")
    return found


def read_tensors(file: Path) -> dict[str, Tensor]:
    """The tensors of one file. Raises BAD_SETTING for one that is missing, cut short or holds numbers of other types."""
    tensors, begin, size = read_tensor_file(file)
    return {name: _tensor(name, info, file, begin, size) for name, info in tensors.items()}


def _tensor(name: str, info: TensorInfo, file: Path, begin: int, size: int) -> Tensor:
    if info.dtype not in WIDTHS:
        raise unusable(
            file,
            f"its tensor {name} has numbers of the type {info.dtype}, as quantised checkpoints do; convert from the original "
            f"weights, in {', '.join(sorted(WIDTHS))}",
        )
    start, end = info.data_offsets
    needed = math.prod(info.shape) * WIDTHS[info.dtype]
    if not info.shape or min(info.shape) < 1 or start < 0 or end - start != needed or begin + end > size:
        raise unusable(file, f"its tensor {name} does not lie whole within the file; pull the model again")
    return Tensor(name, file, info.dtype, tuple(info.shape), begin + start)


def read_rows(tensor: Tensor, first: int, last: int) -> "Floats":
    """Rows `first` to `last` (not included) in float32, nothing else being read. Raises BAD_SETTING for what is no number."""
    import numpy as np

    width = tensor.width
    forms = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    try:
        with tensor.file.open("rb") as file:
            file.seek(tensor.start + first * width * WIDTHS[tensor.kind])
            raw: NDArray[Any] = np.fromfile(file, np.dtype(forms[tensor.kind]), (last - first) * width)
    except OSError as error:
        raise unusable(tensor.file, f"it cannot be read ({error.strerror})") from error
    if raw.size != (last - first) * width:
        raise unusable(tensor.file, "it became shorter while it was read")
    values: Floats
    if tensor.kind == "BF16":
        values = (raw.astype(np.uint32) << np.uint32(16)).view(np.float32)
    else:
        values = raw.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise unusable(tensor.file, f"its tensor {tensor.name} has values that are no numbers (NaN or infinite)")
    return values.reshape(last - first, width)


def read_object(file: Path) -> dict[str, Any]:
    """A JSON object. Raises BAD_SETTING."""
    try:
        if file.stat().st_size > JSON_BYTES_MAX:
            raise unusable(file, f"it is larger than {JSON_BYTES_MAX} bytes")
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise unusable(file, f"it cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise unusable(file, f"it is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise unusable(file, "it is not a JSON object")
    return found


def unusable(file: Path, what: str) -> Refusal:
    return Refusal(Reason.BAD_SETTING, f"{file} cannot be converted: {what}")
