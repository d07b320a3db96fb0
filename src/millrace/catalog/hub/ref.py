"""What a model is called where it comes from.

    hf:owner/name[:file][@revision]                         Hugging Face, or the mirror that HF_ENDPOINT names
    ms:owner/name[:file][@revision]                         ModelScope
    millrace://host[:port]/owner/name[:file][@revision]     another Millrace cloud, by HTTPS (by HTTP on this machine)
    millrace+http://host[:port]/owner/name…                 the same without encryption, inside a network that one trusts
    https://host/…/x.gguf                                   one file
    a folder or a .gguf file                                what is here already
"""

import re
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.weights.values import check_path

Hub = Literal["hf", "ms", "millrace"]

FORMS: Final = "hf:owner/name, ms:owner/name, millrace://host/owner/name, an address https://…/x.gguf, a folder or a .gguf file"

TEXT_MAX: Final = 2048
"""Characters; an address with a signature in it has some hundreds."""

_REPO: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_REVISION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+/-]{0,199}")
_SCHEME: Final = re.compile(r"([a-z][a-z0-9+.-]*):")
_UNFIT: Final = re.compile(r"[^a-z0-9._+-]+")


class HubRef(Struct, frozen=True, kw_only=True):
    """A repository of a hub, or one file of it."""

    hub: Hub
    repo: str
    """owner/name."""
    origin: str | None = None
    """millrace: scheme, host and port."""
    file: str | None = None
    """None: what `choice` takes."""
    revision: str | None = None
    """None: the hub's default."""


class UrlRef(Struct, frozen=True, kw_only=True):
    """One GGUF file at an address."""

    url: str


class PathRef(Struct, frozen=True, kw_only=True):
    """A folder or file of this machine, as it was typed."""

    path: str


Ref = HubRef | UrlRef | PathRef


def parse_ref(text: str) -> Ref:
    """Raises INVALID_REQUEST, which says what is wrong with it and what a REF looks like."""
    if not text or len(text) > TEXT_MAX or not text.isprintable():
        raise _refusal("the REF is empty, too long or has control characters in it")
    scheme = _SCHEME.match(text)
    if scheme is None or PurePosixPath(text).is_absolute():
        return PathRef(path=text)
    kind, rest = scheme[1], text[scheme.end() :]
    if kind in ("hf", "ms"):
        return _hub("hf" if kind == "hf" else "ms", None, rest, text)
    if kind in ("millrace", "millrace+http"):
        return _millrace(kind, rest, text)
    if kind in ("http", "https"):
        return _url(text)
    raise _refusal(f"{text[:80]!r}: {kind}: is not known")


def render_ref(ref: Ref) -> str:
    """The text that parses to the same; an address without its query, in which a secret may be."""
    if isinstance(ref, UrlRef):
        return urlsplit(ref.url)._replace(query="", fragment="").geturl()
    if isinstance(ref, PathRef):
        return ref.path
    revision = f"@{ref.revision}" if ref.revision else ""
    return f"{source_of(ref)}{revision}"


def source_of(ref: Ref) -> str:
    """The REF without its revision: where a model comes from, whichever version of it."""
    if not isinstance(ref, HubRef):
        return render_ref(ref)
    file = f":{ref.file}" if ref.file else ""
    if ref.origin is None:
        return f"{ref.hub}:{ref.repo}{file}"
    scheme, _, host = ref.origin.partition("://")
    plain = scheme == "http" and not _is_here(urlsplit(ref.origin).hostname or "")
    return f"millrace{'+http' if plain else ''}://{host}/{ref.repo}{file}"


def default_name(ref: Ref) -> str:
    """What the model is called here unless the operator says: the repository's or file's name in lower case."""
    last = PurePosixPath((ref.file or ref.repo) if isinstance(ref, HubRef) else render_ref(ref)).name
    plain = re.sub(r"(-00001-of-\d{5})?\.gguf$|[-_.]gguf$", "", last.lower())
    return _UNFIT.sub("-", plain).strip("-._+")[:100] or "model"


def _hub(hub: Hub, origin: str | None, rest: str, text: str) -> HubRef:
    place, _, revision = rest.partition("@")
    repo, colon, file = place.partition(":")
    if not _REPO.fullmatch(repo) or ".." in repo:
        raise _refusal(f"{text[:80]!r} does not name a repository as owner/name")
    if "@" in rest and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise _refusal(f"{text[:80]!r}: {revision[:40]!r} is not a revision (a branch, a tag or a commit)")
    if colon:
        try:
            check_path(file)
        except ValueError as error:
            raise _refusal(f"{text[:80]!r}: {error}") from None
    return HubRef(hub=hub, origin=origin, repo=repo, file=file or None, revision=revision or None)


def _millrace(kind: str, rest: str, text: str) -> HubRef:
    host, slash, place = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not slash:
        raise _refusal(f"{text[:80]!r} is not millrace://host[:port]/owner/name")
    name = _hostname(f"https://{host}")
    if name is None:
        raise _refusal(f"{text[:80]!r}: {host[:80]!r} is not a host with or without a port")
    scheme = "http" if kind == "millrace+http" or _is_here(name) else "https"
    return _hub("millrace", f"{scheme}://{host}", place, text)


def _url(text: str) -> UrlRef:
    if _hostname(text) is None:
        raise _refusal("the address has no host, or a user or password in it")
    if not urlsplit(text).path.lower().endswith(".gguf"):
        raise _refusal(f"the address {render_ref(UrlRef(url=text))} does not end with .gguf")
    try:
        check_path(unquote(urlsplit(text).path.rpartition("/")[2]))
    except ValueError as error:
        raise _refusal(f"the address {render_ref(UrlRef(url=text))}: {error}") from None
    return UrlRef(url=urlsplit(text)._replace(fragment="").geturl())


def _hostname(url: str) -> str | None:
    """The host of an address that is only scheme, host, port and path; None for others."""
    try:
        parts = urlsplit(url)
        fits = parts.hostname and parts.port != 0 and "@" not in parts.netloc and url.isascii() and " " not in url
    except ValueError:
        return None
    return parts.hostname if fits else None


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(sentence: str) -> Refusal:
    return Refusal(Reason.INVALID_REQUEST, f"{sentence}; expected {FORMS}", param="ref")
