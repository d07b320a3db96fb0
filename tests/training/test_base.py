"""The base as transformers has it beside the same file in llama.cpp: text, tokens and likelihoods."""

from pathlib import Path
from typing import Any

import pytest
from tests.training.needs import need

need("torch", "transformers", "gguf")

import torch
from tests.training.llama import Llama

import millrace.catalog
from millrace.generation.prompt import Message, Tool, ToolCall
from millrace.tuning.data import Example, Problem
from millrace.tuning.trainer.base import UnusableBaseError, read_model, read_tokenizer, resolved_device
from millrace.tuning.trainer.rendering import IGNORED, Renderer, plain, to_template, tool_to_template

pytestmark = pytest.mark.filterwarnings("ignore")

RECIPE = Path(__file__).parents[2] / "models" / "tiny" / "chat_template.jinja"
BUNDLED = Path(millrace.catalog.__path__[0]) / "bundled" / "millrace-tiny.gguf"

TOOL = Tool(
    name="find_goods",
    description='Find <goods> & "more", é 你\u2028',
    parameters={
        "type": "object",
        "properties": {
            "q": {"type": "string", "enum": ["a", "b"]},
            "most": {"type": "number", "maximum": 100.0, "minimum": 0.5},
        },
        "required": ["q"],
    },
)
CALLS = (
    ToolCall(id="c1", name="find_goods", arguments='{"q":"a",   "most":1.50,"deep":{"z":[1,2.0,1e-7],"é":null,"t":true}}'),
    ToolCall(id="c2", name="find_goods", arguments="{}"),
)

TALK = (
    Message(role="system", content="You are a shop."),
    Message(role="user", content="Red kettle?  \n"),
    Message(role="assistant", content=None, tool_calls=CALLS),
    Message(role="tool", tool_call_id="c1", content='[{"price": "4.00"}]'),
    Message(role="tool", tool_call_id="c2", content="[]"),
    Message(role="assistant", content="It costs 4.00."),
    Message(role="user", content="谢谢 cafe\u0301 café <tool_call> 12345"),
    Message(role="assistant", content="\nYou are welcome.\n\n"),
)


@pytest.fixture(scope="module")
def llama() -> Llama:
    return Llama(BUNDLED)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return read_tokenizer(str(BUNDLED))


@pytest.fixture(scope="module", params=["in the file", "of the recipe"])
def both(request: pytest.FixtureRequest, llama: Llama) -> tuple[Llama, Any]:
    """llama.cpp and the tokenizer with the template that the bundled file carries, and with the recipe's newest."""
    tokenizer = read_tokenizer(str(BUNDLED))
    if request.param == "in the file":
        return llama, tokenizer
    tokenizer.chat_template = RECIPE.read_text(encoding="utf-8")
    return Llama(BUNDLED, tokenizer.chat_template), tokenizer


def example(messages: tuple[Message, ...] = TALK, tools: tuple[Tool, ...] = (TOOL,), line: int = 1) -> Example:
    learned = tuple([message.role == "assistant" for message in messages])
    return Example(line=line, messages=messages, tools=tools, learned=learned)


@pytest.mark.parametrize(("count", "tools"), [(1, ()), (2, ()), (2, (TOOL,)), (5, (TOOL,)), (7, (TOOL,))])
def test_both_fill_the_template_alike(both: tuple[Llama, Any], count: int, tools: tuple[Tool, ...]) -> None:
    """Every prompt that a server would send is the same text and the same tokens in training: tools, calls, results."""
    llama, tokenizer = both
    messages = [to_template(message) for message in TALK[:count]]
    given = [tool_to_template(tool) for tool in tools]
    sent = [
        {**body, "tool_calls": [{**call, "function": {**call["function"], "arguments": raw.arguments}}
         for call, raw in zip(body["tool_calls"], message.tool_calls, strict=True)]} if message.tool_calls else body
        for body, message in zip(messages, TALK, strict=False)
    ]  # fmt: skip
    ours = tokenizer.apply_chat_template(messages, tools=given or None, tokenize=False, add_generation_prompt=True)
    assert ours == llama.prompt(sent, given)
    assert tokenizer(ours, add_special_tokens=False)["input_ids"] == llama.tokens(ours)


def test_the_tokens_of_an_example_are_llama_s(llama: Llama, tokenizer: Any) -> None:
    """What is counted, trained and paid is what llama.cpp makes of the rendered conversation."""
    rendered = Renderer(tokenizer, 2048).render(example())
    assert not isinstance(rendered, Problem)
    text = tokenizer.apply_chat_template(
        [to_template(message) for message in TALK], tools=[tool_to_template(TOOL)], tokenize=False, add_generation_prompt=False
    )
    assert rendered.tokens == llama.tokens(text)


