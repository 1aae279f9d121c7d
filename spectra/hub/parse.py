"""From what a user types for a remote SOURCE to what it refers to."""

import re
from typing import NoReturn
from urllib.parse import SplitResult, unquote, urlsplit

from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.hub.reference import (
    SPECIAL,
    Reference,
    is_inside,
    is_repository,
)

__all__ = ["parse_reference"]

_HOSTS = ("huggingface.co", "hf.co")
_KINDS = ("datasets", "spaces", "kernels", "buckets")
_ROUTES = ("tree", "blob", "resolve", "raw", "blame")
_SCHEME = re.compile(r"(hf|https?)://", re.IGNORECASE)
_BODY = re.compile(
    r"(?P<repo>[^/@]+(?:/[^/@]+)?)(?:@(?P<at>.+)|/(?P<path>.+))?"
)
_REVISION = re.compile(rf"({SPECIAL}|[^/]+)(?:/(.*))?")
# What `git check-ref-format` forbids anywhere in a name.
_NOT_IN_REVISION = re.compile(r"[\s~^:?*\[\\]|@\{|\.\.")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SECRET = re.compile(r"(?<=//)[^/?#]*@|\?.*")
_FORMS = "write org/name, org/name@revision or hf://org/name@revision/folder"


def parse_reference(text: str, /, *, endpoint: str | None = None) -> Reference:
    """Return what a text refers to on a hub; nothing is asked of it.

    Parameters
    ----------
    text
        ``org/name``, ``org/name@revision``, a bare ``name``, ``hf://`` or the
        address of a web page. In the forms without ``://`` all that follows
        the ``@`` is the revision; in the others a slash in it is ``%2F``,
        except in ``refs/pr/3`` and the like.
    endpoint
        Of the hub that is configured, whose addresses count too.

    Returns
    -------
    Reference
        With a sound name, revision and path, which need not exist.

    Raises
    ------
    UsageError
        E_SOURCE where it refers to nothing, or to what is no model.
    """
    if _CONTROL.search(text):
        _refuse(text, "holds control characters")
    scheme = _SCHEME.match(text)
    if scheme is None and text.partition("/")[0].lower() not in _HOSTS:
        found = _plain(text)
    elif scheme and scheme[1].lower() == "hf":
        found = _uri(text, text[scheme.end() :])
    else:
        found = _web(text if scheme else f"https://{text}", endpoint)
    _check(found, text)
    return found


def _plain(text: str) -> Reference:
    repo, at, revision = text.partition("@")
    _check_kind(repo.partition("/")[0], text)
    return Reference(repo, revision if at else None)


def _uri(text: str, body: str) -> Reference:
    first, _, rest = body.partition("/")
    _check_kind(first, text)
    match = _BODY.fullmatch((rest if first == "models" else body).rstrip("/"))
    if match is None or (match["path"] and "/" not in match["repo"]):
        _refuse(text, "names no repository")
    if match["at"] is None:
        return Reference(match["repo"], None, match["path"] or "")
    revision, path = _split(match["at"], text)
    return Reference(match["repo"], revision, path)


def _web(text: str, endpoint: str | None) -> Reference:
    steps = _steps(text, endpoint)
    _check_kind("".join(steps[:1]), text)
    if steps[:1] == ["models"]:
        steps = steps[1:]
    if len(steps) == 2 or (steps[2:3] and steps[2] in _ROUTES):
        repo, rest = "/".join(steps[:2]), steps[3:]
    elif len(steps) == 1 or (steps[1:2] and steps[1] in _ROUTES):
        repo, rest = steps[0], steps[2:]
    else:
        _refuse(text, "is not the address of a model, a folder or a file")
    if not rest:
        return Reference(repo)
    revision, path = _split("/".join(rest), text)
    return Reference(repo, revision, _decoded(path, text))


def _steps(text: str, endpoint: str | None) -> list[str]:
    """Return the path of a web address below the hub it belongs to."""
    try:
        url, hub = urlsplit(text), urlsplit(endpoint or "")
        ours = endpoint is not None and _server(url) == _server(hub)
        public = url.hostname in _HOSTS and url.port in {None, 80, 443}
    except ValueError:
        _refuse(text, "is not an address")
    prefix = hub.path.rstrip("/") + "/"
    path = url.path.removeprefix(prefix) if ours else url.path
    if not public and not (ours and url.path.startswith(prefix)):
        _refuse(
            text,
            "is not an address of the hub",
            "fetch it and name the local file, or set HF_ENDPOINT to that hub",
        )
    return [step for step in path.split("/") if step]


def _server(url: SplitResult) -> tuple[str | None, int | None]:
    standard = {"https": 443, "http": 80}.get(url.scheme)
    return url.hostname, url.port or standard


def _split(text: str, whole: str) -> tuple[str, str]:
    """Return the revision and the path that follow an ``@``."""
    match = _REVISION.fullmatch(text)
    if match is None:
        _refuse(whole, "has an empty revision")
    return _decoded(match[1], whole), match[2] or ""


def _decoded(text: str, whole: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        _refuse(whole, "holds escapes that are not UTF-8")


def _check(found: Reference, text: str) -> None:
    # An organisation "models" would read as the kind of repository.
    if not is_repository(found.repo) or found.repo.startswith("models/"):
        _refuse(text, "is neither here nor the name of a model on a hub")
    if found.revision is not None and not _is_revision(found.revision):
        _refuse(text, "has a revision that no branch, tag or commit can have")
    if found.path and (
        _CONTROL.search(found.path) or not is_inside(found.path)
    ):
        _refuse(text, "has a path that leads nowhere in its repository")


def _is_revision(text: str) -> bool:
    if _CONTROL.search(text) or _NOT_IN_REVISION.search(text):
        return False
    return is_inside(text) and text[0] != "-" and text[-1] != "."


def _check_kind(first: str, text: str) -> None:
    if first in _KINDS:
        _refuse(text, f"is of the hub's {first}, not a model")


def _refuse(text: str, what: str, advice: str = _FORMS) -> NoReturn:
    # A password or a signature in an address is not repeated.
    shown = _SECRET.sub("", text) if text[:4].lower() == "http" else text
    raise UsageError("E_SOURCE", f"{printable(shown)} {what}", advice=advice)
