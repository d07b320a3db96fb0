"""Trains the model: seeded, resumable, one progress line every twenty steps.

Run: python -m models.tiny.train --out DIR [--shared DIR] [--steps N]       DIR holds tokenizer.json of vocabulary.py
     python -m models.tiny.train --out DIR --smoke      a far smaller model, about a minute, into DIR/smoke, to be exported too
A stop loses at most 100 steps; the same command goes on from `checkpoint.pt`. The exported weights are a running mean
(`mean`) of the trained ones. Matrices learn by Muon, vectors and the embedding by AdamW.
Not covered: several processes, gradient accumulation, other devices than the processor.
"""

from __future__ import annotations

import argparse
import shutil
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from models.tiny.corpus import HELD_OUT_SEED, Batch, Corpus
from models.tiny.model import Model, Shape
from models.tiny.shared import shared_folder
from tokenizers import Tokenizer

SMOKE = Shape(hidden=64, layers=2, heads=2, kv_heads=1, head=32, feed_forward=128)
WARM_UP = 60  # steps
DECAY = 0.3  # last part of the run in which the learning rate falls to a fortieth
MEAN_KEEPS = 0.99  # of the running mean, at each step: about the last hundred steps
RATES = {"muon": 0.02, "adam": 0.003}
SAVE_EVERY, SAY_EVERY, VALIDATE_EVERY = 100, 20, 200  # steps


@dataclass
class Progress:
    """What a stopped run needs besides weights: counts so far, and the log for the model card."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    log: list[dict[str, float]] = field(default_factory=list)


class Run:
    """One training run: model, optimisers, running mean and progress."""

    def __init__(self, shape: Shape, corpus: Corpus, out: Path, size: int, steps: int, minutes: float | None) -> None:
        self.shape, self.corpus, self.out = shape, corpus, out
        self.size, self.steps, self.minutes = size, steps, minutes
        self.model = Model(shape)
        self.mean = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self.optimisers = _optimisers(self.model)
        self.progress = Progress()

    @property
    def done(self) -> float:
        """Share of the run that is behind us: of its minutes where these were given, else of its steps."""
        if self.minutes is not None:
            return min(1.0, self.progress.seconds / 60 / self.minutes)
        return min(1.0, self.progress.step / self.steps)

    def train(self) -> None:
        while self.done < 1:
            began = time.monotonic()
            loss, tokens = self._step()
            self.progress.step += 1
            self.progress.tokens += tokens
            self.progress.seconds += time.monotonic() - began
            self._report(loss)

    def _step(self) -> tuple[float, int]:
        """One batch; the mean loss in nats a weighted token, and the number of tokens."""
        batch = self.corpus.batch(self.progress.step, self.size)
        loss = _loss(self.model, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        scale = _rate_scale(self.progress.step, self.done)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = group["first_rate"] * scale
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        keeps = min(MEAN_KEEPS, self.progress.step / (self.progress.step + 10))
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                self.mean[name].lerp_(value, 1 - keeps)
        return loss.item(), len(batch.tokens)

    def _report(self, loss: float) -> None:
        step = self.progress.step
        if step % SAY_EVERY == 0 or self.done == 1:
            speed = self.progress.tokens / self.progress.seconds
            print(
                f"step {step}  {self.done:.1%}  loss {loss:.3f}  {self.progress.tokens / 1e6:.2f} M tokens  "
                f"{speed:.0f} tokens/s  {self.progress.seconds / 60:.1f} min",
                flush=True,
            )
        if step % VALIDATE_EVERY == 0 or self.done == 1:
            held_out = self.validate()
            self.progress.log.append(
                {"step": step, "tokens": self.progress.tokens, "seconds": self.progress.seconds, "held_out": held_out}
            )
            print(f"step {step}  held-out loss {held_out:.4f} nats a token", flush=True)
        if step % SAVE_EVERY == 0 or self.done == 1:
            self.save()

    @torch.no_grad()
    def validate(self) -> float:
        """Loss of the running mean on the assistants' tokens of batches that training never sees."""
        trained = {name: value.detach().clone() for name, value in self.model.named_parameters()}
        self._put(self.mean)
        losses = []
        for number in range(HELD_OUT_SEED, HELD_OUT_SEED + 4):
            batch = self.corpus.batch(number, self.size)
            losses.append(_loss(self.model, batch._replace(weights=(batch.weights >= 1).astype("float32"))).item())
        self._put(trained)
        return sum(losses) / len(losses)

    def _put(self, weights: dict[str, torch.Tensor]) -> None:
        with torch.no_grad():
            for name, value in self.model.named_parameters():
                value.copy_(weights[name])

    def save(self) -> None:
        state: dict[str, Any] = {
            "shape": asdict(self.shape),
            "model": self.model.state_dict(),
            "mean": self.mean,
            "progress": asdict(self.progress),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
        }
        part = self.out / "checkpoint.part"
        torch.save(state, part)
        part.replace(self.out / "checkpoint.pt")

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        path = self.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.mean = state["mean"]
        self.progress = Progress(**state["progress"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        print(f"going on after step {self.progress.step}", flush=True)


def _loss(model: Model, batch: Batch) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return model.loss(torch.from_numpy(batch.tokens), torch.from_numpy(batch.weights), batch.lengths)


def _optimisers(model: Model) -> list[torch.optim.Optimizer]:
    matrices = [value for name, value in model.named_parameters() if value.dim() == 2 and not name.startswith("embed")]
    others = [value for name, value in model.named_parameters() if value.dim() != 2 or name.startswith("embed")]
    muon = torch.optim.Muon(matrices, lr=RATES["muon"], weight_decay=0.01, momentum=0.95)
    adam = torch.optim.AdamW(others, lr=RATES["adam"], betas=(0.9, 0.95), weight_decay=0.0)
    for optimiser, rate in ((muon, RATES["muon"]), (adam, RATES["adam"])):
        for group in optimiser.param_groups:
            group["first_rate"] = rate
    return [muon, adam]


def _rate_scale(step: int, done: float) -> float:
    """Rises over the warm-up, stays, falls linearly to a fortieth at the end."""
    return min(1.0, (step + 1) / WARM_UP, max(0.025, (1 - done) / DECAY))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=shared_folder, help="folder of the clean-licence dialogue sets")
    parser.add_argument("--steps", type=int, help="4000 when left out, 100 with --smoke")
    parser.add_argument("--minutes", type=float, help="end after these minutes of training instead of after --steps")
    parser.add_argument("--size", type=int, default=4096, help="tokens in a batch, at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--fuse", action="store_true", help="compile the network: a tenth faster, needs a C++ compiler")
    parser.add_argument("--smoke", action="store_true", help="a far smaller model, a hundred steps")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(given.seed)
    tokenizer = Tokenizer.from_file(str(given.out / "tokenizer.json"))
    shape = SMOKE if given.smoke else Shape()
    corpus = Corpus(tokenizer, given.shared, given.seed)
    out = given.out / "smoke" if given.smoke else given.out
    out.mkdir(exist_ok=True)
    if given.smoke:
        shutil.copy(given.out / "tokenizer.json", out)
    run = Run(shape, corpus, out, given.size, given.steps or (100 if given.smoke else 4000), given.minutes)
    print(f"{sum(value.numel() for value in run.model.parameters()):,} parameters")
    run.resume()
    if given.fuse:
        run.model.fuse()
    run.train()


if __name__ == "__main__":
    main()
