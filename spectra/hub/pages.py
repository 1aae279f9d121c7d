"""One document of a hub's API, and the link from a page to the next."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from spectra.core.errors import Quarantine, SpectraError
from spectra.hub.answer import Answer
from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError, Transient
from spectra.hub.http import httpx
from spectra.hub.limits import NetworkLimits
from spectra.hub.redact import scrub
from spectra.hub.redirects import refused
from spectra.hub.refusals import refusal
from spectra.hub.urls import origin_of, parse_url
from spectra.weights.strict_json import JsonError, parse

__all__ = ["Page", "read_page"]

_DEPTH = 32
_REPOSITORY = re.compile(r".*/api/models/([^/]+/[^/]+)(?:/.*)?")


@dataclass(frozen=True, slots=True)
class Page:
    """A document, and the path of the page that follows, if one does."""

    document: Any
    next: str | None = None


def read_page(
    endpoint: Endpoint,
    answer: Answer,
    /,
    *,
    limits: NetworkLimits,
    repo: str | None,
) -> Page:
    """Return the document of an answer.

    Parameters
    ----------
    endpoint
        The hub, which alone may have the next page.
    answer
        Not read yet.
    limits
        On the length of the document.
    repo
        The repository asked about, if any.

    Raises
    ------
    SpectraError
        Where it is a refusal, or not what can be read.
    Transient
        Where it is no JSON: something between us and the hub answers.
    """
    if answer.status != HTTPStatus.OK:
        raise _refusal(endpoint, answer, repo)
    if answer.encoding:
        raise HubError(
            "E_ENCODING",
            f"the hub's answer is packed as {scrub(answer.encoding, 40)},"
            " which was not asked for",
        )
    raw = answer.read(limits.json_bytes)
    if raw is None:
        raise HubError(
            "E_BAD_RESPONSE",
            f"the hub's answer is longer than {limits.json_bytes} bytes",
        )
    try:
        document = parse(raw, depth=_DEPTH)
    except (JsonError, RecursionError) as error:
        raise Transient(
            HubError(
                "E_BAD_RESPONSE",
                f"{answer.url.host} answers with no JSON"
                f" ({scrub(str(error), 120)}); a proxy or portal may be in the"
                " way",
            )
        ) from None
    return Page(document, _next(endpoint, answer))


def _refusal(
    endpoint: Endpoint, answer: Answer, repo: str | None
) -> SpectraError:
    location = answer.headers.get("location")
    if location is not None and 300 <= answer.status < 400:
        return _moved(endpoint, answer.url, location, repo)
    return refusal(
        answer.status,
        answer.headers,
        url=endpoint.url,
        repo=repo,
        has_token=endpoint.token is not None,
    )


def _moved(
    endpoint: Endpoint, asked: httpx.URL, location: str, repo: str | None
) -> SpectraError:
    try:
        target = parse_url(str(asked.join(location)))
    except (ValueError, httpx.InvalidURL) as error:
        return refused(location, str(error))
    found = _REPOSITORY.fullmatch(target.path)
    if origin_of(target) != endpoint.origin or repo is None or not found:
        return refused(location, "its API does not do that")
    return Quarantine(
        "MOVED", f"{repo} is now {scrub(found[1])}: ask for it by that name"
    )


def _next(endpoint: Endpoint, answer: Answer) -> str | None:
    link = answer.next_link()
    if link is None:
        return None
    try:
        target = parse_url(str(answer.url.join(link)))
    except (ValueError, httpx.InvalidURL):
        raise _astray(link) from None
    same = unquote(target.path) == unquote(answer.url.path)
    if origin_of(target) != endpoint.origin or not same:
        raise _astray(link)
    if target == answer.url:
        raise _astray(link)
    return str(target)


def _astray(link: str) -> HubError:
    return HubError(
        "E_PAGINATION",
        f"the next page of a listing is said to be {scrub(link)}, which is no"
        " next page of it",
    )
