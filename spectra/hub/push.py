"""Files put into a dataset repository of a hub: one commit, or none."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import HfHubHTTPError

from spectra.core.errors import AuthError, SpectraError, UsageError
from spectra.core.text import printable
from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError
from spectra.hub.guarded import guarded
from spectra.hub.http import httpx
from spectra.hub.redact import scrub
from spectra.hub.reference import is_repository
from spectra.hub.refusals import LOGIN

__all__ = ["Destination", "Notice", "destination", "push"]

RUN = "run.h5"
"""A repository that holds this is one of ours."""

_OF_THE_HUB = frozenset({".gitattributes", "README.md"})
"""What the hub itself puts into a new repository."""

_REFUSED = (HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)

Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """A dataset repository that may not be there yet.

    Attributes
    ----------
    repo
        ``org/name``.
    private
        Whether it must be private.
    endpoint
        Of the hub, with a token.
    """

    repo: str
    private: bool
    endpoint: Endpoint

    @property
    def url(self) -> str:
        """Return the address of its page."""
        return f"{self.endpoint.url}/datasets/{self.repo}"


def destination(repo: str, /, *, private: bool = False) -> Destination:
    """Return where to push to; nothing is asked of the hub.

    Parameters
    ----------
    repo
        ``org/name``.
    private
        Whether it must be private.

    Raises
    ------
    UsageError
        E_PUSH where it is no name, E_ENDPOINT where the hub has none.
    AuthError
        Where there is no token.
    HubError
        E_OFFLINE.
    """
    sound = repo.isprintable() and repo.count("/") == 1 and is_repository(repo)
    if not sound:
        raise UsageError(
            "E_PUSH",
            f"{printable(repo)!r} is not the name of a repository",
            advice="write ORG/NAME, of letters, digits, '-', '_' and '.'",
        )
    if constants.HF_HUB_OFFLINE:
        raise HubError("E_OFFLINE", "HF_HUB_OFFLINE is set: nothing is pushed")
    endpoint = Endpoint()
    if endpoint.token is None:
        raise AuthError(
            "to push takes a token, and there is none", advice=LOGIN
        )
    return Destination(repo, private, endpoint)


def push(
    to: Destination,
    files: Mapping[str, Path | bytes],
    /,
    *,
    message: str,
    tell: Notice,
) -> str:
    """Commit files, and return the address of the commit.

    Parameters
    ----------
    to
        Is made where it is not there.
    files
        By their path in the repository; others there stay as they are.
    message
        Of the commit.
    tell
        Called with one line, which says what goes where, before it goes.

    Raises
    ------
    UsageError
        E_PUSH where the repository is public and must not be, or holds what
        is not ours.
    AuthError
        Where the token may not write to it.
    HubError
        Where the hub cannot be reached, or refuses.
    """
    with _explained(to), guarded(to.endpoint):
        api = HfApi(endpoint=to.endpoint.url, token=_secret(to.endpoint))
        is_private = _ready(api, to)
        tell(_announced(to, files, is_private=is_private))
        commit = api.create_commit(
            to.repo,
            [CommitOperationAdd(name, what) for name, what in files.items()],
            commit_message=message,
            repo_type="dataset",
        )
        return str(commit.commit_url)


def _secret(endpoint: Endpoint) -> str | None:
    token = endpoint.token
    return None if token is None else token.authorization.split()[1]


def _ready(api: HfApi, to: Destination) -> bool:
    """Make the repository, or look at it; return whether it is private."""
    api.create_repo(
        to.repo,
        repo_type="dataset",
        private=to.private or None,
        exist_ok=True,
    )
    found = api.dataset_info(to.repo)
    if to.private and not found.private:
        raise UsageError(
            "E_PUSH",
            f"{to.url} is there already, and public",
            advice="make it private there, or name another ORG/NAME",
        )
    names = {each.rfilename for each in found.siblings or ()}
    if RUN not in names and names - _OF_THE_HUB:
        raise UsageError(
            "E_PUSH",
            f"{to.url} holds {scrub(min(names - _OF_THE_HUB), 60)} and no"
            f" {RUN}: it is not of spectra",
            advice="name another ORG/NAME",
        )
    return bool(found.private)


def _announced(
    to: Destination, files: Mapping[str, Path | bytes], *, is_private: bool
) -> str:
    sizes = {
        name: len(what) if isinstance(what, bytes) else what.stat().st_size
        for name, what in files.items()
    }
    listed = ", ".join(f"{name} {_size(n)}" for name, n in sizes.items())
    return (
        f"pushing {len(sizes)} files, {_size(sum(sizes.values()))}, to"
        f" {to.url} ({'private' if is_private else 'public'}): {listed}"
    )


def _size(nbytes: int) -> str:
    if nbytes < 10_000:
        return f"{nbytes} B"
    if nbytes < 10_000_000:
        return f"{nbytes / 1e3:.0f} kB"
    return f"{nbytes / 1e6:.1f} MB"


@contextmanager
def _explained(to: Destination) -> Iterator[None]:
    """Turn what huggingface_hub raises into one of our errors."""
    try:
        yield
    except Exception as error:
        for cause in _chain(error):
            if isinstance(cause, SpectraError):
                raise cause from None
            if isinstance(cause, HfHubHTTPError):
                raise _refused(to, cause) from None
            if isinstance(cause, httpx.HTTPError):
                what = scrub(str(cause)) or type(cause).__name__
                raise _broken("E_NETWORK", what) from None
        if isinstance(error, (ValueError, RuntimeError, KeyError)):
            what = f"{type(error).__name__}: {scrub(str(error))}"
            raise _broken("E_BAD_RESPONSE", what) from error
        raise


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _refused(to: Destination, error: HfHubHTTPError) -> SpectraError:
    """Return what a refusal by the hub, or by its storage, means."""
    status = error.response.status_code
    said = scrub(error.server_message or "")
    text = f"status {status}" + (f": {said}" if said else "")
    host = error.response.url.host
    if not str(error.response.url).startswith(f"{to.endpoint.url}/"):
        return _broken("E_NETWORK", f"{host} refuses an upload ({text})")
    if status == HTTPStatus.UNAUTHORIZED:
        return AuthError(f"the hub refuses the token ({text})", advice=LOGIN)
    if status in _REFUSED:
        return AuthError(
            f"the token may not write to {to.repo} ({text})",
            advice="use one that may, or name another ORG/NAME",
        )
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return _broken("E_RATE_LIMIT", f"{host} asks to wait ({text})")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _broken("E_NETWORK", f"{host} fails ({text})")
    return _broken("E_BAD_RESPONSE", f"{host} refuses a request ({text})")


def _broken(code: str, what: str) -> HubError:
    return HubError(code, f"{what}; what was committed is all, or nothing")
