"""LoRA adapters of the bundled model with made-up weights, as the converter writes them."""

from pathlib import Path

import numpy as np
from gguf import GGUFReader, GGUFWriter

from millrace.catalog.bundled import PATH

RANK = 8
ADAPTED = ("attn_q.weight", "attn_v.weight", "ffn_down.weight")


def write_adapter(path: Path, spread: float, seed: int = 1) -> Path:
    """`spread` is how far its weights are from nought; with 0.0 it changes nothing."""
    base = GGUFReader(PATH)
    writer = GGUFWriter(path, base.fields["general.architecture"].contents())
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(RANK))
    drawn = np.random.default_rng(seed)
    for tensor in base.tensors:
        if tensor.name.endswith(ADAPTED):
            inputs, outputs = (int(side) for side in tensor.shape)
            for part, shape in (("lora_a", (RANK, inputs)), ("lora_b", (outputs, RANK))):
                weights = (drawn.standard_normal(shape) * spread).astype(np.float32)
                writer.add_tensor(f"{tensor.name}.{part}", weights)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