def test_answers_are_learned_with_their_end_and_nothing_else(tokenizer: Any) -> None:
    """The learned tokens are the assistant's turns, each to its end mark; questions, tools and results are none."""
    rendered = Renderer(tokenizer, 2048).render(example())
    assert not isinstance(rendered, Problem)
    learned = tokenizer.decode([token for token in rendered.labels if token != IGNORED])
    turns = learned.split("<|im_end|>")
    assert len(turns) == 4
    assert turns[0].count("<tool_call>") == 2
    assert turns[1:] == ["It costs 4.00.", "\nYou are welcome.\n\n", ""]
    assert all(label in (IGNORED, token) for token, label in zip(rendered.tokens, rendered.labels, strict=True))


def test_weight_zero_takes_a_turn_out_of_the_loss(tokenizer: Any) -> None:
    """The tokens stay as they are and are paid; only the labels go."""
    whole = Renderer(tokenizer, 2048).render(example())
    less = Renderer(tokenizer, 2048).render(
        Example(line=1, messages=TALK, tools=(TOOL,), learned=(False, False, False, False, False, True, False, False))
    )
    assert not isinstance(whole, Problem)
    assert not isinstance(less, Problem)
    assert less.tokens == whole.tokens
    assert tokenizer.decode([token for token in less.labels if token != IGNORED]) == "It costs 4.00.<|im_end|>"


def test_a_long_example_is_refused_by_its_line(tokenizer: Any) -> None:
    """One token over the context is a problem of that line; exactly the context is none."""
    rendered = Renderer(tokenizer, 2048).render(example())
    assert not isinstance(rendered, Problem)
    size = len(rendered.tokens)
    assert Renderer(tokenizer, size).render(example()) == rendered
    found = Renderer(tokenizer, size - 1).render_all([example(), example(line=9)])
    assert found.rendered == []
    assert str(found.problems[1]).startswith(f"line 9: has {size} tokens, more than the context of {size - 1}")


def test_a_template_that_rewrites_earlier_turns_is_refused_where_it_matters(tokenizer: Any) -> None:
    """Where a turn's prompt is no beginning of the whole text, the line says which message, and what to do."""
    kept = tokenizer.chat_template
    tokenizer.chat_template = "{{ messages | length }}{% for m in messages %}<|im_start|>{{ m.content }}<|im_end|>{% endfor %}"
    try:
        found = Renderer(tokenizer, 2048).render(example(TALK[:2] + TALK[5:6], ()))
    finally:
        tokenizer.chat_template = kept
    assert isinstance(found, Problem)
    assert "messages[2] cannot be learned here" in found.sentence


def test_whole_numbers_lose_their_fraction() -> None:
    """As llama.cpp writes them, everywhere in a value; others stay, and so do truth values."""
    told = {"a": [2.0, 2.5, 3, True, None, "2.0"], "b": {"c": -0.0, "d": 1e22}}
    assert repr(plain(told)) == "{'a': [2, 2.5, 3, True, None, '2.0'], 'b': {'c': 0, 'd': 1e+22}}"


def test_both_find_the_same_tokens_likely(llama: Llama, tokenizer: Any) -> None:
    """The unpacked weights are those that are served. llama.cpp rounds activations to 8 bits before a Q8_0 matrix, so
    log-probabilities of the likely tokens (over 1 %) differ a little: by less than 0.1 here."""
    model = read_model(str(BUNDLED), "cpu").eval()
    text = llama.prompt([{"role": "user", "content": "Hello, what is the price of the red kettle?"}])
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])).logits[0, -1]
    ours = torch.log_softmax(logits.float(), -1)
    theirs = {token: value for token, value in llama.likely(text).items() if value > -4.6}
    assert max(abs(float(ours[token]) - value) for token, value in theirs.items()) < 0.1


@pytest.mark.parametrize("content", [None, b"", b"no weights at all", BUNDLED.read_bytes()[:5000]])
def test_an_unreadable_base_is_said(tmp_path: Path, content: bytes | None) -> None:
    """No file, no GGUF, half a GGUF: a sentence that names it and what it needs to be."""
    file = tmp_path / "base.gguf"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UnusableBaseError, match=r"base\.gguf"):
        read_tokenizer(str(file))


def test_the_device_is_what_there_is() -> None:
    """auto takes what torch finds; asking for a GPU where there is none is refused."""
    assert resolved_device("cpu") == "cpu"
    assert resolved_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(UnusableBaseError, match="GPU"):
            resolved_device("cuda")
