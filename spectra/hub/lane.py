"""One request at a time, over connections that can be cut from outside."""

import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

from spectra.core.provenance import version
from spectra.hub.breakage import explain
from spectra.hub.http import httpx
from spectra.hub.limits import NetworkLimits
from spectra.hub.redact import hush
from spectra.hub.watchdog import deadline

__all__ = ["Lane"]

_HEADERS = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "User-Agent": f"spectra/{version()}",
}
_IDLE_CONNECTIONS = 4
_IDLE_SECONDS = 30.0

# Both write whole addresses to their logs, signed ones too.
hush(httpx.__name__, f"{httpx.__name__.replace('httpx', 'httpcore')}.http11")


class Lane:
    """An HTTP client for whichever thread has it, a connection a host.

    It follows no redirect and keeps no cookie; proxies and certificates come
    from the environment. Only one thread may use it at a time, but any may
    `cut` or `end` it.

    Parameters
    ----------
    tls
        What certificates are checked against.
    limits
        Of the time a connection and an answer may take.
    check
        Is told the host asked for and the address reached, before anything is
        sent there; it may raise.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        limits: NetworkLimits,
        check: Callable[[str, str], None],
        /,
    ) -> None:
        self._limits, self._check = limits, check
        self._streams: dict[tuple[str, int | None], Any] = {}
        self._ended = False
        self._client = httpx.Client(
            verify=tls,
            headers=_HEADERS,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            timeout=httpx.Timeout(limits.first_byte, connect=limits.connect),
            limits=httpx.Limits(
                max_keepalive_connections=_IDLE_CONNECTIONS,
                keepalive_expiry=_IDLE_SECONDS,
            ),
        )

    @contextmanager
    def get(
        self, url: httpx.URL, headers: Mapping[str, str], /
    ) -> Iterator[httpx.Response]:
        """Yield the answer to a request, its body not read yet.

        Parameters
        ----------
        url
            What to ask for.
        headers
            More of them.

        Yields
        ------
        httpx.Response
            Closed at the end of the block.

        Raises
        ------
        Transient
            Where there is no answer in time, or no connection.
        HubError
            Where there never will be.
        """
        request = self._client.build_request(
            "GET",
            url,
            headers=headers,
            extensions={"trace": self._tracer(url)},
        )
        seconds = self._limits.connect + self._limits.first_byte
        with deadline(seconds, self.cut) as expired:
            try:
                response = self._client.send(request, auth=None, stream=True)
            except (httpx.TransportError, UnicodeError) as error:
                raise explain(
                    error, url.host, seconds if expired.is_set() else None
                ) from None
        try:
            yield response
        finally:
            response.close()

    def cut(self) -> None:
        """End every read of this lane, from whatever thread."""
        for stream in tuple(self._streams.values()):
            reached = stream.get_extra_info("socket")
            with suppress(OSError):
                socket.socket.shutdown(reached, socket.SHUT_RDWR)

    def end(self) -> None:
        """End every read, those too whose connection is yet to come."""
        self._ended = True
        self.cut()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _tracer(self, url: httpx.URL) -> Callable[[str, Any], None]:
        """Return what is told of each connection that a request opens."""
        direct = False

        def trace(event: str, found: Any) -> None:
            nonlocal direct
            if event == "connection.connect_tcp.started":
                asked = found["host"].strip("[]").lower()
                direct = asked == url.raw_host.decode("ascii").strip("[]")
            elif event.endswith((".connect_tcp.complete", "tls.complete")):
                stream = found["return_value"]
                self._streams[url.host, url.port] = stream
                if self._ended:
                    # Whoever ended the lane may not have seen this one.
                    self.cut()
                if direct and event.endswith(".connect_tcp.complete"):
                    self._check_reached(url, stream)

        return trace

    def _check_reached(self, url: httpx.URL, stream: Any) -> None:
        try:
            self._check(url.host, _peer(stream))
        except BaseException:
            stream.close()
            raise


def _peer(stream: Any) -> str:
    """Return the address at a connection's other end, if it still has one."""
    try:
        return str(stream.get_extra_info("server_addr")[0])
    except OSError as error:
        raise httpx.ConnectError(str(error)) from error
