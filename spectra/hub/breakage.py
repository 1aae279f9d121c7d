"""What broke between us and a server, said in words."""

import socket
import ssl

from spectra.hub.failures import HubError, Transient
from spectra.hub.http import httpx
from spectra.hub.redact import scrub

__all__ = ["explain", "network"]

# A connection that ends during the handshake is no verdict on certificates.
_CUT_SHORT = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

_WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its name cannot be resolved"),
    (ConnectionRefusedError, "it refuses connections"),
    (ConnectionResetError, "it reset the connection"),
    (httpx.ConnectTimeout, "no connection in time"),
    (httpx.TimeoutException, "no byte in time"),
    (httpx.RemoteProtocolError, "the connection broke off"),
    (httpx.ProxyError, "the proxy fails"),
)


def explain(
    error: Exception, host: str, expired: float | None = None, /
) -> Transient | HubError:
    """Return what to raise instead of an error of the HTTP library.

    Parameters
    ----------
    error
        Of a request to `host`.
    host
        The server's name.
    expired
        Seconds after which we broke it off ourselves, None if we did not.
    """
    if expired is not None:
        return network(f"{host}: no answer within {expired:g} s")
    causes = _causes(error)
    for cause in causes:
        if isinstance(cause, ssl.SSLError) and not isinstance(
            cause, _CUT_SHORT
        ):
            return HubError(
                "E_NETWORK", f"{host}: TLS fails: {scrub(str(cause))}"
            )
    for kind, words in _WORDS:
        if any(isinstance(cause, kind) for cause in causes):
            return network(f"{host}: {words} ({scrub(str(error), 120)})")
    return network(f"{host}: {scrub(str(error), 120) or type(error).__name__}")


def network(what: str, /) -> Transient:
    """Return a failure of the network that may pass."""
    return Transient(HubError("E_NETWORK", what))


def _causes(error: BaseException) -> list[BaseException]:
    found: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in found:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found
