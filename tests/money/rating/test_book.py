"""Reading prices: exact decimals in, integers out, and a refusal by name for everything else."""

import pytest

from millrace.base.errors import Reason, Refusal
from millrace.base.times import parse_time
from millrace.money.rating.book import PPM, PRICE_MAX, NewPrice, PriceTier, parse_price, parse_price_file

FLAT = """
[[prices]]
model = "qwen3-8b"
currency = "CNY"
input = "0.8"
cached_input = "0.16"
output = "2.0"
"""

TIERS = """
[[prices]]
model = "qwen3-max"
currency = "CNY"
batch_multiplier = "0.5"
[[prices.tiers]]
up_to_input_tokens = 32768
input = "2.5"
cached_input = "0.5"
output = "10"
[[prices.tiers]]
up_to_input_tokens = 131072
input = "4"
cached_input = "0.8"
output = "16"
"""


def refusal(text: str) -> str:
    with pytest.raises(Refusal) as caught:
        parse_price_file(text)
    assert caught.value.reason is Reason.BAD_SETTING
    return caught.value.sentence


def test_the_flat_form_is_one_tier_without_an_end() -> None:
    """The flat table of the contract is one tier; its decimals become nano-units per million tokens exactly."""
    assert parse_price_file(FLAT) == [
        NewPrice(model="qwen3-8b", currency="CNY", tiers=(PriceTier(None, 800_000_000, 160_000_000, 2_000_000_000),))
    ]


def test_the_tiers_form_keeps_each_tier_and_the_batch_factor() -> None:
    """The table with tiers of the contract is read as it stands, its batch factor as parts per million."""
    assert parse_price_file(TIERS) == [
        NewPrice(
            model="qwen3-max",
            currency="CNY",
            tiers=(
                PriceTier(32_768, 2_500_000_000, 500_000_000, 10_000_000_000),
                PriceTier(131_072, 4_000_000_000, 800_000_000, 16_000_000_000),
            ),
            batch_ppm=500_000,
        )
    ]


def test_without_a_cached_price_a_cached_token_costs_a_full_one() -> None:
    """cached_input defaults to input, never to nothing."""
    (price,) = parse_price_file(FLAT.replace('cached_input = "0.16"\n', ""))
    assert price.tiers[0].cached_input == price.tiers[0].input == 800_000_000
    assert price.batch_ppm == PPM


def test_a_price_below_a_nano_unit_a_token_is_exact() -> None:
    """2.8 nano-units a token, as real lists have, is 0.0028 a million tokens and stays a whole number."""
    (price,) = parse_price_file(FLAT.replace('"0.8"', '"0.0028"'))
    assert price.tiers[0].input == 2_800_000


def test_a_float_is_refused_with_the_remedy() -> None:
    """A TOML float is refused by its name, saying how to write it."""
    sentence = refusal(FLAT.replace('"0.8"', "0.8"))
    assert sentence == 'prices[0].input: 0.8 is a float, and money is never one; write it as a string: input = "0.8"'


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('"0.8"', "prices[0].input"),
        ("2", 'write it as a string: input = "2"'),
        ("true", "prices[0].input: True is not text"),
    ],
)
def test_a_price_that_is_no_text_is_refused(wrong: str, said: str) -> None:
    """Integers and booleans are refused like floats; a decimal comma and an exponent like any other slip."""
    if wrong == '"0.8"':
        for slip in ('"0,8"', '"8e-1"', '"-0.8"', '"1000001"', '""', '"0.0000000001"'):
            assert said in refusal(FLAT.replace(wrong, slip))
    else:
        assert said in refusal(FLAT.replace('"0.8"', wrong))


def test_an_unknown_key_is_refused_by_name() -> None:
    """A key nobody knows is never ignored, in the file, in a price and in a tier."""
    assert "'inputs'" in refusal(FLAT.replace("input =", "inputs =", 1))
    assert "prices[0].tiers[1]: 'currency'" in refusal(TIERS + 'currency = "CNY"\n')
    assert "'server'" in refusal("[server]\nport = 1\n" + FLAT)


@pytest.mark.parametrize("missing", ["model", "currency", "input", "output"])
def test_a_missing_key_is_named(missing: str) -> None:
    """What a price cannot do without is asked for by name."""
    lines = [line for line in FLAT.splitlines() if not line.startswith(f"{missing} =")]
    assert refusal("\n".join(lines)) == f"prices[0].{missing}: it is missing"


