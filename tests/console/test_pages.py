"""The pages as a browser gets them."""

import json
import re
from collections.abc import Callable
from html import escape, unescape

import pytest
from tests.console.conftest import Site

from millrace.base.errors import Reason
from millrace.console.offers import FRESH_NS
from millrace.gateway.app import ROUTES
from millrace.gateway.refusals import STATUS
from millrace.money.rating.book import parse_price
from millrace.money.rating.store import import_price

PAGES = ("/", "/docs", "/openapi.json")

FLAT: dict[str, object] = {"currency": "CNY", "input": "0.8", "cached_input": "0.16", "output": "2.0"}
TIERED: dict[str, object] = {
    "model": "qwen3-max", "currency": "EUR",
    "tiers": [
        {"up_to_input_tokens": 32_768, "input": "2.5", "cached_input": "0.5", "output": "10"},
        {"input": "7.125", "cached_input": "1.4", "output": "28"},
    ],
}  # fmt: skip


def put(site: Site, price: dict[str, object]) -> None:
    new = parse_price(price, where="the test's price")
    site.db.write_now(lambda tx: import_price(tx, new, site.clock.now()))


def plain(html: str) -> str:
    """The text that a reader sees, blanks made one."""
    body = html[html.index("<body") :]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", body)))


def test_the_front_page_names_each_model_and_price(site: Site) -> None:
    """Model, state, lengths and each tier's price in each currency of the book are there."""
    put(site, {"model": "qwen3-8b", **FLAT})
    put(site, TIERED)
    site.start("qwen3-max")
    seen = plain(site.get("/").text)
    assert "1 of 2 models ready" in seen
    assert "qwen3-8b not started 32,768 tokens of context 8,192 of output at most" in seen
    assert "CNY any length 0.80 0.16 2.00" in seen
    assert "qwen3-max ready" in seen
    assert "EUR up to 32,768 2.50 0.50 10.00 EUR over 32,768 7.125 1.40 28.00" in seen


def test_how_to_call_it(site: Site) -> None:
    """curl and Python call this host, and the model is one that is ready."""
    site.start("qwen3-max")
    seen = plain(site.get("/", host="models.example:8443").text)
    assert "curl http://models.example:8443/v1/chat/completions" in seen
    assert '{"model": "qwen3-max", "messages"' in seen
    assert 'OpenAI(base_url="http://models.example:8443/v1", api_key=os.environ["MILLRACE_KEY"])' in seen


@pytest.mark.parametrize("host", ['"><script>alert(1)</script>', "x' onload='y", "a/../b", "evil example"])
@pytest.mark.parametrize("path", PAGES)
def test_a_forged_host_is_not_repeated(site: Site, path: str, host: str) -> None:
    """Nothing of a Host header that is no plain host comes back, escaped or not."""
    seen = site.get(path, host=host).text
    assert host not in seen
    assert escape(host) not in seen
    assert "http://127.0.0.1:8000" in seen


def test_a_model_s_name_is_text(site_of: Callable[..., Site]) -> None:
    """A name with markup and quotes in it is escaped in HTML and quoted for the shell and for Python."""
    name = "<b>it's</b>\"&"
    site = site_of(name)
    page = site.get("/").text
    assert "<b>" not in page
    assert "&lt;b&gt;it&#39;s&lt;/b&gt;&#34;&amp;" in page
    seen = plain(page)
    assert """-d '{"model": "<b>it'"'"'s</b>\\"&", "messages\"""" in seen
    assert 'model="<b>it\'s</b>\\"&",' in seen
    assert "<b>" not in site.get("/docs").text


@pytest.mark.parametrize("path", [*PAGES, "/nothing/here", "/favicon.ico"])
def test_every_answer_carries_the_security_headers(site: Site, path: str) -> None:
    """Content policy, no sniffing and no referrer stand on every answer, a 404 included."""
    headers = site.get(path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "/docs", "/nothing/here"])
def test_a_page_keeps_its_own_policy(site: Site, path: str) -> None:
    """There is no inline script or style and nothing from another host, so the policy breaks nothing."""
    page = site.get(path).text
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", page)
    assert all(" src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    sources = re.findall(r"<(?:script|link|img)[^>]*?(?:src|href)=\"([^\"]*)\"", page)
    assert len(sources) == 3
    assert all(source.startswith("/static/") for source in sources)


