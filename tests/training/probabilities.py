"""How likely each next token is: in llama.cpp, over all of a small vocabulary, and in transformers."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tests.training.llama import Llama

Floats = NDArray[np.float32]

PROMPTS = tuple(
    tuple((number * 97 + 31 * place) % 360 for place in range(length)) for number, length in ((3, 1), (5, 7), (8, 80))
)
"""Token ids: a single one, a few, and so many that positions matter."""

_WHOLE = 'root ::= "e"'
"""llama.cpp says nothing of an answer that is half a character, so it is made to answer with a whole one; what it says of
the other tokens is from before the choice."""


def of_llama(llama: Llama, prompt: tuple[int, ...], vocabulary: int) -> Floats:
    body = {"prompt": list(prompt), "n_predict": 1, "n_probs": vocabulary, "cache_prompt": False, "grammar": _WHOLE}
    said = llama._post("/completion", body)["completion_probabilities"][0]["top_logprobs"]
    found = np.full(vocabulary, np.nan, np.float32)
    for one in said:
        found[one["id"]] = one["logprob"]
    assert not np.isnan(found).any(), "llama.cpp left tokens out"
    return found


def of_transformers(model: Any, prompt: tuple[int, ...]) -> Floats:
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1].float()
    found: Floats = torch.log_softmax(logits, -1).numpy()
    return found


def worst(llama: Llama, model: Any, vocabulary: int) -> float:
    """The largest difference of two log-probabilities, over all prompts and tokens."""
    differences = (abs(of_llama(llama, one, vocabulary) - of_transformers(model, one)).max() for one in PROMPTS)
    return float(max(differences))
