"""The Qwen3 architecture, small: RMSNorm, grouped queries with QK-norm, rotary places, SwiGLU, tied ends."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of a model. Rows of every matrix are multiples of 32, as Q8_0 wants them."""

    vocabulary: int = 4096
    hidden: int = 256
    layers: int = 6
    heads: int = 8
    kv_heads: int = 4
    head: int = 32
    feed_forward: int = 768
    context: int = 2048
    rope_base: float = 10_000.0
    epsilon: float = 1e-6


class RMSNorm(nn.Module):
    def __init__(self, size: int, epsilon: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.epsilon)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary places in the manner of NeoX: the two halves of a head are the two coordinates. x: (H, N, head)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)


class Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.q = nn.Linear(shape.hidden, shape.heads * shape.head, bias=False)
        self.k = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.v = nn.Linear(shape.hidden, shape.kv_heads * shape.head, bias=False)
        self.out = nn.Linear(shape.heads * shape.head, shape.hidden, bias=False)
        self.q_norm = RMSNorm(shape.head, shape.epsilon)
        self.k_norm = RMSNorm(shape.head, shape.epsilon)

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor], lengths: list[int]) -> Tensor:
        total = x.shape[0]
        q = rotate(self.q_norm(self.q(x).view(total, -1, self.shape.head)).transpose(0, 1), *places)
        k = rotate(self.k_norm(self.k(x).view(total, -1, self.shape.head)).transpose(0, 1), *places)
        v = self.v(x).view(total, -1, self.shape.head).transpose(0, 1)
        groups = self.shape.heads // self.shape.kv_heads
        k, v = k.repeat_interleave(groups, dim=0), v.repeat_interleave(groups, dim=0)
        apart = zip(*(part.split_with_sizes(lengths, 1) for part in (q, k, v)), strict=True)
        later = torch.full((max(lengths), max(lengths)), -torch.inf, dtype=q.dtype).triu(1)
        mixed = torch.cat([attend(later, *one) for one in apart], dim=1)
        out: Tensor = self.out(mixed.transpose(0, 1).reshape(total, -1))
        return out


def attend(later: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal attention of one dialogue, each (H, T, head); `later` is -inf above the diagonal, else 0.

    Written out: up to a thousand places the processor is two to three times as fast at it as at torch's fused kernel.
    """
    length = q.shape[1]
    scores = torch.baddbmm(later[:length, :length], q, k.transpose(1, 2), alpha=q.shape[2] ** -0.5)
    return scores.softmax(-1) @ v


class FeedForward(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.gate = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.up = nn.Linear(shape.hidden, shape.feed_forward, bias=False)
        self.down = nn.Linear(shape.feed_forward, shape.hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down(functional.silu(self.gate(x)) * self.up(x))
        return out


class Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(shape.hidden, shape.epsilon)
        self.attention = Attention(shape)
        self.feed_norm = RMSNorm(shape.hidden, shape.epsilon)
        self.feed = FeedForward(shape)

    def forward(self, x: Tensor, places: tuple[Tensor, Tensor], lengths: list[int]) -> Tensor:
        x = x + self.attention(self.attention_norm(x), places, lengths)
        out: Tensor = x + self.feed(self.feed_norm(x))
        return out


class Model(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.embed = nn.Embedding(shape.vocabulary, shape.hidden)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.norm = RMSNorm(shape.hidden, shape.epsilon)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                narrow = (2 * shape.layers) ** -0.5 if name.endswith(("out.weight", "down.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 * narrow)

    def fuse(self) -> None:
        """Compiles what stands between the matrices, whose sizes are those of a batch: about a tenth faster, same sums."""
        for module in self.modules():
            if isinstance(module, RMSNorm | FeedForward):
                module.compile()

    def forward(self, tokens: Tensor, lengths: list[int]) -> Tensor:
        """Hidden states (N, hidden) of tokens (N,): dialogues of `lengths` end to end, each seeing only itself."""
        x = self.embed(tokens)
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.bfloat16)
        places = _places(lengths, self.shape, x.dtype)
        for block in self.blocks:
            x = block(x, places, lengths)
        out: Tensor = self.norm(x)
        return out

    def loss(self, tokens: Tensor, weights: Tensor, lengths: list[int]) -> Tensor:
        """Weighted mean of the cross entropy, nats a token; `weights` (N,) belong to the token predicted.

        The first token of each dialogue must have weight 0, as nothing comes before it.
        """
        hidden, wanted, weight = self(tokens, lengths)[:-1], tokens[1:], weights[1:]
        chosen = torch.argsort(weight, descending=True)[: _round_up(int((weight > 0).sum()), len(weight))]
        logits = functional.linear(hidden[chosen], self.embed.weight).float()
        each = functional.cross_entropy(logits, wanted[chosen], reduction="none")
        return (each * weight[chosen]).sum() / weight.sum()


def _round_up(count: int, most: int) -> int:
    """To a multiple of 512: the processor's kernels are compiled anew for every shape, which takes seconds."""
    return min(most, -(-count // 512) * 512)


def _places(lengths: list[int], shape: Shape, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine, each (N, head / 2); every dialogue counts from zero."""
    steps = shape.rope_base ** (-torch.arange(0, shape.head, 2) / shape.head)
    places = torch.cat([torch.arange(length) for length in lengths]).float()
    angles = torch.outer(places, steps)
    return angles.cos().to(dtype), angles.sin().to(dtype)
