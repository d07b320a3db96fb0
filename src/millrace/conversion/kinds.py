"""Which type each tensor gets. Pure; the mixture Q4_K_M is the one that llama.cpp's own llama-quantize makes.

Vectors, norms and routers stay in float32: they are small, and every answer goes through them. A matrix whose rows are no
multiple of a type's block gets the next larger type that fits, as llama.cpp does, and the result says so.
"""

from typing import Final, Literal, get_args

from millrace.base.errors import Reason, Refusal
from millrace.conversion.numbers import BLOCKS

Kind = Literal["f32", "f16", "bf16", "q8_0", "q4_k_m"]

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

FILE_TYPES: Final[dict[Kind, str]] = {
    "f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "q4_k_m": "MOSTLY_Q4_K_M",
}  # fmt: skip
"""As the file's head calls them."""

FALLBACKS: Final = {"Q4_K": "Q5_0", "Q5_K": "Q8_0", "Q6_K": "Q8_0", "Q5_0": "F16", "Q8_0": "F16"}
"""What takes the place of a type whose block the rows do not fill. llama.cpp has Q5_1 for Q5_K, which is hardly met."""

DEEP_LAYERS: Final = 80
"""Of the 70B models, whose small V matrices llama.cpp makes finer."""

FINE_EXPERTS: Final = 8
"""So many experts share attention that costs little: llama.cpp makes it finer."""


def parse_kind(text: str) -> Kind:
    """Raises INVALID_REQUEST, naming those that there are."""
    wanted = text.lower()
    for kind in KINDS:
        if kind == wanted:
            return kind
    raise Refusal(Reason.INVALID_REQUEST, f"{text!r} is no kind to convert to; there are {', '.join(KINDS)}", param="kind")


class Mixture:
    """The types of one model's tensors in one kind; `fallbacks` gathers those that could not have the usual one."""

    def __init__(self, kind: Kind, layers: int, experts: int, *, tied: bool) -> None:
        self._kind, self._layers, self._experts, self._tied = kind, layers, experts, tied
        self.fallbacks: dict[str, str] = {}

    def of(self, name: str, shape: tuple[int, ...]) -> str:
        """The type of one tensor, by its name in GGUF."""
        if len(shape) < 2 or not name.endswith(".weight") or "_norm" in name or "ffn_gate_inp" in name:
            return "F32"
        kind = wanted = self._mixed(name) if self._kind == "q4_k_m" else self._kind.upper()
        while shape[-1] % BLOCKS[kind][0]:
            kind = FALLBACKS[kind]
        if kind != wanted:
            self.fallbacks[name] = kind
        return kind

    def _mixed(self, name: str) -> str:
        if name == "output.weight" or (self._tied and name == "token_embd.weight"):
            return "Q6_K"
        part = name.split(".")[2] if name.startswith("blk.") else ""
        if part == "attn_v":
            return self._value(int(name.split(".")[1]))
        if part == "attn_k" and self._experts == FINE_EXPERTS:
            return "Q8_0"
        if part == "attn_output" and self._experts == FINE_EXPERTS:
            return "Q5_K"
        if part.startswith("ffn_down") and self._finer(int(name.split(".")[1])):
            return "Q6_K"
        return "Q4_K"

    def _value(self, layer: int) -> str:
        if self._experts == FINE_EXPERTS:
            return "Q8_0"
        if self._finer(layer):
            return "Q6_K"
        return "Q5_K" if self._layers == DEEP_LAYERS else "Q4_K"

    def _finer(self, layer: int) -> bool:
        """The first and last eighth of the layers, and every third between."""
        eighth = self._layers // 8
        return layer < eighth or layer >= 7 * self._layers // 8 or (layer - eighth) % 3 == 2
