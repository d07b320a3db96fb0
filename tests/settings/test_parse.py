"""`millrace.toml`: what it says is what holds, and what it does not mean to say is refused."""

from pathlib import Path

import pytest
from tests.catalog.gguf import SOUND

from millrace.base.errors import Reason, Refusal
from millrace.catalog.model import Model
from millrace.settings.limits import Limits
from millrace.settings.parse import Server, Settings, Store, load, parse_settings

TINY = Model(
    name="millrace-tiny", engine="embedded", context_tokens=1024, max_output_tokens=512, slots=4,
    path=Path("/in/the/wheel.gguf"),
)

DESIGN = """
[server]
port = 8000
[store]
url = "sqlite:///millrace.db"
[[models]]
name = "qwen3-8b"
engine = "remote"
url = "http://10.0.0.7:8001/v1"
upstream = "Qwen/Qwen3-8B"
context_tokens = 32768
max_output_tokens = 8192
[[prices]]
model = "qwen3-8b"
currency = "CNY"
input = "0.8"
cached_input = "0.16"
output = "2.0"

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

FAKE = """
[[models]]
name = "fake"
engine = "fake"
context_tokens = 1000
"""

FAKE_PRICE = """
[[prices]]
model = "fake"
currency = "CNY"
input = "1"
output = "2"
"""


def parse(text: str) -> Settings:
    return parse_settings(text, "a.toml", bundled_model=lambda: TINY)


def refusal_of(text: str) -> str:
    with pytest.raises(Refusal) as caught:
        parse(text)
    assert caught.value.reason is Reason.BAD_SETTING
    assert caught.value.sentence.startswith("a.toml")
    return caught.value.sentence


def test_the_example_of_the_design_is_read() -> None:
    """Server, store, model and both prices; a price may wait for its model."""
    settings = parse(DESIGN)
    assert settings.server == Server(host="127.0.0.1", port=8000)
    assert settings.models[0].upstream == "Qwen/Qwen3-8B"
    eight, large = settings.prices
    assert (eight.model, eight.tiers[0].input, eight.tiers[0].cached_input) == ("qwen3-8b", 800_000_000, 160_000_000)
    assert [tier.up_to_input_tokens for tier in large.tiers] == [32768, 131072]


def test_nothing_said_means_the_bundled_model_at_its_price() -> None:
    """Without a file there is a model, a price for it in CNY, and the default limits."""
    settings = parse("")
    assert settings.models == (TINY,)
    price, tuning = settings.prices
    assert (price.model, price.currency) == ("millrace-tiny", "CNY")
    [tier] = price.tiers
    assert (tier.input, tier.cached_input, tier.output) == (100_000_000, 20_000_000, 200_000_000)
    assert (tuning.model, tuning.currency, tuning.tiers[0].input) == ("tune:millrace-tiny", "CNY", 2_000_000_000)
    assert (settings.server, settings.store, settings.limits) == (Server(), Store(), Limits())


def test_the_bundled_model_s_price_can_be_set() -> None:
    """A price that is listed for it replaces its own."""
    for name in ("millrace-tiny", "tune:millrace-tiny"):
        prices = {price.model: price for price in parse(FAKE_PRICE.replace("fake", name)).prices}
        assert sorted(prices) == ["millrace-tiny", "tune:millrace-tiny"]
        assert prices[name].tiers[0].input == 1_000_000_000


def test_no_price_is_added_for_a_model_that_is_not_served() -> None:
    """Who lists other models does not get the bundled one's price into the book."""
    assert [price.model for price in parse(FAKE + FAKE_PRICE).prices] == ["fake"]


def test_a_model_without_a_price_stops_the_start() -> None:
    """The refusal names the model and what to add."""
    assert "model 'fake' has no price; add [[prices]] with model = 'fake'" in refusal_of(FAKE)


def test_limits_can_be_set_one_by_one() -> None:
    """What is not set keeps its default."""
    limits = parse("[limits]\ndrain_s = 5\nbody_bytes_max = 2048\n").limits
    assert limits == Limits(drain_s=5.0, body_bytes_max=2048)


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_each_limit_is_refused_out_of_range(name: str) -> None:
    """A negative limit is refused by its name, whichever it is."""
    assert f"limits.{name} = -1: expected" in refusal_of(f"[limits]\n{name} = -1\n")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[servr]\nport = 1", "servr is not a setting; did you mean 'server'?"),
        ("port = 8000", "port is not a setting"),
        ("[server]\nprot = 1", "server.prot is not a setting; did you mean 'port'?"),
        ("[server]\nport = '8000'", "server.port = '8000': expected an integer from 0 to 65535"),
        ("[server]\nport = 65536", "server.port = 65536"),
        ("[server]\nworkers = 0", "server.workers = 0: expected an integer from 1 to 64"),
        ("[server]\nhost = 7", "server.host = 7: expected a text"),
        ("server = 7", "server = 7: expected a table"),
        ("[limits]\ndrain = 7", "did you mean 'drain_s'?"),
        ("models = 7", "models = 7: expected tables, each written [[models]]"),
        ("[models]\nname = 'a'", "expected tables, each written [[models]]"),
        ("prices = 7", "prices: there is no price here"),
        (FAKE + FAKE_PRICE + FAKE_PRICE, "fake has several prices in CNY"),
        (FAKE + FAKE_PRICE + "colour = 'red'", "'colour' is not known here"),
        (FAKE + FAKE_PRICE.replace("'2'", "2.0").replace('"2"', "2.0"), "money is never one"),
    ],
)
def test_a_wrong_setting_is_refused(text: str, says: str) -> None:
    """Each refusal names file, key, value and what was expected."""
    assert says in refusal_of(text)


