"""Asks an exported model a fixed set of questions through llama.cpp and prints what it says.

Run: python -m models.tiny.talk [--model FILE] [--temperature 0.7] [--seed 1]      needs the wheel xllamacpp
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import xllamacpp

BUNDLED = Path(__file__).resolve().parents[2] / "src/millrace/catalog/bundled/millrace-tiny.gguf"
ANSWER_TOKENS_MAX = 160  # far above any answer of the training data: who reaches it did not end by itself

SHOP = (
    "You are the assistant of Maple & Thread, a clothes shop in Utrecht. We are open 10 am to 6 pm from Monday to "
    "Friday and 10 am to 4 pm on Saturday. Delivery takes 2 to 3 working days and costs €4.95; it is free from €60. We ship "
    "to the Netherlands, Belgium and Germany. Returns are possible within 30 days; they are free. E-mail: "
    "hello@mapleandthread.example. Products: wool scarf, €24.90, colours: green and grey, in stock; linen shirt, €49, "
    "sizes: S, M, L, sold out. Orders: order 48213 was shipped on Tuesday."
)
LINES = """You work for Tarvik Lamps.
Hours: Mon-Fri 9:00-17:30, Sat closed, Sun closed
Shipping: $7.25
Returns: 21 days
Phone: 555 0143
- reading lamp, $38.50
- floor lamp, $112"""

TALKS: tuple[tuple[str | None, tuple[str, ...]], ...] = (
    (None, ("hi",)),
    (None, ("Hello, who are you?", "are you qwen?", "what can you do?")),
    (None, ("When will my order arrive?", "48213")),
    (None, ("Can I return shoes that don't fit?",)),
    (None, ("Do you ship to Germany?",)),
    (None, ("What are your opening hours?",)),
    (None, ("What is Millrace?", "how do i use a bigger model?")),
    (None, ("What is the capital of France?", "Write a poem about autumn", "tell me a joke")),
    (None, ("thanks bye",)),
    (None, ("你好", "你是谁？", "可以退货吗？")),
    ("You are a helpful assistant.", ("Hello!", "how do I boil an egg?", "my parcel is broken")),
    (
        SHOP,
        (
            "hi",
            "who are you?",
            "How much is the wool scarf?",
            "is it in stock?",
            "and the shirt?",
            "Which colours does the scarf come in?",
        ),
    ),
    (
        SHOP,
        (
            "When are you open on Saturday?",
            "and on sunday?",
            "do you ship to Spain?",
            "do you deliver to belgium",
            "how much is shipping",
        ),
    ),
    (SHOP, ("where is my order 48213", "Can I send back a scarf I don't like?", "can i talk to a human", "thanks bye")),
    (SHOP, ("Hi, what do you sell?", "I need a present for my sister", "What is 17 times 23?")),
    (
        LINES,
        (
            "what are your opening hours?",
            "how much is the floor lamp?",
            "what is your phone number?",
            "How long do I have to return it?",
            "do you sell bananas?",
        ),
    ),
)


def start(model: Path) -> Any:
    """A llama.cpp server in this process, with the template of the file."""
    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx, params.n_parallel, params.use_jinja, params.verbosity = 2048, 1, True, -1
    params.cpuparams.n_threads = 1
    params.n_gpu_layers = 0
    return xllamacpp.Server(params)


def ask(server: Any, messages: list[dict[str, str]], temperature: float, seed: int) -> tuple[str, str]:
    """The answer and why it ended; `stop` is the model's own end."""
    asked = {"messages": messages, "temperature": temperature, "max_tokens": ANSWER_TOKENS_MAX, "seed": seed}
    reply = server.handle_chat_completions(asked)
    choice = reply["choices"][0]
    return choice["message"]["content"] or "", choice["finish_reason"]


def converse(server: Any, system: str | None, said: tuple[str, ...], temperature: float, seed: int) -> None:
    messages = [{"role": "system", "content": system}] if system else []
    print(f"--- {(system or 'no system prompt').splitlines()[0][:60]}")
    for question in said:
        messages.append({"role": "user", "content": question})
        answer, ended = ask(server, messages, temperature, seed)
        messages.append({"role": "assistant", "content": answer})
        print(f"> {question}\n  {answer}{'' if ended == 'stop' else f'   [ended: {ended}]'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    server = start(given.model)
    began = time.monotonic()
    for system, said in TALKS:
        converse(server, system, said, given.temperature, given.seed)
    print(f"{time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    main()
