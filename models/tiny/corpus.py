"""From dialogues to batches of tokens: endless, seeded, never the same dialogue twice on purpose.

A batch holds dialogues end to end and their lengths, so that attention stays inside each.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
from models.tiny.conversation import Dialogue
from models.tiny.desk_scenes import NO_NAMES, make_scene
from models.tiny.dialogues import make_dialogue
from models.tiny.drills import make_drill
from models.tiny.odd import piece_names
from models.tiny.shared import read_heard, read_names, read_services
from models.tiny.tools import CALL, as_dialogue
from tokenizers import Tokenizer

LONGEST = 1024  # tokens of a dialogue; longer ones are cut off
STRIDE = 32  # lengths are multiples of it: the processor's kernels are compiled anew for every length, in seconds
WEIGHTS = {"system": 0.0, "user": 0.0, "assistant": 1.0}  # of the loss, by who speaks
EXACT = 2.0  # times the weight, for what is right to the letter or wrong: the assistant's calls, and its tokens with a digit
SERVICE_SHARE = 0.06  # of the dialogues, when the shared folder is there
SCENE_SHARE = 0.60  # with tools; the others have a shop in the system prompt, or none
DRILL_STEPS = 300  # steps of the run in which drills are many
DRILLS_FIRST, DRILLS_LATER = 0.6, 0.25  # of the dialogues
HELD_OUT_SEED = 10**9  # batches from here on are for validation; training steps stay far below


class Batch(NamedTuple):
    tokens: np.ndarray  # (N,) int64
    weights: np.ndarray  # (N,) float32: weight of predicting the token at this place
    lengths: list[int]  # of the dialogues, N in sum


class Corpus:
    """Batches by number: the same seed and number give the same batch, so a run can go on after a stop."""

    def __init__(self, tokenizer: Tokenizer, shared: Path | None, seed: int) -> None:
        self.tokenizer = tokenizer
        self.seed = seed
        self.heard = read_heard(shared) if shared else {}
        names = read_names(shared) if shared else NO_NAMES
        self.odd = piece_names(random.Random(seed), sorted(tokenizer.get_vocab()), times=3)
        self.names = names._replace(training=[*names.training, *self.odd])
        self.services = read_services(shared) if shared else []
        self.start, self.end = self._ids("<|im_start|>"), self._ids("<|im_end|>")
        self.figures = {entry for word, entry in tokenizer.get_vocab().items() if any(map(str.isdigit, word))}
        self.newline = self._ids("\n")

    def batch(self, number: int, size: int) -> Batch:
        """Dialogues of together exactly `size` tokens, a multiple of STRIDE; the last one is cut off where it ends."""
        rng = random.Random(f"{self.seed}/{number}")
        tokens: list[int] = []
        weights: list[float] = []
        lengths: list[int] = []
        while len(tokens) < size:
            drill = rng.random() < (DRILLS_FIRST if number < DRILL_STEPS else DRILLS_LATER)
            more, weight = self.encode(make_drill(rng, self.odd) if drill else self._dialogue(rng))
            padding = -len(more) % STRIDE
            room = min(LONGEST, size - len(tokens))
            tokens += (more + self.newline * padding)[:room]
            weights += (weight + [0.0] * padding)[:room]
            lengths.append(min(len(more) + padding, room))
        return Batch(np.array(tokens, dtype=np.int64), np.array(weights, dtype=np.float32), lengths)

    def encode(self, dialogue: Dialogue) -> tuple[list[int], list[float]]:
        """ChatML tokens and their loss weights; the end of an assistant's turn counts as said by the assistant."""
        tokens: list[int] = []
        weights: list[float] = []
        for role, text in dialogue:
            header, body = self._ids(f"{role}\n"), self._ids(text)
            tokens += [*self.start, *header, *body, *self.end, *self.newline]
            called = [False, *([text.startswith(CALL)] * len(body))]  # whether to call at all weighs as much as any word
            exact = [one or token in self.figures for one, token in zip(called, (*body, *self.end), strict=True)]
            said = [self._weight(role, one) for one in exact]
            weights += [0.0] * (1 + len(header)) + said + [0.0] * len(self.newline)
        return tokens, weights

    def _weight(self, role: str, exact: bool) -> float:
        return WEIGHTS[role] * (EXACT if exact else 1.0)

    def _dialogue(self, rng: random.Random) -> Dialogue:
        draw = rng.random()
        if self.services and draw < SERVICE_SHARE:
            return as_dialogue(rng.choice(self.services))
        if draw < SCENE_SHARE:
            return as_dialogue(make_scene(rng, self.names, heard=self.heard))
        return make_dialogue(rng, self.heard)

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer.encode(text).ids
        return ids
