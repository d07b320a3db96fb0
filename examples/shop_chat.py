"""A shop's assistant in one file: ten turns with tools, against a running Millrace, through the official OpenAI SDK.

Run: make run                                            in another terminal; it prints a key
     pip install openai
     MILLRACE_API_KEY=mr_… python examples/shop_chat.py
MILLRACE_URL (http://127.0.0.1:8000/v1) and MILLRACE_MODEL (millrace-tiny) choose another cloud or a larger model.

The loop is the whole art: send the conversation and the tools, run what the model calls, send the results, until it speaks.
The shop stands in memory below; in yours these functions ask your database.
"""

import json
import os
from collections.abc import Callable
from typing import Any

import openai

URL = os.environ.get("MILLRACE_URL", "http://127.0.0.1:8000/v1")
MODEL = os.environ.get("MILLRACE_MODEL", "millrace-tiny")
ROUNDS_MAX = 4  # calls in one turn, before we stop believing that the model will come to an end

PROMPT = "You are the assistant of Halyard & Tide, a sailing shop in Falmouth."
VISITOR = (
    "Hi there",
    "Can you tell me where my order HT-20417 is?",
    "great. and I also have HT-20433, what's the state of that one?",
    "I don't need that rope any more, please cancel it",
    "yes please",
    "What does the Fastnet sailing jacket cost?",
    "which colours do you have?",
    "do you also have boat fenders?",
    "How much is delivery?",
    "Perfect, that's all. Thanks!",
)

GOODS: list[dict[str, Any]] = [
    {"name": "Fastnet sailing jacket", "price": "£149.00", "stock": "in stock", "colours": ["red", "navy"]},
    {"name": "braided mooring rope", "price": "£34.50", "stock": "6 left", "colours": ["navy", "white"]},
    {"name": "boat fender", "price": "£18.90", "stock": "sold out"},
]
ORDERS: dict[str, dict[str, Any]] = {
    "HT-20417": {
        "order_id": "HT-20417", "status": "shipped", "items": ["1 × Fastnet sailing jacket"], "total": "£149.00",
        "shipped_on": "Monday", "arrives_on": "Thursday",
    },
    "HT-20433": {
        "order_id": "HT-20433", "status": "being packed", "items": ["2 × braided mooring rope"], "total": "£69.00",
        "arrives_on": "28 March",
    },
}  # fmt: skip
POLICIES = {
    "delivery": {"time": "2 to 4 working days", "cost": "£4.50", "free_from": "£75"},
    "returns": {"within": "30 days", "cost": "free"},
    "hours": {"Monday to Friday": "9 am to 5:30 pm", "Saturday": "10 am to 4 pm", "Sunday": "closed"},
}

Result = dict[str, Any]


def get_order(order_id: str) -> Result:
    return ORDERS.get(order_id.upper(), {"error": "no such order"})


def cancel_order(order_id: str) -> Result:
    """What has left the house cannot be cancelled: a tool checks its rules itself, whatever a model asks of it."""
    order = ORDERS.get(order_id.upper())
    if order is None:
        return {"error": "no such order"}
    if order["status"] != "being packed":
        return {"error": "cannot be cancelled", "status": order["status"]}
    order["status"] = "cancelled"
    return {"order_id": order["order_id"], "status": "cancelled", "refund": order["total"]}


def get_product(name: str) -> Result:
    return next((good for good in GOODS if good["name"].lower() == name.lower()), {"error": "no such product"})


def find_products(query: str) -> Result:
    wanted = query.lower().removesuffix("s")
    found = [good for good in GOODS if wanted in good["name"].lower()]
    return {"products": [{key: good[key] for key in ("name", "price", "stock")} for good in found]}


def get_policy(topic: str) -> Result:
    return POLICIES.get(topic, {"error": "not known"})


TEXT = {"type": "string"}
TOPIC = {"type": "string", "enum": list(POLICIES)}
TOOLS: dict[str, tuple[Callable[..., Result], dict[str, Any]]] = {
    "get_order": (get_order, {"order_id": TEXT}),
    "cancel_order": (cancel_order, {"order_id": TEXT}),
    "get_product": (get_product, {"name": TEXT}),
    "find_products": (find_products, {"query": TEXT}),
    "get_policy": (get_policy, {"topic": TOPIC}),
}
"""Each function, and its parameters as JSON schema."""


def declared() -> list[Any]:
    """The tools in the form of the API."""
    return [
        {
            "type": "function",
            "function": {
                "name": name,
                "parameters": {"type": "object", "properties": parameters, "required": list(parameters)},
            },
        }
        for name, (_, parameters) in TOOLS.items()
    ]


def run(name: str, arguments: str) -> Result:
    """The result of a call; a wrong one is answered with an error that the model can read."""
    try:
        return TOOLS[name][0](**json.loads(arguments))
    except (KeyError, TypeError, ValueError) as problem:
        return {"error": str(problem)}


def answer(client: openai.OpenAI, messages: list[Any]) -> str:
    """Lets the model call until it speaks; the calls and their results become part of the conversation."""
    for _ in range(ROUNDS_MAX):
        reply = client.chat.completions.create(model=MODEL, messages=messages, tools=declared(), temperature=0)
        said = reply.choices[0].message
        messages.append(said.model_dump(exclude_none=True))
        if not said.tool_calls:
            return said.content or ""
        for call in said.tool_calls:
            if call.type == "function":
                result = json.dumps(run(call.function.name, call.function.arguments), ensure_ascii=False)
                print(f"    {call.function.name}({call.function.arguments}) → {result}")
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return "(It went on calling.)"


def main() -> None:
    client = openai.OpenAI(base_url=URL, api_key=os.environ["MILLRACE_API_KEY"])
    messages: list[Any] = [{"role": "system", "content": PROMPT}]
    for question in VISITOR:
        print(f"> {question}")
        messages.append({"role": "user", "content": question})
        print(f"  {answer(client, messages)}")


if __name__ == "__main__":
    main()
