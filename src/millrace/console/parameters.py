"""What each parameter of a body is for, in a sentence; its type and range are the wire's and are not repeated here."""

from typing import Final, NamedTuple


class Parameter(NamedTuple):
    """`default`: what holds where the parameter is left out or null; empty: it must be given, or nothing is done."""

    sentence: str
    default: str = ""


_OWN: Final = "the model's own"

SAMPLED: Final = {
    "model": Parameter("Which model answers, by its name in /v1/models."),
    "max_tokens": Parameter("Output tokens of each choice at most. Credit is held for them ahead of the answer."),
    "temperature": Parameter("How freely tokens are drawn; 0 takes the likeliest.", _OWN),
    "top_p": Parameter("Draw among the likeliest tokens that together have this probability.", _OWN),
    "top_k": Parameter("Draw among this many of the likeliest tokens; 0 or -1: all.", _OWN),
    "min_p": Parameter("Draw among tokens at least this likely, relative to the likeliest.", _OWN),
    "presence_penalty": Parameter("Make tokens that have occurred less likely.", "0"),
    "frequency_penalty": Parameter("Make tokens less likely the more often they have occurred.", "0"),
    "repetition_penalty": Parameter("Divide the score of tokens that have occurred by this.", _OWN),
    "logit_bias": Parameter("Add to the score of tokens, by their number.", "none"),
    "seed": Parameter("The same seed and request give the same answer, as far as the engine can.", "random"),
    "stop": Parameter("End before this text, or the first of these texts, would appear.", "none"),
    "n": Parameter("How many choices to make. Input is billed once, the output of each choice.", "1"),
    "stream": Parameter("Send the answer piece by piece as server-sent events.", "false"),
    "stream_options": Parameter("With stream: true only: whether the usage is part of the stream.", "no usage"),
    "user": Parameter("An end user of yours. Accepted; it does not change the answer.", "none"),
}

CHAT: Final = {
    **SAMPLED,
    "messages": Parameter("The conversation so far, oldest first."),
    "max_tokens": Parameter(SAMPLED["max_tokens"].sentence, "the model's max_output_tokens, or what fits its context"),
    "max_completion_tokens": Parameter("The newer name of max_tokens; send one of the two.", "as max_tokens"),
    "logprobs": Parameter("Return the log probability of each output token.", "false"),
    "top_logprobs": Parameter("So many alternatives with each token; needs logprobs: true.", "0"),
    "response_format": Parameter("Make the answer any JSON object, or JSON that follows a schema.", "text"),
    "tools": Parameter("Functions that the model may call.", "none"),
    "tool_choice": Parameter("Whether the model may, must or must not call a tool, or which.", "auto"),
    "parallel_tool_calls": Parameter("false: at most one call in an answer.", "true"),
    "reasoning_effort": Parameter("How long a thinking model may think; none turns thinking off.", _OWN),
    "metadata": Parameter("Accepted; it does not change the answer.", "none"),
    "safety_identifier": Parameter("Accepted; it does not change the answer.", "none"),
    "prompt_cache_key": Parameter("Accepted; prompts are cached by themselves.", "none"),
    "modalities": Parameter("Models here answer with text.", "text"),
    "prompt_cache_retention": Parameter("Cached prompts stay in memory only.", "in_memory"),
    "service_tier": Parameter("There is one tier.", "default"),
    "store": Parameter("Answers are not stored.", "false"),
    "verbosity": Parameter("Only the neutral value.", "medium"),
}

COMPLETION: Final = {
    **SAMPLED,
    "prompt": Parameter("The text to continue."),
    "max_tokens": Parameter(SAMPLED["max_tokens"].sentence, "16"),
    "logprobs": Parameter("Log probabilities of each output token, with so many alternatives.", "none"),
    "best_of": Parameter("Only the value of n.", "n"),
    "echo": Parameter("Only false: the prompt is not repeated.", "false"),
}

FINE_TUNING: Final = {
    "model": Parameter("The base, by its name in /v1/models."),
    "training_file": Parameter("The id of a file of examples, one conversation a line."),
    "validation_file": Parameter("The id of a file whose loss is measured; it is neither learned nor paid for.", "none"),
    "suffix": Parameter("A part of the tuned model's name.", "none"),
    "seed": Parameter("The same seed, files and hyperparameters make the same model.", "random"),
    "hyperparameters": Parameter("How long and how strongly it learns; the older place.", "auto"),
    "method": Parameter("The method, supervised, with its hyperparameters.", "supervised"),
}

