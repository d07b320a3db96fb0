"""What is shown of addresses, and where redirects may lead."""

import pytest

from millrace.base.errors import Refusal
from millrace.catalog.hub.door import _redirected, linked_sha256, origin_of, proxies_of, proxy_for, shown
from millrace.catalog.hub.ref import HubRef
from millrace.catalog.hub.site import Site, site_of

REF = HubRef(hub="hf", repo="a/b")


def test_an_origin_is_scheme_host_and_port() -> None:
    """Another port or scheme is somebody else; a path is not."""
    assert origin_of("https://hub.example/a?b") == origin_of("https://HUB.example:443/c")
    assert origin_of("https://hub.example") != origin_of("http://hub.example")
    assert origin_of("https://hub.example") != origin_of("https://hub.example:8443")
    assert origin_of("https://hub.example") != origin_of("https://hub.example.evil.test")


def test_signatures_are_not_shown() -> None:
    """An address is shown without its query."""
    assert shown("https://cdn.example/a/b?Signature=s#x") == "https://cdn.example/a/b"


@pytest.mark.parametrize("target", ["http://cdn.example/a", "file:///etc/passwd", "https://", "https://[broken"])
def test_where_no_redirect_may_lead(target: str) -> None:
    """To no encryption from encryption, and to nothing but the web."""
    with pytest.raises(Refusal):
        _redirected("https://hub.example/a", target)


def test_a_linked_etag_counts_only_as_a_hash() -> None:
    """Other networks' tags say nothing of the content."""
    assert linked_sha256({"X-Linked-Etag": f'"{"A" * 64}"'}) == "a" * 64
    assert linked_sha256({"X-Linked-Etag": '"0123"'}) is None
    assert linked_sha256({}) is None


def test_a_token_is_not_printed() -> None:
    """Not by whoever prints the site in a traceback or a log."""
    assert "hf_secret" not in repr(site_of(REF, {"HF_TOKEN": "hf_secret"}))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HF_ENDPOINT", "hf-mirror.example"), ("HF_ENDPOINT", "https://me:pass@hf.example"), ("HF_TOKEN", "two\nlines"),
        ("HF_TOKEN", "a b"),
    ],
)  # fmt: skip
def test_a_bad_variable_is_named_and_not_shown(variable: str, value: str) -> None:
    """What is in it may be a secret."""
    with pytest.raises(Refusal, match=variable) as caught:
        site_of(REF, {variable: value})
    assert value not in caught.value.sentence


def test_proxies_come_from_the_environment() -> None:
    """By scheme, in small or capital letters, and not where NO_PROXY says."""
    proxies = proxies_of({"https_proxy": "http://p:1", "HTTP_PROXY": "http://p:2", "NO_PROXY": ".here.example, 10.0.0.7"})
    assert proxy_for("https://hub.example/a", proxies) == "http://p:1"
    assert proxy_for("http://hub.example/a", proxies) == "http://p:2"
    assert proxy_for("http://here.example:8000/a", proxies) is None
    assert proxy_for("http://deep.here.example/a", proxies) is None
    assert proxy_for("http://there.example/a", proxies) == "http://p:2"
    assert proxy_for("http://10.0.0.7/a", proxies) is None
    assert proxy_for("http://x.example", {**proxies, "no": "*"}) is None
    assert proxy_for("https://x.example", proxies_of({"ALL_PROXY": "http://p:3"})) == "http://p:3"
    with pytest.raises(Refusal, match="HTTPS_PROXY is not the address of an HTTP proxy"):
        proxies_of({"HTTPS_PROXY": "socks5://me:secret@p:1"})


def test_addresses_of_hubs() -> None:
    """As their own clients build them, with what is unusual in a name escaped."""
    site = site_of(REF, {"HF_ENDPOINT": "https://mirror.example/hf/"})
    assert site.listing_url("a/b", "refs/pr/1") == "https://mirror.example/hf/api/models/a/b/revision/refs%2Fpr%2F1?blobs=true"
    assert site.file_url("a/b", "c0ffee", "sub/x y.gguf") == "https://mirror.example/hf/a/b/resolve/c0ffee/sub/x%20y.gguf"
    other: Site = site_of(HubRef(hub="ms", repo="a/b"), {})
    assert other.listing_url("a/b", None) == (
        "https://www.modelscope.cn/api/v1/models/a/b/repo/files?Revision=master&Recursive=True"
    )
    assert other.file_url("a/b", "master", "x y.gguf") == (
        "https://www.modelscope.cn/api/v1/models/a/b/repo?Revision=master&FilePath=x+y.gguf"
    )