def test_tiers_ascend_and_only_the_last_may_be_open() -> None:
    """Tiers out of order, doubled, or open before the last are refused at their place."""
    doubled = refusal(TIERS.replace("32768", "131072"))
    assert "prices[0].tiers[1].up_to_input_tokens: 131072 is not above 131072" in doubled
    assert "prices[0].tiers[1]" in refusal(TIERS.replace("32768", "200000"))
    assert "only the last" in refusal(TIERS.replace("up_to_input_tokens = 32768\n", ""))
    (price,) = parse_price_file(TIERS.replace("up_to_input_tokens = 131072\n", ""))
    assert price.tiers[1].up_to_input_tokens is None


@pytest.mark.parametrize("bound", ["0", "-1", '"32768"', "true", "32768.0"])
def test_a_tier_bound_is_a_number_of_tokens(bound: str) -> None:
    """A bound that is no positive integer is refused."""
    assert "is not a number of tokens" in refusal(TIERS.replace("32768", bound))


def test_a_price_has_tiers_or_prices_not_both() -> None:
    """A price beside the tiers would mean nothing, so it is refused."""
    assert "prices[0].input" in refusal(TIERS.replace('batch_multiplier = "0.5"', 'input = "1"'))
    assert "prices[0].output" in refusal('[[prices]]\nmodel = "m"\ncurrency = "CNY"\noutput = "1"\ntiers = []')
    assert "prices[0].tiers" in refusal('[[prices]]\nmodel = "m"\ncurrency = "CNY"\ntiers = []')


@pytest.mark.parametrize("factor", ['"1.5"', '"-0.5"', '"0.0000001"', "0.5"])
def test_a_batch_factor_lies_between_nothing_and_all(factor: str) -> None:
    """A factor above 1, below 0, finer than a millionth or written as a float is refused."""
    assert "prices[0].batch_multiplier" in refusal(TIERS.replace('"0.5"', factor, 1))


@pytest.mark.parametrize(
    "written",
    ["2026-12-01", '"2026-12-01"', "2026-12-01T00:00:00Z", "2026-12-01T08:00:00+08:00", '"2026-12-01T00:00:00Z"'],
)
def test_an_effective_date_can_be_written_as_toml_or_text(written: str) -> None:
    """A date is midnight UTC; a time says its zone; both forms of TOML mean the same instant."""
    (price,) = parse_price_file(f"{FLAT}effective_from = {written}\n")
    assert price.effective_from == parse_time("2026-12-01", param="")


@pytest.mark.parametrize("written", ["2026-12-01T00:00:00", '"tomorrow"', "20261201", "08:00:00"])
def test_an_effective_date_without_a_meaning_is_refused(written: str) -> None:
    """A time without its zone, and what is no time at all, is refused at its place."""
    assert "prices[0].effective_from" in refusal(f"{FLAT}effective_from = {written}\n")


def test_two_prices_of_one_model_need_dates() -> None:
    """Undated prices of one model and currency would depend on the day of reading; dated ones are sorted."""
    later, sooner = f"{FLAT}effective_from = 2027-01-01\n", f"{FLAT}effective_from = 2026-12-01\n"
    assert "several prices" in refusal(FLAT + FLAT)
    assert "several prices" in refusal(FLAT + later)
    assert "several prices" in refusal(later + later)
    assert [price.effective_from for price in parse_price_file(later + sooner)] == [
        parse_time("2026-12-01", param=""), parse_time("2027-01-01", param=""),
    ]  # fmt: skip
    assert len(parse_price_file(FLAT + FLAT.replace("CNY", "USD"))) == 2


def test_a_file_that_holds_no_price_is_refused() -> None:
    """An empty file, one that is not TOML and one whose prices are no tables are refused with a sentence each."""
    assert "there is no price here" in refusal("")
    assert "this is not TOML" in refusal("[[prices")
    assert "write it as a [[prices]] table" in refusal('prices = ["0.8"]')
    assert "there is no price here" in refusal('[prices]\nmodel = "m"')


def test_a_refusal_names_the_place_it_was_given() -> None:
    """The caller says where the table stands; amounts, currencies and dates are refused there, as bad settings."""
    with pytest.raises(Refusal) as caught:
        parse_price({"model": "m", "currency": "XYZ", "input": "1", "output": "1"}, where="millrace.toml: prices[3]")
    assert caught.value.reason is Reason.BAD_SETTING
    assert caught.value.sentence.startswith("millrace.toml: prices[3].currency: 'XYZ'")


def test_the_dearest_price_still_fits_an_account() -> None:
    """At the highest price, 100 million tokens of input and as many of output stay below what an account can hold."""
    assert 2 * 100_000_000 * PRICE_MAX // 1_000_000 < 2**63
