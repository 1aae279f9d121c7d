"""Requests to one hub: a token for its origin alone, and an end to each."""

import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, LifoQueue
from typing import Self

from spectra.hub.answer import Answer, Hop
from spectra.hub.endpoint import Endpoint, require_online
from spectra.hub.failures import Attempts, HubError, Transient
from spectra.hub.http import httpx
from spectra.hub.lane import Lane
from spectra.hub.limits import NetworkLimits
from spectra.hub.pages import Page, read_page
from spectra.hub.redirects import check_address, next_hop, refused
from spectra.hub.refusals import transient
from spectra.hub.throttle import Throttle
from spectra.hub.traffic import Meter, Traffic
from spectra.hub.urls import origin_of, parse_url

__all__ = ["Client"]

_REDIRECTS = (301, 302, 303, 307, 308)
_DRAIN = 64 * 2**10
_CLOSING_SECONDS = 5.0

Parameters = Iterable[tuple[str, str | int | bool]]


class Client:
    """Asks a hub, from any number of threads; use it as a context manager.

    Parameters
    ----------
    endpoint
        The hub; default: that of the environment.
    limits
        On time, attempts, bytes and connections.
    """

    def __init__(
        self,
        endpoint: Endpoint | None = None,
        /,
        *,
        limits: NetworkLimits | None = None,
    ) -> None:
        self.endpoint = endpoint or Endpoint()
        self.limits = limits or NetworkLimits()
        self._throttle = Throttle(self.limits)
        self._tls: ssl.SSLContext = httpx.create_ssl_context()
        self._meter = Meter()
        self._lanes: list[Lane] = []
        self._free: LifoQueue[Lane | None] = LifoQueue()
        for _ in range(self.limits.connections):
            self._free.put(None)

    @property
    def traffic(self) -> Traffic:
        """Return the requests and bytes so far."""
        return self._meter.traffic

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every request under way, in any thread, and take no more."""
        self._throttle.stop()
        for lane in tuple(self._lanes):
            lane.end()
        with suppress(Empty):  # a lane that its user never gives back
            for _ in range(self.limits.connections):
                lane_or_none = self._free.get(timeout=_CLOSING_SECONDS)
                if lane_or_none is not None:
                    lane_or_none.close()
        for _ in range(self.limits.connections):
            self._free.put(None)  # whoever waits for one learns of the end

    def json(
        self,
        path: str,
        /,
        params: Parameters = (),
        *,
        repo: str | None = None,
    ) -> Page:
        """Return a document of the hub's API, and where the next page is.

        Parameters
        ----------
        path
            Such as ``/api/models``, or the `next` of a page.
        params
            Of the query.
        repo
            The repository that is asked about: if the hub refuses, it alone
            is set aside.

        Raises
        ------
        Quarantine
            GATED, REPO_GONE, DISABLED, REVISION, ENTRY or MOVED, with `repo`.
        AuthError
            Where the hub refuses the token.
        HubError
            E_NETWORK, E_RATE_LIMIT, E_BAD_RESPONSE, E_ENCODING, E_PAGINATION,
            E_REDIRECT or E_OFFLINE.
        """
        url = self.url(path).copy_merge_params(list(params))
        return self.attempts().run(lambda: self._json(url, repo))

    def pages(
        self,
        path: str,
        /,
        params: Parameters = (),
        *,
        start: str | None = None,
    ) -> Iterator[Page]:
        """Yield each page of a listing.

        Parameters
        ----------
        path, params
            Of the first page, as for `json`, which raises the same.
        start
            The `next` of a page, to go on after it.
        """
        seen: set[str] = set()
        page = self.json(path, params) if start is None else self.json(start)
        yield page
        while page.next is not None:
            if page.next in seen or len(seen) >= self.limits.pages - 1:
                raise HubError(
                    "E_PAGINATION", f"the listing {path} does not end"
                )
            seen.add(page.next)
            page = self.json(page.next)
            yield page

    def url(self, path: str, /) -> httpx.URL:
        """Return the address of a path, or of a page, of this hub.

        Raises
        ------
        ValueError
            Where it would be another server's.
        """
        base = self.endpoint.url
        if not path.startswith(("/", f"{base}/")):
            raise ValueError(f"not a path of {base}: {path}")
        url = parse_url(base + path.removeprefix(base))
        if origin_of(url) != self.endpoint.origin:
            raise ValueError(f"not a path of {base}: {path}")
        return url

    def attempts(self) -> Attempts:
        """Return what one read may fail."""
        return Attempts(self.limits, self._throttle.sleep)

    @contextmanager
    def open(
        self, url: httpx.URL, /, *, byte_range: tuple[int, int] | None = None
    ) -> Iterator[Answer]:
        """Yield the answer to one request, redirects followed.

        Parameters
        ----------
        url
            Of the hub, or where it sent us before.
        byte_range
            First byte, and the one after the last.

        Yields
        ------
        Answer
            Whatever its status, but for those that may pass.

        Raises
        ------
        Transient
            Where another attempt may help.
        HubError
            Where none will.
        """
        require_online()
        asked = {}
        if byte_range is not None:
            asked["Range"] = f"bytes={byte_range[0]}-{byte_range[1] - 1}"
        hops: list[Hop] = []
        with self._lane() as lane:
            while len(hops) <= self.limits.redirects:
                with self._ask(lane, url, asked) as response:
                    hops.append(Hop(url, response.headers))
                    if response.status_code not in _REDIRECTS:
                        yield self._answer(response, hops)
                        return
                    location = response.headers.get("location", "")
                    url = next_hop(self.endpoint, url, location)
                    with suppress(Transient):
                        # The connection can be used again if it is read out.
                        self._answer(response, hops).read(_DRAIN)
        raise refused(str(url), f"more than {self.limits.redirects} times")

    @contextmanager
    def _ask(
        self, lane: Lane, url: httpx.URL, headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        origin = origin_of(url)
        pool = origin.host
        if origin == self.endpoint.origin:
            pool = "files" if "/resolve" in url.path else "api"
        self._throttle.wait(pool)
        self._meter.asked()
        secret = self.endpoint.headers_for(origin)
        with lane.get(url, headers | secret) as response:
            status = response.status_code
            told = self._throttle.learn(pool, status, response.headers)
            failure = transient(status, url.host, at_once=told)
            if failure is not None:
                raise failure
            yield response

    @contextmanager
    def _lane(self) -> Iterator[Lane]:
        free = self._free.get()
        try:
            self._throttle.sleep(0)
            if free is None:
                free = Lane(self._tls, self.limits, self._check)
                self._lanes.append(free)
            yield free
        finally:
            self._free.put(free)

    def _check(self, host: str, address: str) -> None:
        check_address(self.endpoint, host, address)

    def _json(self, url: httpx.URL, repo: str | None) -> Page:
        require_online()
        with self._lane() as lane, self._ask(lane, url, {}) as response:
            answer = self._answer(response, [Hop(url, response.headers)])
            return read_page(
                self.endpoint, answer, limits=self.limits, repo=repo
            )

    def _answer(self, response: httpx.Response, hops: list[Hop]) -> Answer:
        return Answer(response, tuple(hops), self.limits, self._meter.received)
