"""Which hub is asked, who asks, and where it may send us on."""

import os
from collections.abc import Iterable
from typing import Literal, NoReturn

from spectra.core.errors import AuthError, UsageError
from spectra.hub.failures import HubError
from spectra.hub.redact import scrub
from spectra.hub.urls import Origin, is_loopback, origin_of, parse_url

__all__ = ["Endpoint", "Token", "require_online"]

_DEFAULT = "https://huggingface.co"
# The hub's own storage hosts: cdn-lfs*.hf.co, *.xethub.hf.co and
# cdn-lfs.huggingface.co.
_STORAGE = (".huggingface.co", ".hf.co")


class Token:
    """A secret that no text shows and no other process is handed."""

    __slots__ = ("_secret",)

    def __init__(self, secret: str, /) -> None:
        self._secret = secret.strip()
        if not self._secret or not all("!" <= c <= "~" for c in self._secret):
            raise AuthError(
                "the hub's token holds characters that no token has",
                advice="log in again with: hf auth login",
            )

    @property
    def authorization(self) -> str:
        """Return the value of the header of that name."""
        return f"Bearer {self._secret}"

    def __repr__(self) -> str:
        return "Token(...)"

    def __reduce_ex__(self, protocol: object, /) -> NoReturn:
        raise TypeError("a token is not sent to another process")


class Endpoint:
    """A hub's address, with the token that only its origin gets.

    Plain http to another machine is taken as it was asked for while no token
    is involved: what is read then can be altered on the way, but nothing of
    ours is given away.

    Parameters
    ----------
    url
        Default: ``HF_ENDPOINT``, or the public hub. It may have a path.
    token
        Default: the one that huggingface_hub finds; False for none.
    hosts
        More hosts that files may come from, as ``cdn.example.org``, or
        ``.example.org`` for all below it; ``SPECTRA_HUB_HOSTS`` lists others,
        with commas between.
    insecure
        Send the token over plain http to another machine.

    Raises
    ------
    UsageError
        E_ENDPOINT where `url` is no hub's address, or plain http and there is
        a token.
    AuthError
        Where the token cannot be one.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | Literal[False] | None = None,
        *,
        hosts: Iterable[str] = (),
        insecure: bool = False,
    ) -> None:
        text = url or os.environ.get("HF_ENDPOINT", "") or _DEFAULT
        self.url, self.origin = _normalised(text)
        self.is_loopback = is_loopback(self.origin.host.strip("[]"))
        named = os.environ.get("SPECTRA_HUB_HOSTS", "").split(",")
        self.hosts = frozenset(
            host.strip().lower() for host in (*hosts, *named) if host.strip()
        )
        self.token = _find_token(token)
        clear = self.origin.scheme == "http" and not self.is_loopback
        if self.token and clear and not insecure:
            raise UsageError(
                "E_ENDPOINT",
                f"{self.url} is plain http: anybody on the way could read the"
                " token",
                advice="use https, or turn the token off",
            )

    def __repr__(self) -> str:
        return f"Endpoint({self.url!r})"

    def headers_for(self, origin: Origin, /) -> dict[str, str]:
        """Return what only the hub itself may be told: the token."""
        if self.token is None or origin != self.origin:
            return {}
        return {"Authorization": self.token.authorization}

    def is_named(self, host: str, /) -> bool:
        """Return whether the user named this very host."""
        return host == self.origin.host or host in self.hosts

    def is_allowed(self, host: str, /) -> bool:
        """Return whether a file may come from this host."""
        below = (*_STORAGE, *(h for h in self.hosts if h.startswith(".")))
        return self.is_named(host) or host.endswith(below)


def require_online() -> None:
    """Raise E_OFFLINE where the environment forbids any request."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise HubError(
            "E_OFFLINE", "HF_HUB_OFFLINE is set, and not all is in the cache"
        )


def _normalised(text: str) -> tuple[str, Origin]:
    try:
        url = parse_url(text.strip())
    except ValueError as error:
        raise _no_address(text, str(error)) from None
    if url.query or url.fragment:
        raise _no_address(text, "a query or fragment")
    return str(url).rstrip("/"), origin_of(url)


def _no_address(text: str, why: str) -> UsageError:
    return UsageError(
        "E_ENDPOINT",
        f"{scrub(text)} is not a hub's address: {why}",
        advice="write it as https://HOST",
    )


def _find_token(token: str | Literal[False] | None) -> Token | None:
    if token is False:
        return None
    if token is None:
        from huggingface_hub import get_token

        token = get_token()
    return Token(token) if token else None
