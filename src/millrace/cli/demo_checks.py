"""What the demo holds its server to, as pure rules: each returns the sentence of a disagreement, or None."""

from collections.abc import Iterable, Sequence

from openai.types import CompletionUsage

from millrace.base.errors import Reason, Refusal
from millrace.base.money import parse_amount, render_amount
from millrace.generation.chunk import TokenCounts
from millrace.money.invoices.document import Document
from millrace.money.rating.book import PriceVersion
from millrace.money.rating.rate import rate
from millrace.wire.receipts import BalanceForm, ReceiptForm


def wrong(sentence: str) -> Refusal:
    """A disagreement, to be raised; whoever tells the story adds the step."""
    return Refusal(Reason.INTERNAL_ERROR, sentence)


def amount_of(text: str) -> int:
    """Nano-units of an amount in a JSON form."""
    return parse_amount(text)


def receipt_is_rated(receipt: ReceiptForm, price: PriceVersion) -> str | None:
    """The amount is what the tokens come to at the price that the receipt names."""
    tokens = receipt.tokens
    charge = rate(TokenCounts(tokens.input, tokens.cached_input, tokens.output, tokens.reasoning), price)
    if render_amount(charge.amount) == receipt.amount:
        return None
    return f"{price.id} makes its tokens cost {render_amount(charge.amount)}, and its receipt says {receipt.amount}"


def receipt_is_usage(receipt: ReceiptForm, usage: CompletionUsage | None) -> str | None:
    """A completed request is charged for exactly what its answer said."""
    if usage is None:
        return "the answer did not say its usage"
    cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else 0
    said = (usage.prompt_tokens, cached or 0, usage.completion_tokens)
    charged = (receipt.tokens.input, receipt.tokens.cached_input, receipt.tokens.output)
    if receipt.status != "completed":
        return f"its receipt says {receipt.status}"
    if said != charged:
        return f"the answer said input, cached and output of {said} tokens, and its receipt {charged}"
    return None


def left_is_billed_fairly(receipt: ReceiptForm, received: int, limit: int) -> str | None:
    """A stream that was left costs what the client received and what was on its way to it, and not the rest."""
    billed = receipt.tokens.output
    if receipt.status != "cancelled":
        return f"its receipt says {receipt.status}"
    if billed >= limit:
        return f"it was left after {received} tokens and charged for all {billed}"
    if billed + receipt.tokens.waived < received:
        return f"{received} tokens were received, and the receipt knows of {billed} billed and {receipt.tokens.waived} waived"
    return None


def balance_is_rest(balance: BalanceForm, granted: int, receipts: Iterable[ReceiptForm]) -> str | None:
    """What is left is what was granted less what the receipts say; nothing is held by anything that ended."""
    rest = granted - sum(amount_of(receipt.amount) for receipt in receipts)
    if amount_of(balance.balance) != rest:
        return f"granted less receipts is {render_amount(rest)}, and the balance is {balance.balance}"
    if amount_of(balance.held):
        return f"{balance.held} is held, and nothing runs"
    return None


def invoices_are_receipts(documents: Sequence[Document], receipts: Sequence[ReceiptForm]) -> str | None:
    """The lines of the invoices carry every receipt, and each total is its lines, tax and rounding."""
    billed = [receipt for receipt in receipts if receipt.tokens.input + receipt.tokens.output]
    requests = sum(line.requests for document in documents for line in document.lines)
    amount = sum(line.receipts for document in documents for line in document.lines)
    expected = sum(amount_of(receipt.amount) for receipt in billed)
    if (requests, amount) != (len(billed), expected):
        return (
            f"the invoices carry {requests} requests of {render_amount(amount)}, "
            f"and there are {len(billed)} receipts of {render_amount(expected)}"
        )
    for one in documents:
        if sum(line.amount for line in one.lines) + one.tax + one.rounding != one.total:
            return f"lines, tax and rounding of {one.number} are not its total"
    return None