@pytest.mark.parametrize(
    ("text", "line"),
    [("[server]\nport 8000\n", "line 2"), ("[server]\nport = 1\nport = 2", "line 3"), ("[server]\n\nport =", "line 3")],
)
def test_a_slip_in_the_toml_names_its_line(text: str, line: str) -> None:
    """Also when the file ends too early."""
    sentence = refusal_of(text)
    assert sentence.startswith("a.toml is not TOML: ")
    assert line in sentence


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@host/db", "postgres://host/db", "postgresql:///db?host=/var/run/postgresql",
        "postgresql://ann@a:5432,b:5433/db?target_session_attrs=read-write", "postgresql://ann:p%40ss@[::1]:5432/db",
    ],
)  # fmt: skip
def test_a_postgresql_database_is_opened_by_its_url(url: str) -> None:
    """Whatever the home; and the settings, when they are logged, do not show the password in it."""
    store = parse(f'[store]\nurl = "{url}"').store
    assert store.place(Path("home")) == url
    assert "hunter2" not in repr(store)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:hunter2@host", "postgresql://ann:hunter2@host/", "postgresql://ann:hunter2@host:port/db",
        "postgresql://ann:hunter2@host/db?nonsense=1", "postgresql://ann:hunter2%zz@host/db",
        "postgresql://ann:4@hunter2@host/db", "postgresql://ann:hunter2@host/a b", "postgresql://ann:hunter2@[::1/db",
        "postgresql://ann:hunter2@host/db?sslmode",
    ],
)  # fmt: skip
def test_a_bad_postgresql_url_is_refused_unseen(url: str) -> None:
    """With an example, and without the password that stands in it."""
    sentence = refusal_of(f'[store]\nurl = "{url}"')
    assert "store.url: expected postgresql://user@host:5432/database" in sentence
    assert "hunter2" not in sentence


@pytest.mark.parametrize("url", ["millrace.db", "sqlite:a.db", "sqlite:///", "sqlite:///folder/", "mysql://h/db"])
def test_what_is_no_database_is_refused(url: str) -> None:
    """An address that is neither is refused with an example of each form."""
    assert "store.url: expected sqlite:///millrace.db" in refusal_of(f'[store]\nurl = "{url}"')


def test_the_database_lies_in_the_home_or_where_it_says() -> None:
    """Three strokes are relative to the home, four are from the root."""
    home = Path("/home/ann/.millrace")
    assert Store().place(home) == home / "millrace.db"
    assert Store(url="sqlite:////var/lib/books.db").place(home) == Path("/var/lib/books.db")


def test_settings_show_no_secret() -> None:
    """The settings hold the name of a variable, so their repr can be logged."""
    text = DESIGN.replace("max_output_tokens", 'api_key_env = "QWEN_KEY"\nmax_output_tokens')
    assert "api_key_env='QWEN_KEY'" in repr(parse(text))


def test_a_home_without_a_file_has_the_defaults(tmp_path: Path) -> None:
    """Only the home's own file or the one that was named is read."""
    (tmp_path / "millrace.toml").write_text(FAKE + FAKE_PRICE)
    named = tmp_path / "named.toml"
    named.write_text((FAKE + FAKE_PRICE).replace("fake", "named").replace('engine = "named"', 'engine = "fake"'))
    assert load(tmp_path).models[0].name == "fake"
    assert load(tmp_path, named).models[0].name == "named"


@pytest.mark.parametrize("content", [None, b"\xff\xfe[server]", b"#" * (4 * 1024 * 1024 + 1)])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A named file that is missing, is not UTF-8 or is far too large stops the start."""
    file = tmp_path / "named.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Refusal, match=r"the settings .*named\.toml") as caught:
        load(tmp_path, file)
    assert caught.value.reason is Reason.BAD_SETTING


def embedded(context_tokens: int) -> str:
    listed = f'"embedded"\npath = "w.gguf"\ncontext_tokens = {context_tokens}'
    return FAKE.replace('"fake"\ncontext_tokens = 1000', listed)


def test_weights_are_looked_at_before_the_start(tmp_path: Path) -> None:
    """A model file that is missing, or was trained for less context than is offered, stops the start."""
    file = tmp_path / "millrace.toml"
    file.write_text(embedded(1024) + FAKE_PRICE)
    with pytest.raises(Refusal, match=r"the model file .*w\.gguf cannot be read: No such file"):
        load(tmp_path)
    (tmp_path / "w.gguf").write_bytes(SOUND)
    assert load(tmp_path).models[0].path == tmp_path / "w.gguf"
    file.write_text(embedded(1025) + FAKE_PRICE)
    with pytest.raises(Refusal, match=r"'fake': context_tokens = 1025: expected at most 1024, what w\.gguf"):
        load(tmp_path)