def test_static_files_are_kept_for_ever_under_their_hash(site: Site) -> None:
    """Each file that a page names is there, cacheable for a year; under another hash there is nothing."""
    for path in re.findall(r"\"(/static/[^\"]*)\"", site.get("/").text):
        answer = site.get(path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        assert site.get(re.sub(r"\.[0-9a-f]{12}\.", ".000000000000.", path)).status == 404
    assert site.get("/static/../pages.py").status == 404


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_not_kept(site: Site, path: str) -> None:
    """What shows the caller's Host header is stored by no cache."""
    assert site.get(path).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", [*PAGES, "/favicon.ico", "/nothing/here"])
def test_head_is_get_without_the_body(site: Site, path: str) -> None:
    """HEAD has the status and headers of GET, the length included, and no body."""
    get, head = site.get(path), site.get(path, method="HEAD")
    assert head.body == b""
    assert (head.status, head.headers) == (get.status, get.headers)
    assert int(head.headers["content-length"]) == len(get.body)


def test_pages_are_only_read(site: Site) -> None:
    """POST to a page is 405 and says what is allowed."""
    answer = site.get("/", method="POST")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_an_unknown_page(site: Site) -> None:
    """404 is a page that names the path as text and leads back."""
    answer = site.get("/<i>nowhere</i>")
    assert answer.status == 404
    assert "/&lt;i&gt;nowhere&lt;/i&gt;" in answer.text
    assert 'href="/docs"' in answer.text


def test_no_model_and_no_price(site_of: Callable[..., Site]) -> None:
    """A server with nothing to offer says so and still explains itself."""
    assert "No model is on offer" in plain(site_of().get("/").text)
    assert "No price yet." in plain(site_of("qwen3-8b").get("/").text)


def test_a_broken_book_does_not_break_the_page(site: Site) -> None:
    """Where the prices cannot be read the page says that, and shows the rest."""
    site.db.close()
    seen = plain(site.get("/").text)
    assert "The price book cannot be read at the moment." in seen
    assert "qwen3-8b" in seen


def test_a_new_price_is_seen_soon(site: Site) -> None:
    """The book is read at most every FRESH_NS, so a flood of visits is not one of reads, and a change shows after it."""
    assert "CNY" not in plain(site.get("/").text)
    put(site, {"model": "qwen3-8b", **FLAT})
    assert "0.80" not in plain(site.get("/").text)
    site.clock.advance(FRESH_NS / 1_000_000_000)
    assert "0.80" in plain(site.get("/").text)


def test_why_an_engine_failed_is_not_public(site: Site) -> None:
    """A customer learns that a model is not available, not what is on the server's disk."""
    site.start("qwen3-8b")
    site.engines["qwen3-8b"].break_down("cannot read /secret/place")
    page = site.get("/").text
    assert "not available" in page
    assert "/secret/place" not in page


def test_the_reference_has_every_route_and_reason(site: Site) -> None:
    """Each route of the gateway's table has a section, each reason its line with the status."""
    seen = plain(site.get("/docs").text)
    for route in ROUTES:
        assert f"{route.method} {route.path}" in seen
        assert route.summary in seen
    for reason in Reason:
        assert f"{STATUS[reason]} {reason.value} " in seen


def test_the_links_of_the_reference_lead_somewhere(site: Site) -> None:
    """Every #anchor on the page exists exactly once."""
    page = site.get("/docs").text
    ids = re.findall(r"\sid=\"([^\"]*)\"", page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"href=\"#([^\"]*)\"", page)) <= set(ids)


def test_openapi_is_json_for_this_host(site: Site) -> None:
    """The document names this server, so that a client made from it calls here."""
    answer = site.get("/openapi.json", host="models.example")
    assert answer.headers["content-type"] == "application/json"
    assert json.loads(answer.body)["servers"] == [{"url": "http://models.example"}]


def test_landmarks(site: Site) -> None:
    """Language, title, one main, one h1, a skip link and named navigation: what a screen reader goes by."""
    for path in ("/", "/docs", "/nothing"):
        page = site.get(path).text
        assert '<html lang="en">' in page
        assert page.count("<main") == page.count("<h1") == page.count("<title>") == 1
        assert 'href="#main"' in page
        assert all("aria-label=" in tag for tag in re.findall(r"<nav[^>]*>", page))