EMBEDDINGS: Final = {
    "model": Parameter("Which model makes the vectors; it must be one that does."),
    "input": Parameter("A text, or up to 2,048 texts; none empty, each within the model's context."),
    "encoding_format": Parameter("Numbers, or little-endian single precision as base64.", "float"),
    "user": Parameter("An end user of yours. Accepted; it does not change the answer.", "none"),
}

FIELDS: Final = {
    "StreamOptions.include_usage": "The stream ends with a frame of the whole usage, as settled.",
    "StreamOptions.continuous_usage_stats": "Every frame carries the usage so far; needs include_usage.",
    "StreamOptions.include_obfuscation": "Only false.",
    "Message.role": "Who speaks.",
    "Message.content": "Text, or parts of text, which are joined. May be null beside tool_calls.",
    "Message.name": "A name of the speaker, for templates that show it.",
    "Message.tool_calls": "Of an assistant: the calls that it made.",
    "Message.tool_call_id": "Of a tool: the call that this answers.",
    "Message.reasoning_content": "Of an assistant: accepted and not given to the model again.",
    "Message.annotations": "Accepted and not given to the model.",
    "MessageToolCall.type": "Only function.",
    "MessageToolCall.index": "Accepted; the order is the list's.",
    "CalledFunction.arguments": "JSON in a string, as the model wrote it.",
    "ResponseFormat.type": "text, any JSON object, or JSON that follows json_schema.",
    "ResponseFormat.json_schema": "Needed with the type json_schema.",
    "ResponseSchema.schema": "A JSON Schema, at most 64 levels deep.",
    "ResponseSchema.strict": "Whether the answer must follow the schema exactly.",
    "Tool.type": "Only function.",
    "ToolFunction.parameters": "A JSON Schema of the arguments, at most 64 levels deep.",
    "ToolChoice.type": "Only function.",
    "ToolChoice.function": "The function that must be called.",
    "ChatCompletion.id": "chatcmpl- and the digits of the request's id.",
    "ChatCompletion.created": "Unix seconds.",
    "Completion.id": "cmpl- and the digits of the request's id.",
    "Completion.created": "Unix seconds.",
    "AnswerMessage.content": "The text; null where the model only calls tools.",
    "AnswerMessage.reasoning_content": "What a thinking model thought, where it did.",
    "AnswerMessage.tool_calls": "The calls that the model asks for.",
    "Usage.prompt_tokens": "Input tokens, cached ones included.",
    "Usage.completion_tokens": "Output tokens, reasoning included.",
    "PromptTokensDetails.cached_tokens": "Of the input: read from the cache.",
    "CompletionTokensDetails.reasoning_tokens": "Of the output: spent on thinking.",
    "Model.context_tokens": "Input and output of one request together.",
    "Model.max_output_tokens": "Output tokens of one choice at most.",
    "Model.embeds": "Whether /v1/embeddings takes the model.",
    "Model.prices": "null where the model has no price in the tenant's currency.",
    "Price.id": "Model, currency and version; receipts name it.",
    "PriceTier.up_to_input_tokens": "Requests of at most so many input tokens; null: of any length.",
    "Receipt.status": "completed; cancelled: the client left; failed: the engine or the server ended it.",
    "Receipt.counted_by": "engine: by the engine, per piece; engine_final: by it, at the end; released_text: by us.",
    "Receipt.price": "The version of the price that rated the request.",
    "Receipt.amount": "Decimal with nine places.",
    "Receipt.started_at": "RFC 3339, UTC.",
    "Receipt.finished_at": "RFC 3339, UTC.",
    "Tokens.cached_input": "Part of input.",
    "Tokens.reasoning": "Part of output.",
    "Tokens.waived": "Made and not billed.",
    "Balance.balance": "What was paid in or granted, less what was charged.",
    "Balance.held": "Reserved by requests that are running.",
    "Balance.available": "What is left to spend: balance less held, and the credit limit where there is one.",
    "UsageReport.from": "Included. RFC 3339, UTC.",
    "UsageReport.to": "Not included. RFC 3339, UTC.",
    "UsageRow.model": "With by=model.",
    "UsageRow.day": "With by=day.",
    "UsageRow.key": "With by=key: the key's id.",
    "Error.message": "What is wrong and what to do.",
    "Error.type": "The class that client libraries branch on.",
    "Error.param": "The parameter that is refused, where it is one.",
    "Error.code": "The reason; one of the table of errors.",
    "Error.limit": "Which limit was met, with 429.",
}
"""What a field is where its name does not say it; 'Form.field'."""
