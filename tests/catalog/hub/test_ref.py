"""The grammar of REF: every form, what is refused, and that rendering and parsing undo each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.ref import Hub, HubRef, PathRef, Ref, UrlRef, default_name, parse_ref, render_ref, source_of
from millrace.catalog.weights.values import NAME

WORD = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,12}", fullmatch=True)
FILE = st.builds("/".join, st.lists(WORD, min_size=1, max_size=3)).map(lambda path: f"{path}.gguf")


@st.composite
def hub_refs(draw: st.DrawFn) -> HubRef:
    """Any repository, with or without a file and a revision."""
    hub: Hub = draw(st.sampled_from(["hf", "ms", "millrace"]))
    scheme = draw(st.sampled_from(["http", "https"]))
    host = draw(st.sampled_from(["cloud.example", "10.0.0.7:8000", "[2001:db8::1]:8443"]))
    return HubRef(
        hub=hub, repo=f"{draw(WORD)}/{draw(WORD)}", origin=f"{scheme}://{host}" if hub == "millrace" else None,
        file=draw(st.none() | FILE), revision=draw(st.none() | WORD | st.just("refs/pr/1")),
    )  # fmt: skip


@given(ref=hub_refs())
def test_what_is_rendered_parses_to_the_same(ref: HubRef) -> None:
    """A REF in a manifest or a sentence can be given to `pull` again."""
    assert parse_ref(render_ref(ref)) == ref
    assert render_ref(ref).startswith(source_of(ref))


@given(text=st.text(max_size=60) | st.builds("{}:{}".format, st.sampled_from(["hf", "ms", "https", "millrace"]), st.text()))
def test_every_text_is_a_ref_or_a_refusal(text: str) -> None:
    """Nothing else is raised; a repository's parts never lead anywhere else, and the name made of it can be one."""
    try:
        ref = parse_ref(text)
    except Refusal as caught:
        refusal, ref = caught, None
    if ref is None:
        assert (refusal.reason, "hf:owner/name" in refusal.sentence) == (Reason.INVALID_REQUEST, True)
        return
    if isinstance(ref, HubRef):
        assert ".." not in f"{ref.repo}/{ref.file}".split("/")
    assert NAME.fullmatch(default_name(ref))


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("hf:Qwen/Qwen3-0.6B", HubRef(hub="hf", repo="Qwen/Qwen3-0.6B")),
        ("hf:Qwen/Q:sub/a.gguf@main", HubRef(hub="hf", repo="Qwen/Q", file="sub/a.gguf", revision="main")),
        ("ms:Qwen/Q@v1.0", HubRef(hub="ms", repo="Qwen/Q", revision="v1.0")),
        ("millrace://ai.example/acme/q", HubRef(hub="millrace", repo="acme/q", origin="https://ai.example")),
        ("millrace://127.0.0.1:8000/acme/q", HubRef(hub="millrace", repo="acme/q", origin="http://127.0.0.1:8000")),
        ("millrace://localhost/acme/q", HubRef(hub="millrace", repo="acme/q", origin="http://localhost")),
        ("millrace+http://10.0.0.7/acme/q", HubRef(hub="millrace", repo="acme/q", origin="http://10.0.0.7")),
        ("https://x.example/a/b.gguf?sig=1#part", UrlRef(url="https://x.example/a/b.gguf?sig=1")),
        ("./folder", PathRef(path="./folder")),
        ("owner/name", PathRef(path="owner/name")),
        ("/models/a:b", PathRef(path="/models/a:b")),
    ],
)
def test_forms(text: str, ref: Ref) -> None:
    """Each form of the grammar is what it says."""
    assert parse_ref(text) == ref


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("hf:Qwen", "does not name a repository as owner/name"),
        ("hf:a/b/c", "does not name a repository"),
        ("hf:../b", "does not name a repository"),
        ("hf:a/b@", "is not a revision"),
        ("hf:a/b@x/../y", "is not a revision"),
        ("hf:a/b:", "is not a path inside"),
        ("hf:a/b:../c", "is not a path inside"),
        ("millrace:acme/q", "is not millrace://host[:port]/owner/name"),
        ("millrace://host:0/a/b", "is not a host"),
        ("millrace://me:secret@host/a/b", "is not a host"),
        ("https://me:secret@x.example/a.gguf", "a user or password in it"),
        ("https://x.example/a.zip?token=secret", "does not end with .gguf"),
        ("s3:bucket/a.gguf", "s3: is not known"),
        ("hf:a/b\n", "control characters"),
    ],
)
def test_refusals(text: str, says: str) -> None:
    """What is wrong is said, with the forms that there are; a secret in it is not repeated."""
    with pytest.raises(Refusal) as caught:
        parse_ref(text)
    assert says in caught.value.sentence
    assert "token=secret" not in caught.value.sentence


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:Qwen/Qwen3-0.6B-GGUF", "qwen3-0.6b"),
        ("hf:Qwen/Qwen3-0.6B", "qwen3-0.6b"),
        ("hf:Qwen/Q-GGUF:Qwen3-0.6B-Q8_0.gguf", "qwen3-0.6b-q8_0"),
        ("hf:Qwen/Q-GGUF:q-Q8_0-00001-of-00003.gguf", "q-q8_0"),
        ("https://x.example/My%20Model.gguf", "my-20model"),
        ("./水", "model"),
        ("/data/My Model/", "my-model"),
    ],
)
def test_names(text: str, name: str) -> None:
    """What a model is called when nobody says."""
    assert default_name(parse_ref(text)) == name
