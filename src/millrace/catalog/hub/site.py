"""What differs between hubs: addresses, credentials, and how they list a repository. Pure.

Hugging Face's form is its API as huggingface_hub speaks it: `/api/models/{repo}/revision/{revision}?blobs=true`, then
`/{repo}/resolve/{commit}/{path}`, which may redirect to a store with other rules. A Millrace cloud speaks the same below
`/hub`. ModelScope lists by `/api/v1/models/{repo}/repo/files` and serves by `/api/v1/models/{repo}/repo`.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec
from msgspec import Struct

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.ref import Hub, HubRef
from millrace.catalog.hub.values import Listing, RemoteFile
from millrace.catalog.weights.values import SHA256, check_path

FILES_MAX: Final = 100_000
"""Of one repository."""

MODELSCOPE_FILES_MAX: Final = 3000
"""Where ModelScope cuts a list off without saying so."""

_KNOWN: Final = {
    "hf": ("Hugging Face hub", "HF_ENDPOINT", "https://huggingface.co", "HF_TOKEN"),
    "ms": ("ModelScope", "MODELSCOPE_ENDPOINT", "https://www.modelscope.cn", "MODELSCOPE_API_TOKEN"),
}
"""Name, and the variables that its endpoint and a token for it come from."""


class Site(Struct, frozen=True, kw_only=True):
    """A hub as it is reached from here. `token` is shown to nobody."""

    hub: Hub
    name: str
    endpoint: str
    """Scheme, host, port and path, without a slash at the end."""
    endpoint_variable: str | None
    token_variable: str
    token: str | None

    def __repr__(self) -> str:
        return f"Site({self.endpoint!r})"

    @property
    def credentials(self) -> Mapping[str, str]:
        """Headers for this hub's own origin and no other."""
        if self.token is None:
            return {}
        headers = {"Authorization": f"Bearer {self.token}"}
        return headers if self.hub != "ms" else {**headers, "Cookie": f"m_session_id={self.token}"}

    def listing_url(self, repo: str, revision: str | None) -> str:
        if self.hub == "ms":
            query = urlencode({"Revision": revision or "master", "Recursive": "True"})
            return f"{self.endpoint}/api/v1/models/{repo}/repo/files?{query}"
        return f"{self.endpoint}/api/models/{repo}/revision/{quote(revision or 'main', safe='')}?blobs=true"

    def file_url(self, repo: str, revision: str, path: str) -> str:
        if self.hub == "ms":
            return f"{self.endpoint}/api/v1/models/{repo}/repo?{urlencode({'Revision': revision, 'FilePath': path})}"
        return f"{self.endpoint}/{repo}/resolve/{quote(revision, safe='')}/{quote(path)}"

    def listing(self, repo: str, revision: str | None, body: bytes) -> Listing:
        """Raises NOT_FOUND for an answer that is none."""
        try:
            answer = msgspec.json.decode(body)
            return self._modelscope(repo, revision or "master", answer) if self.hub == "ms" else self._hugging(repo, answer)
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal(
                Reason.NOT_FOUND,
                f"what {self.endpoint} answers for {repo} is not a list of files ({type(error).__name__}: {str(error)[:120]}); "
                f"is it a {self.name}{f'? See {self.endpoint_variable}' if self.endpoint_variable else '?'}",
            ) from None

    def _hugging(self, repo: str, answer: Any) -> Listing:
        commit = str(answer["sha"])
        files = []
        for one in answer["siblings"]:
            lfs = one.get("lfs") or {}
            path = _path(one["rfilename"])
            files.append(
                RemoteFile(
                    path=path, url=self.file_url(repo, commit, path), size=_size(lfs.get("size", one.get("size"))),
                    sha256=_hash(lfs.get("sha256"), 64), git_sha1=None if lfs else _hash(one.get("blobId"), 40),
                )
            )  # fmt: skip
        return Listing(revision=commit, files=_bounded(files), licence=_licence(answer))

    def _modelscope(self, repo: str, revision: str, answer: Any) -> Listing:
        listed = answer["Data"]["Files"]
        if len(listed) >= MODELSCOPE_FILES_MAX:
            raise ValueError(f"{len(listed)} files are more than ModelScope tells at once")
        files = []
        for one in listed:
            if one.get("Type") != "tree":
                path = _path(one["Path"])
                files.append(
                    RemoteFile(
                        path=path, url=self.file_url(repo, revision, path), size=_size(one.get("Size")),
                        sha256=_hash(one.get("Sha256") or None, 64),
                    )
                )  # fmt: skip
        return Listing(revision=revision, files=_bounded(files))


def site_of(ref: HubRef, environment: Mapping[str, str]) -> Site:
    """The hub of a REF, with the endpoint and the token that the environment names. Raises BAD_SETTING."""
    if ref.hub == "millrace":
        name, variable, endpoint, token_variable = "Millrace cloud", None, f"{ref.origin}/hub", "MILLRACE_API_KEY"
    else:
        name, variable, default, token_variable = _KNOWN[ref.hub]
        endpoint = _endpoint(environment, variable, default)
    return Site(
        hub=ref.hub, name=name, endpoint=endpoint, endpoint_variable=variable, token_variable=token_variable,
        token=_token(environment, token_variable),
    )  # fmt: skip


def _endpoint(environment: Mapping[str, str], variable: str, default: str) -> str:
    text = environment.get(variable) or default
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
        raise Refusal(Reason.BAD_SETTING, f"{variable} is not an address such as {default}, without a user, password or query")
    return text.rstrip("/")


def _token(environment: Mapping[str, str], variable: str) -> str | None:
    token = environment.get(variable, "").strip()
    if not token.isascii() or not token.isprintable() or " " in token or ";" in token:
        raise Refusal(Reason.BAD_SETTING, f"{variable} has characters in it that no token has; set it again")
    return token or None


def _path(value: object) -> str:
    path = str(value)
    check_path(path)
    return path


def _size(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"a size of {str(value)[:40]!r}")
    return value


def _hash(value: object, digits: int) -> str | None:
    if value is None:
        return None
    text = str(value).lower()
    if len(text) != digits or not (SHA256.fullmatch(text) or set(text) <= set("0123456789abcdef")):
        raise ValueError(f"a hash of {text[:80]!r}")
    return text


def _licence(answer: Any) -> str | None:
    card = answer.get("cardData") or {}
    licence = card.get("license") if isinstance(card, dict) else None
    tags = (str(tag) for tag in answer.get("tags") or ())
    tagged = next((tag.removeprefix("license:") for tag in tags if tag.startswith("license:")), None)
    return licence[:100] if isinstance(licence, str) else tagged


def _bounded(files: list[RemoteFile]) -> tuple[RemoteFile, ...]:
    if len(files) > FILES_MAX:
        raise ValueError(f"{len(files)} files")
    return tuple(files)
