"""The recipe of the bundled model from beginning to end, as small as it goes: about a minute."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need

need("torch", "tokenizers", "gguf", "numpy")

import numpy as np
import torch
from models.tiny.corpus import Corpus
from models.tiny.export import export
from models.tiny.forward import Network
from models.tiny.model import Model, Shape, attend
from models.tiny.served import Served, as_messages
from models.tiny.tools import Said
from models.tiny.vocabulary import SPECIALS, VOCABULARY, texts, train_tokenizer
from tokenizers import Tokenizer
from torch.nn import functional

STEPS = 300  # it saves at 100, 200 and 300
TRAIN = (
    sys.executable, "-m", "models.tiny.train", "--smoke", "--steps", str(STEPS), "--size", "256", "--threads", "1",
)  # fmt: skip
HELLO = as_messages("", [Said("user", "Hello!")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer."""
    made = tmp_path_factory.mktemp("run")
    train_tokenizer(list(texts(None, 600))).save(str(made / "tokenizer.json"))
    return made


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """A run that nobody stopped."""
    subprocess.run([*TRAIN, "--out", str(folder)], check=True, capture_output=True)
    return folder / "smoke"


@pytest.fixture(scope="module")
def file(trained: Path) -> Path:
    to = trained / "tiny.gguf"
    export(trained, to)
    return to


def test_the_vocabulary_is_full(folder: Path) -> None:
    """The tokenizer has as many entries as the network, the special words first, each one token."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == VOCABULARY == Shape().vocabulary
    assert [tokenizer.encode(word).ids for word in SPECIALS] == [[place] for place in range(len(SPECIALS))]


def test_a_name_is_in_the_same_pieces_everywhere(folder: Path) -> None:
    """A rare word after a blank, in quotes or behind an underscore is the pieces that it is at the beginning of a text."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for word in ("Fastnet", "grolquist", "wobbelin"):
        alone = tokenizer.encode(word).tokens
        assert len(alone) > 1
        for before in (" ", '"', "_", "a "):
            assert tokenizer.encode(before + word).tokens[-len(alone) :] == alone


def test_the_loss_counts_only_the_assistant(folder: Path) -> None:
    """Tokens of customers, prompts and tools have no weight; the assistant's, calls among them, have."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    corpus = Corpus(tokenizer, None, 1)
    batch = corpus.batch(1000, 4096)
    said = tokenizer.decode([int(token) for token, weight in zip(batch.tokens, batch.weights, strict=True) if weight])
    assert '{"name": "' in said
    assert "# Tools" not in said
    assert sum(batch.lengths) == len(batch.tokens) == 4096


def test_a_batch_depends_only_on_its_number(folder: Path) -> None:
    """A corpus made anew gives the same batch again."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    one, other = (Corpus(tokenizer, None, 1).batch(7, 1024) for _ in range(2))
    assert np.array_equal(one.tokens, other.tokens)
    assert np.array_equal(one.weights, other.weights)


def test_dialogues_in_a_batch_do_not_see_each_other() -> None:
    """What stands before a dialogue in its batch changes nothing about it."""
    torch.manual_seed(1)
    model = Model(Shape(vocabulary=64, hidden=32, layers=1, heads=1, kv_heads=1, head=32, feed_forward=32))
    first, second = torch.arange(0, 8), torch.arange(8, 20)
    together = model(torch.cat((first, second)), [8, 12])
    assert torch.allclose(together[8:], model(second, [12]), atol=1e-6)


def test_attention_is_torchs_own() -> None:
    """Attention written out gives what torch's kernel gives, and no place sees a later one."""
    torch.manual_seed(1)
    q, k, v = (torch.randn(2, 50, 16) for _ in range(3))
    later = torch.full((64, 64), -torch.inf).triu(1)
    assert torch.allclose(attend(later, q, k, v), functional.scaled_dot_product_attention(q, k, v, is_causal=True), atol=1e-5)


@pytest.mark.skipif(not (shutil.which("g++") or os.environ.get("CI")), reason="needs a C++ compiler: apt install g++")
@pytest.mark.filterwarnings("ignore")  # of torch's compiler, about torch
def test_a_fused_network_is_the_same_one() -> None:
    """What --fuse compiles gives the same hidden states."""
    torch.manual_seed(1)
    model = Model(Shape(vocabulary=64, hidden=32, layers=1, heads=1, kv_heads=1, head=32, feed_forward=32))
    tokens = torch.arange(0, 20)
    plain = model(tokens, [20])
    model.fuse()
    assert torch.allclose(model(tokens, [20]), plain, atol=1e-5)


def test_it_learns(trained: Path) -> None:
    """The held-out loss falls far below that of a guess, which is the logarithm of the vocabulary."""
    log = _state(trained)["progress"]["log"]
    assert log[-1]["held_out"] < 7.5 < float(np.log(VOCABULARY))
    assert log[-1]["step"] == STEPS


def test_a_killed_run_goes_on_as_if_nothing_had_happened(folder: Path, trained: Path, tmp_path: Path) -> None:
    """A run that is killed after its first checkpoint and started again ends with the very same weights."""
    shutil.copy(folder / "tokenizer.json", tmp_path)
    command = [*TRAIN, "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if line.startswith("step 120 "):
                run.send_signal(signal.SIGKILL)
                break
    assert run.wait() == -signal.SIGKILL
    assert _state(tmp_path / "smoke")["progress"]["step"] == 100
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "going on after step 100" in said
    one, other = _state(trained), _state(tmp_path / "smoke")
    for weights in ("model", "mean"):
        assert all(torch.equal(value, other[weights][name]) for name, value in one[weights].items())


def test_the_export_loads_and_makes_tokens(file: Path) -> None:
    """llama.cpp loads the file, and answers with as many tokens as it is asked for."""
    answer = Served(file).answer(HELLO, max_tokens=8, ignore_eos=True)
    assert answer.ended == "length"
    assert answer.speed > 0


def test_llama_cpp_cuts_text_as_training_does(file: Path, folder: Path) -> None:
    """The tokenizer in the file gives the same tokens as the one that training used."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    served = Served(file)
    call = '<tool_call>\n{"name": "a"}\n</tool_call>'
    for text in ("Where is order HB-758046?", "it costs €12.90\n\nor  so", "你好！", call):
        assert served.tokens(text) == tokenizer.encode(text).ids, text


def test_the_plain_network_agrees_with_llama_cpp(file: Path) -> None:
    """The likelihoods of the numpy network, by which perplexity is measured, are llama.cpp's."""
    served = Served(file)
    tokens = served.tokens(served.template(HELLO))
    reply = served.complete(tokens, n_predict=12, n_probs=1, ignore_eos=True)
    told = [-one["logprob"] for one in reply["completion_probabilities"]]
    made = [one["id"] for one in reply["completion_probabilities"]]
    counted = Network(file).surprise(tokens + made)[len(tokens) - 1 :]
    assert np.allclose(told, counted, atol=0.05)


def _state(run: Path) -> Any:
    return torch.load(run / "checkpoint.pt", weights_only=True)
