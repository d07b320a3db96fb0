"""`pulled` of `[[models]]`: the weights of the home, their sizes, and what is said when they are not there."""

from pathlib import Path

import pytest
from tests.catalog.hub.stand import FOLDER, gguf_file
from tests.catalog.weights.shelf import put

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.settings.parse import declared, load
from millrace.settings.pulled import in_use, weights_of

PRICE = '[[prices]]\nmodel = "q"\ncurrency = "CNY"\ninput = "1"\noutput = "2"\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """With the pulled model qwen, which was trained for 1024 tokens."""
    put(weights_of(tmp_path), "qwen", {"m.gguf": gguf_file()}, context_tokens=1024)
    return tmp_path


def settings(home: Path, *lines: str) -> Path:
    (home / "millrace.toml").write_text("\n".join(['[[models]]\nname = "q"\nengine = "embedded"', *lines, PRICE]))
    return home


def loaded(home: Path, *lines: str) -> Model:
    (model,) = load(settings(home, *lines)).models
    return model


def refusal(home: Path, *lines: str) -> str:
    with pytest.raises(Refusal) as caught:
        loaded(home, *lines)
    assert caught.value.reason is Reason.BAD_SETTING
    return caught.value.sentence


def test_sizes_come_from_the_file(home: Path) -> None:
    """Path and context of the pulled model; half of the context is output; both may be lowered."""
    model = loaded(home, 'pulled = "qwen"')
    assert model.path == home / "models/trees/qwen/m.gguf"
    assert (model.context_tokens, model.max_output_tokens, model.pulled) == (1024, 512, "qwen")
    assert loaded(home, 'pulled = "qwen"', "context_tokens = 512").context_tokens == 512


def test_a_long_context_is_not_taken_whole(home: Path) -> None:
    """8192 tokens unless the settings say more: a KV cache for 128k would not fit where the weights do."""
    put(weights_of(home), "long", {"l.gguf": gguf_file(seed=1)}, context_tokens=131_072)
    (model,) = declared(settings(home, 'pulled = "long"')).models
    assert model.context_tokens == 8192
    (model,) = declared(settings(home, 'pulled = "long"', "context_tokens = 32768")).models
    assert model.context_tokens == 32768


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['pulled = "qwen"', 'path = "m.gguf"'], ["either path or pulled, not both"]),
        (['pulled = "gone"'], ["'gone' is not pulled into", "(pulled: qwen)", "millrace model pull REF --name gone"]),
        (['pulled = "../qwen"'], ["models[0].pulled = '../qwen'"]),
        (['pulled = "qwen"', "context_tokens = 2048"], ["context_tokens = 2048", "from 2 to 1024"]),
    ],
)
def test_refusals(home: Path, lines: list[str], says: list[str]) -> None:
    """By key and value, with the command that helps."""
    sentence = refusal(home, *lines)
    assert [part for part in says if part not in sentence] == []


def test_safetensors_are_not_served_as_they_are(home: Path) -> None:
    """The engine loads GGUF."""
    put(weights_of(home), "folder", FOLDER, format="safetensors", serves=None)
    assert "millrace model convert folder" in refusal(home, 'pulled = "folder"')


def test_settings_are_declared_without_weights(home: Path) -> None:
    """Whoever exports or backs up does not need the model."""
    (model,) = declared(settings(home, 'pulled = "gone"')).models
    assert (model.pulled, model.context_tokens) == ("gone", 8192)


def test_only_the_embedded_engine_has_pulled_models(home: Path) -> None:
    """A key that belongs to another engine is refused."""
    settings(home, 'pulled = "qwen"')
    text = (home / "millrace.toml").read_text().replace('"embedded"', '"fake"\ncontext_tokens = 100')
    (home / "millrace.toml").write_text(text)
    with pytest.raises(Refusal, match=r"models\[0\]\.pulled is not a setting"):
        load(home)


def test_what_is_served_is_held(home: Path) -> None:
    """As long as a server has the model, it cannot be removed."""
    weights = weights_of(home)
    with in_use(home, (loaded(home, 'pulled = "qwen"'),)), pytest.raises(Refusal, match="serves 'qwen'"):
        weights.remove("qwen")
    weights.remove("qwen")
