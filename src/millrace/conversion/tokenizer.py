"""tokenizer.json as a vocabulary with which llama.cpp splits text in the same way. Strict: what it lacks is refused.

Byte-level BPE only, with a pre-tokenizer that llama.cpp has (told by its regular expression, not by the model's name).
Not covered: NFC, which Qwen's tokenizers apply to a text first and llama.cpp does not; text that is composed already, as
nearly all is, splits alike. SentencePiece (Llama 1 and 2) is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.conversion.checkpoint import read_object

_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PRE_TOKENIZERS: Final = {
    (_SPLIT % "", False): "qwen2",
    (_SPLIT % "{1,3}", True): "llama-bpe",
    (_SPLIT % "{1,3}", False): "smaug-bpe",
    (None, False): "gpt-2",
}
"""(regular expression, whether a whole word of the vocabulary goes before merges) → what llama.cpp calls it. None: the one
that ByteLevel has built in."""

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
"""Types of tokens in GGUF."""

REMEDY: Final = "use a GGUF that the model's makers publish"

STOPS_MAX: Final = 3
"""llama.cpp has three places for tokens that end an answer."""


class Vocabulary(Struct, frozen=True, kw_only=True):
    """What the file's head says of text."""

    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    bos: int | None
    stops: tuple[int, ...]
    """Tokens that end an answer, the usual one first."""
    pad: int | None
    add_bos: bool
    add_eos: bool
    template: str | None
    """How a conversation is written: Jinja."""


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """Of a model whose embeddings have `size` rows; those beyond the tokenizer's are padding. Raises BAD_SETTING."""
    if not (folder / "tokenizer.json").is_file():
        kept = "tokenizer.model" if (folder / "tokenizer.model").is_file() else "none that is known"
        _refuse(folder, f"it has no tokenizer.json ({kept}); {REMEDY}, or save it with transformers' fast tokenizer")
    raw = read_object(folder / "tokenizer.json")
    settings, general = (_optional(folder / name) for name in ("tokenizer_config.json", "generation_config.json"))
    config = read_object(folder / "config.json")
    return parse_vocabulary(raw, settings, {**config, **general}, _template(folder, settings), size)


def parse_vocabulary(
    raw: Mapping[str, Any], settings: Mapping[str, Any], general: Mapping[str, Any], template: str | None, size: int
) -> Vocabulary:
    """From tokenizer.json, tokenizer_config.json, and the ids that config.json and generation_config.json say."""
    model = raw.get("model") or {}
    pre = _pre_tokenizer(raw, model)
    words, types = _tokens(raw, model, size)
    ids = {word: number for number, word in enumerate(words)}
    named = _special(settings, "bos_token", ids)
    bos = _first(general.get("bos_token_id")) if named is None else named
    stops = _stops(settings, general, ids)
    added = _added(raw.get("post_processor"), bos, stops, ids)
    return Vocabulary(
        pre=pre, tokens=words, types=types, merges=_merges(model), bos=bos, stops=stops,
        pad=_special(settings, "pad_token", ids), add_bos=added[0], add_eos=added[1], template=template,
    )  # fmt: skip


def _pre_tokenizer(raw: Mapping[str, Any], model: Mapping[str, Any]) -> str:
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        kind = "SentencePiece" if model.get("byte_fallback") else str(model.get("type"))
        _refuse(None, f"it is of the kind {kind}, and only byte-level BPE can be converted; {REMEDY}")
    for key in ("continuing_subword_prefix", "end_of_word_suffix", "dropout"):
        if model.get(key):
            _refuse(None, f"its {key} is {model[key]!r}, which llama.cpp does not know; {REMEDY}")
    normalizer = raw.get("normalizer")
    if normalizer is not None and normalizer.get("type") != "NFC":
        _refuse(None, f"its normalizer {normalizer.get('type')!r} changes texts in a way llama.cpp does not; {REMEDY}")
    rule = _split(raw.get("pre_tokenizer")), bool(model.get("ignore_merges"))
    if rule not in PRE_TOKENIZERS:
        _refuse(None, f"it splits words by a rule that is none of {', '.join(sorted(PRE_TOKENIZERS.values()))}; {REMEDY}")
    return PRE_TOKENIZERS[rule]


def _split(pre: Any) -> str | None:
    """The regular expression of a pre-tokenizer, None for ByteLevel's own; an unknown form gives a text that fits nothing."""
    steps = pre.get("pretokenizers", [pre]) if isinstance(pre, dict) else []
    last = steps[-1] if steps else {}
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space"):
        return "no byte level"
    if len(steps) == 1 and last.get("use_regex", True):
        return None
    first = steps[0]
    plain = len(steps) == 2 and first.get("type") == "Split" and first.get("behavior") == "Isolated"
    if not plain or first.get("invert") or last.get("use_regex", True):
        return "another form"
    return str(first.get("pattern", {}).get("Regex"))


