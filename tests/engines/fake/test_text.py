"""The fake model itself."""

import math

from tests.engines.orders import WEATHER, chat

from millrace.engines.fake import text
from millrace.generation.order import Sampling
from millrace.generation.prompt import ChatPrompt, Message, TextPrompt, ToolCall

SENTENCES = ("", "one", "  two  words\n", "extraordinarily long", "水车 turns, 真的!", "a\u2028b\u0085c")


def test_joined_tokens_are_the_text() -> None:
    """Splitting loses nothing, in no language."""
    for sentence in SENTENCES:
        assert "".join(text.split_tokens(sentence)) == sentence


def test_a_prompt_counts_its_template_and_tools() -> None:
    """Every message adds its frame, and a tool its description."""
    plain = text.count_prompt(chat("one two"))
    assert plain == 2 + text.TOKENS_PER_MESSAGE + text.TOKENS_OF_TURN
    assert text.count_prompt(chat("one two", tools=(WEATHER,))) > plain + 10
    assert text.count_prompt(TextPrompt(text="one two")) == 2


def test_the_words_depend_on_prompt_seed_and_choice() -> None:
    """The same again for the same order, others for another seed, prompt or choice."""

    def drawn(prompt: str, seed: int, choice: int) -> list[str]:
        return text.draw_words(text.draw_key(chat(prompt), Sampling(seed=seed)), choice, "text", 8)

    first = drawn("a", 1, 0)
    assert drawn("a", 1, 0) == first
    assert first not in [drawn("a", 2, 0), drawn("b", 1, 0), drawn("a", 1, 1)]


def test_the_shorter_answer_is_the_beginning_of_the_longer() -> None:
    """Asking for fewer tokens changes none of them."""
    key = text.draw_key(chat(), Sampling())
    assert text.draw_words(key, 0, "text", 30)[:10] == text.draw_words(key, 0, "text", 10)


def test_text_ends_before_the_first_stop_sequence() -> None:
    """A stop inside a token cuts it, one across tokens swallows those that spell it."""
    assert text.cut_at_stop([" wheel", " turns"], ("el",)) == [" whe"]
    assert text.cut_at_stop(["one", " two", " three"], ("e tw",)) == ["on", ""]
    assert text.cut_at_stop(["one", " two"], ("nine", "")) == ["one", " two"]


def test_an_example_fits_its_schema() -> None:
    """Every kind of value that is known, nested."""
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "size": {"enum": ["s", "m"]},
            "tags": {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
            "age": {"type": ["integer", "null"], "minimum": 18},
            "kind": {"const": 7},
            "more": {"anyOf": [{"type": "null"}, {"type": "string"}]},
            "left_out": {"type": "string"},
        },
        "required": ["name", "size", "tags", "age", "kind", "more"],
    }
    made = text.example(schema, b"key")
    assert isinstance(made.pop("name"), str)
    assert made == {"size": "s", "tags": [True, True], "age": 18, "kind": 7, "more": None}


def test_vectors_have_length_one_and_know_likeness() -> None:
    """Texts that share words lie closer than texts that do not; the empty text has a vector too."""
    one, near, far = (text.unit_vector(each, 64) for each in ("red wool scarf", "blue wool scarf", "diesel pump"))
    assert all(math.isclose(math.hypot(*each), 1.0) for each in (one, near, far, text.unit_vector("", 8)))
    assert sum(a * b for a, b in zip(one, near, strict=True)) > sum(a * b for a, b in zip(one, far, strict=True))


def test_earlier_tool_calls_are_input() -> None:
    """What the model called before is read again and counts."""
    asked = Message(role="assistant", tool_calls=(ToolCall(id="c", name="weather", arguments='{"city":"Ulm"}'),))
    assert text.count_prompt(ChatPrompt(messages=(asked,))) > text.TOKENS_PER_MESSAGE + text.TOKENS_OF_TURN
