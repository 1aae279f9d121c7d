"""huggingface_hub's own client, held to our rules while it writes.

It sends the token to wherever the hub says that an upload is to be confirmed,
follows redirects, and waits for ever. Here the token is for one origin, what
is uploaded goes over https, and every wait has an end.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from huggingface_hub import constants, set_client_factory
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    _http,
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from spectra.hub.endpoint import Endpoint
from spectra.hub.failures import HubError
from spectra.hub.http import httpx
from spectra.hub.redact import hush, scrub
from spectra.hub.urls import is_loopback, origin_of, parse_url

__all__ = ["guarded"]

_CONNECT = 30.0
_SILENCE = 300.0
"""Seconds: a hub may take minutes for a large commit."""


@contextmanager
def guarded(endpoint: Endpoint, /) -> Iterator[None]:
    """Hold every request of huggingface_hub in a block to the rules.

    They hold for all threads of the process: there is one client.

    Parameters
    ----------
    endpoint
        The hub, and the token that only its origin gets.
    """
    hush(_http.__name__)
    before = getattr(_http, "_GLOBAL_CLIENT_FACTORY", None)
    before = before or _http.default_client_factory

    def made() -> httpx.Client:
        client: httpx.Client = before()
        hooks = client.event_hooks
        hooks["request"] = [*hooks["request"], partial(_check, endpoint)]
        client.event_hooks = hooks
        client.timeout = httpx.Timeout(_SILENCE, connect=_CONNECT)
        return client

    set_client_factory(made)
    try:
        with _quiet():
            yield
    finally:
        set_client_factory(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Have no progress bars where nobody sees them move."""
    is_seen = sys.stderr is not None and sys.stderr.isatty()
    asked_for = constants.HF_HUB_DISABLE_PROGRESS_BARS is False
    if is_seen or asked_for or are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _check(endpoint: Endpoint, request: httpx.Request, /) -> None:
    """Take our token from a request that is not for the hub itself."""
    url = parse_url(str(request.url))
    origin = origin_of(url)
    if origin == endpoint.origin:
        return
    host = origin.host.strip("[]")
    is_ours = endpoint.is_loopback and is_loopback(host)
    if origin.scheme != "https" and not is_ours:
        raise HubError(
            "E_REDIRECT",
            f"the hub wants an upload sent to {scrub(str(url))}: not https",
        )
    token = endpoint.token
    sent = request.headers.get("authorization")
    if token is not None and sent == token.authorization:
        del request.headers["authorization"]
