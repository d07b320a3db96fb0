"""What a hub's no means for whoever asked, with the remedy."""

from http import HTTPStatus
from typing import Final

from millrace.base.errors import Reason, Refusal
from millrace.catalog.hub.door import Passing, Refused
from millrace.catalog.hub.ref import HubRef, Ref, render_ref
from millrace.catalog.hub.site import Site

_CLOSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)


def refusal_of(refused: Refused, ref: Ref, site: Site | None) -> Refusal:
    """The refusal of a source that said no."""
    if site is None or not isinstance(ref, HubRef):
        return Refusal(Reason.NOT_FOUND, f"{refused}; is the address right?", param="ref")
    if refused.status in _CLOSED and refused.code != "RepoNotFound":
        return Refusal(Reason.SCOPE_MISSING, _closed(refused, ref, site), param="ref")
    if refused.code == "RevisionNotFound":
        return Refusal(Reason.NOT_FOUND, f"{ref.hub}:{ref.repo} has no revision {ref.revision or 'main'!r}", param="ref")
    if refused.status == HTTPStatus.NOT_FOUND or refused.code == "RepoNotFound":
        private = "" if site.token else f"; if it is a private one, set {site.token_variable} to a token that may read it"
        return Refusal(Reason.NOT_FOUND, f"{site.endpoint} has no {ref.repo}, or does not show it{private}", param="ref")
    return Refusal(Reason.NOT_FOUND, f"{refused}, for {render_ref(ref)}", param="ref")


def unreachable(passing: Passing, site: Site | None) -> Refusal:
    """The refusal of a source that was tried often enough."""
    if not passing.offline:
        sentence = f"{passing.sentence}, again and again; pull again later: what is here is kept"
        return Refusal(Reason.STORE_UNAVAILABLE, sentence)
    mirror = ""
    if site is not None and site.endpoint_variable is not None:
        mirror = f"set {site.endpoint_variable} to a mirror that can be reached, or "
    return Refusal(
        Reason.STORE_UNAVAILABLE,
        f"{passing.sentence}; without a way there, {mirror}fetch the model's folder or .gguf file elsewhere, copy it to this "
        "machine and pull that: millrace model pull ./FOLDER (a proxy is set by HTTPS_PROXY)",
    )


def _closed(refused: Refused, ref: HubRef, site: Site) -> str:
    page = f"{site.endpoint}/{ref.repo}"
    if site.token is None:
        return (
            f"{ref.repo} is open only to those with a token ({refused.status} {refused.code or 'without a reason'}): where its "
            f"page asks for it, agree to its terms at {page}, then set {site.token_variable} and pull again"
        )
    return (
        f"the token in {site.token_variable} may not read {ref.repo} ({refused.status} {refused.code or 'without a reason'}): "
        f"ask for access at {page}, or set another token"
    )
