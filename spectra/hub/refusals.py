"""Refusals of a hub: one repository's fault, the run's, or a bad moment."""

from collections.abc import Mapping
from http import HTTPStatus

from spectra.core.errors import AuthError, Quarantine, SpectraError
from spectra.hub.failures import HubError, Transient
from spectra.hub.redact import scrub

__all__ = ["LOGIN", "refusal", "transient"]

_MAY_PASS = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
)
_NOT_YOURS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_OF_A_REPOSITORY = (
    "DisabledRepo",
    "EntryNotFound",
    "GatedRepo",
    "RepoNotFound",
    "RevisionNotFound",
)
LOGIN = "log in with: hf auth login, or set HF_TOKEN"


def transient(
    status: int, host: str, /, *, at_once: bool = False
) -> Transient | None:
    """Return the failure that an answer stands for if it may pass.

    Parameters
    ----------
    status
        Of the answer.
    host
        Who gave it.
    at_once
        Whether somebody else keeps the pause.
    """
    if status not in _MAY_PASS and status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return None
    code = "E_NETWORK"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        code = "E_RATE_LIMIT"
    what = f"{host} answers with status {status}, again and again"
    return Transient(HubError(code, what), at_once=at_once)


def refusal(
    status: int,
    headers: Mapping[str, str],
    /,
    *,
    url: str,
    repo: str | None,
    has_token: bool,
) -> SpectraError:
    """Return what a hub's final refusal means.

    Parameters
    ----------
    status, headers
        Of the answer.
    url
        Of the hub, without a path.
    repo
        The repository that was asked for, which alone is set aside; None
        where the refusal concerns all of them.
    has_token
        Whether a token was sent.
    """
    said = scrub(headers.get("x-error-message", ""))
    text = f"status {status}" + (f": {said}" if said else "")
    code = headers.get("x-error-code", "")
    of_token = has_token and code not in _OF_A_REPOSITORY
    if status == HTTPStatus.UNAUTHORIZED and of_token:
        return AuthError(f"the hub refuses the token ({text})", advice=LOGIN)
    if repo is not None:
        return _set_aside(repo, code, text, f"{url}/{repo}")
    if status in _NOT_YOURS:
        return AuthError(f"the hub asks for a token ({text})", advice=LOGIN)
    return HubError("E_BAD_RESPONSE", f"the hub refuses a request ({text})")


def _set_aside(repo: str, code: str, text: str, page: str) -> Quarantine:
    if code == "GatedRepo":
        return Quarantine(
            "GATED", f"{repo} is gated: accept its terms at {page} ({text})"
        )
    if code == "RevisionNotFound":
        return Quarantine("REVISION", f"{repo} has no such revision ({text})")
    if code == "EntryNotFound":
        return Quarantine("ENTRY", f"{repo} has no such file ({text})")
    if "disabled" in text.lower() or text.startswith("status 451"):
        return Quarantine("DISABLED", f"{repo} is disabled ({text})")
    return Quarantine(
        "REPO_GONE", f"{repo} is private, or there is none ({text})"
    )