def _tokens(raw: Mapping[str, Any], model: Mapping[str, Any], size: int) -> tuple[tuple[str, ...], tuple[int, ...]]:
    words = {number: (word, NORMAL) for word, number in model.get("vocab", {}).items()}
    for one in raw.get("added_tokens") or []:
        strips = [key for key in ("lstrip", "rstrip", "single_word") if one.get(key)]
        if strips:
            _refuse(None, f"its token {one['content']!r} has {strips[0]}, which llama.cpp does not know; {REMEDY}")
        words[one["id"]] = (one["content"], CONTROL if one.get("special") else USER_DEFINED)
    if not words or max(words) >= size:
        _refuse(None, f"it has the token {max(words, default=0)}, and the model's vocab_size is {size}; pull the model again")
    filled = [words.get(number, (f"[PAD{number}]", UNUSED)) for number in range(size)]
    if len({word for word, _ in filled}) != size:
        _refuse(None, f"a token is in it twice; {REMEDY}")
    return tuple(word for word, _ in filled), tuple(kind for _, kind in filled)


def _merges(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Both forms: 'a b', and ['a', 'b'], which lets a token contain a space."""
    merges = []
    for merge in model.get("merges") or []:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if len(pair) != 2 or any(" " in half for half in pair):
            _refuse(None, f"its merge {merge!r} is not of two parts without blanks; {REMEDY}")
        merges.append(" ".join(pair))
    if not merges:
        _refuse(None, f"it has no merges, without which llama.cpp loads no vocabulary; {REMEDY}")
    return tuple(merges)


def _stops(settings: Mapping[str, Any], general: Mapping[str, Any], ids: Mapping[str, int]) -> tuple[int, ...]:
    given = general.get("eos_token_id")
    numbers = [one for one in (given if isinstance(given, list) else [given]) if isinstance(one, int)]
    usual = _special(settings, "eos_token", ids)
    stops = tuple(dict.fromkeys(([] if usual is None else [usual]) + numbers))
    if len(stops) > STOPS_MAX:
        _refuse(None, f"{len(stops)} tokens end an answer (eos_token_id), and llama.cpp has room for {STOPS_MAX}; {REMEDY}")
    return stops


def _added(post: Any, bos: int | None, stops: tuple[int, ...], ids: Mapping[str, int]) -> tuple[bool, bool]:
    """Whether a text gets the first and the last token of itself."""
    steps = post.get("processors", [post]) if isinstance(post, dict) else []
    first = last = False
    for step in steps:
        if step.get("type") == "ByteLevel":
            continue
        if step.get("type") != "TemplateProcessing":
            _refuse(None, f"its post-processor {step.get('type')!r} is not known; {REMEDY}")
        names = [part.get("SpecialToken", {}).get("id") for part in step.get("single", [])]
        around = names.index(None) if None in names else -1
        before, after = names[:around], names[around + 1 :]
        first, last = bool(before), bool(after)
        fits = around >= 0 and [ids.get(name) for name in before] in ([], [bos])
        if not fits or [ids.get(name) for name in after] not in ([], list(stops[:1])):
            _refuse(None, f"its post-processor puts {names} around a text, which llama.cpp cannot; {REMEDY}")
    return first, last


def _special(settings: Mapping[str, Any], key: str, ids: Mapping[str, int]) -> int | None:
    given = settings.get(key)
    word = given.get("content") if isinstance(given, dict) else given
    return ids.get(word) if isinstance(word, str) else None


def _first(value: Any) -> int | None:
    one = value[0] if isinstance(value, list) and value else value
    return one if isinstance(one, int) else None


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    """A file of its own, else in tokenizer_config.json; of several templates the default one."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text("utf-8")
    given = settings.get("chat_template")
    if isinstance(given, list):
        given = next((one.get("template") for one in given if isinstance(one, dict) and one.get("name") == "default"), None)
    return given if isinstance(given, str) else None


def _optional(file: Path) -> dict[str, Any]:
    return read_object(file) if file.is_file() else {}


def _refuse(folder: Path | None, what: str) -> NoReturn:
    where = "the tokenizer of this model" if folder is None else f"{folder}"
    raise Refusal(Reason.BAD_SETTING, f"{where} cannot be converted: {what}")
