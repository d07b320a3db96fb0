"""The base: a GGUF file or a folder of safetensors, as transformers' tokenizer and as its model.

A GGUF file is read through a folder that holds nothing but a link to it: weights lie by content in a folder with others,
and transformers looks around. Quantised matrices are unpacked into full precision; the adapter is trained against exactly
the values that are served. What needs weights is apart from what needs only the tokenizer, which takes a second.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from gguf import GGUFReader
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig

from millrace.base.errors import Refusal
from millrace.catalog.gguf_header import read_header

_LINK: Final = "base.gguf"


class UnusableBaseError(Exception):
    """The text says what is wrong with the base and what to do."""


@contextmanager
def opened(base: str) -> Iterator[dict[str, Any]]:
    """The arguments by which transformers finds the base; UnusableBaseError for what goes wrong inside."""
    path = Path(base)
    try:
        if path.is_dir():
            yield {"pretrained_model_name_or_path": str(path), "local_files_only": True}
        elif path.is_file():
            read_header(path)
            with tempfile.TemporaryDirectory(prefix="millrace-base-") as folder:
                (Path(folder) / _LINK).symlink_to(path.resolve())
                yield {"pretrained_model_name_or_path": folder, "gguf_file": _LINK, "local_files_only": True}
        else:
            raise UnusableBaseError(f"there is no base {path.name}; pull the model again")
    except Refusal as refused:
        raise UnusableBaseError(f"the base {path.name} is damaged or no GGUF file; pull the model again") from refused
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
        if is_memory(error):
            raise
        raise UnusableBaseError(
            f"the base {path.name} cannot be read for training ({type(error).__name__}); it needs to be a GGUF file or a "
            "safetensors folder of an architecture that transformers knows, with its tokenizer"
        ) from error


def read_tokenizer(base: str) -> Any:
    """The fast tokenizer with the base's chat template."""
    with opened(base) as where:
        tokenizer = AutoTokenizer.from_pretrained(**where)
    if not tokenizer.chat_template:
        raise UnusableBaseError(
            f"the base {Path(base).name} has no chat template, so a conversation cannot be written for it; "
            "take the instruct variant of the model"
        )
    if not tokenizer.is_fast:
        raise UnusableBaseError(f"the tokenizer of the base {Path(base).name} has no fast form, which training needs")
    return tokenizer


def read_model(base: str, device: str) -> Any:
    """The weights: float32 on the CPU, bfloat16 on a GPU that has it."""
    dtype = torch.bfloat16 if device == "cuda" and torch.cuda.is_bf16_supported() else torch.float32
    with opened(base) as where:
        if "gguf_file" not in where:
            return AutoModelForCausalLM.from_pretrained(**where, dtype=dtype)
        return AutoModelForCausalLM.from_pretrained(
            **where, config=_config(where), dtype=dtype, quantization_config=GgufConfig(dequantize=True)
        )


def resolved_device(asked: str) -> str:
    """`auto` as what there is. Raises UnusableBaseError where a GPU is asked for and there is none."""
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if asked == "cuda" and not torch.cuda.is_available():
        raise UnusableBaseError("a GPU is asked for and torch finds none; set device to auto or cpu")
    return asked


def _config(where: dict[str, Any]) -> Any:
    """transformers reads the sizes of a GGUF file but for the one of a head, where it is not the usual."""
    config = AutoConfig.from_pretrained(**where)
    reader = GGUFReader(Path(where["pretrained_model_name_or_path"]) / _LINK)
    architecture = reader.get_field("general.architecture")
    length = reader.get_field(f"{architecture.contents()}.attention.key_length") if architecture else None
    if length is not None and hasattr(config, "head_dim"):
        config.head_dim = int(length.contents())
    return config


def is_memory(error: BaseException) -> bool:
    """Whether memory ran out, in Python, on the CPU's side of torch or on the GPU's."""
    said = str(error).lower()
    short = isinstance(error, RuntimeError) and ("out of memory" in said or "can't allocate memory" in said)
    return short or isinstance(error, MemoryError | torch.OutOfMemoryError)
