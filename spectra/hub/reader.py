"""The requests for one file: where to, how often, and what becomes of them."""

from http import HTTPStatus

from spectra.core.errors import Quarantine
from spectra.hub.answer import Answer
from spectra.hub.breakage import network
from spectra.hub.client import Client
from spectra.hub.failures import Transient
from spectra.hub.http import httpx
from spectra.hub.pin import Pin
from spectra.hub.refusals import refusal
from spectra.hub.scatter import Scatter
from spectra.hub.urls import origin_of

__all__ = ["Reader"]

_ANSWERS = (
    HTTPStatus.OK,
    HTTPStatus.PARTIAL_CONTENT,
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
)


class Reader:
    """Fetches bytes of one file; any number of threads may.

    Parameters
    ----------
    client
        Of the hub.
    url
        Of the file at the hub, which may send us on.
    pin
        What the file has to be.
    repo
        Whose file it is.
    """

    def __init__(
        self, client: Client, url: httpx.URL, pin: Pin, repo: str, /
    ) -> None:
        self._client, self._url, self._pin, self._repo = client, url, pin, repo
        self._link: httpx.URL | None = None
        self._may_reuse = True
        self._skipped = 0
        self.ignores_ranges = False

    def fetch(self, scatter: Scatter, stop: int, /) -> None:
        """Pass on all bytes up to `stop`, or to the end of the file."""
        attempts = self._client.attempts()
        while self._pin.nbytes is None or scatter.position < min(
            stop, self._pin.nbytes
        ):
            before = scatter.position
            try:
                self._request(scatter, stop)
            except Transient as failure:
                self._link = None
                attempts.after(failure, gained=scatter.position - before)

    def _request(self, scatter: Scatter, stop: int) -> None:
        start, link = scatter.position, self._link
        with self._client.open(
            link or self._url, byte_range=(start, stop)
        ) as answer:
            if answer.status not in _ANSWERS:
                self._refused(answer, reused=link is not None)
            skip = self._pin.check(answer, start, stop)
            if answer.status == HTTPStatus.OK:
                self._allow_stream(skip)
            self._keep_link(answer)
            end = min(stop, self._pin.nbytes or 0)
            self._take(answer, scatter, skip=skip, end=end)

    def _take(
        self, answer: Answer, scatter: Scatter, *, skip: int, end: int
    ) -> None:
        if scatter.position >= end:
            return
        for piece in answer.pieces():
            kept = piece[skip : skip + end - scatter.position]
            skip -= min(skip, len(piece))
            scatter.put(kept)
            if scatter.position >= end:
                return
        raise network(f"{answer.url.host}: the body ends too early")

    def _refused(self, answer: Answer, *, reused: bool) -> None:
        endpoint = self._client.endpoint
        if origin_of(answer.url) != endpoint.origin:
            self._may_reuse = self._may_reuse and not reused
            raise Transient(
                Quarantine(
                    "LINK_REFUSED",
                    f"{self._pin.name} lies at {answer.url.host}, which"
                    f" refuses it with status {answer.status}",
                ),
                mismatch=True,
                at_once=True,
            )
        raise refusal(
            answer.status,
            answer.headers,
            url=endpoint.url,
            repo=self._repo,
            has_token=endpoint.token is not None,
        )

    def _keep_link(self, answer: Answer) -> None:
        """Keep where the hub sent us: it is not asked again for each range.

        Some links are signed for one range only.
        """
        foreign = origin_of(answer.url) != self._client.endpoint.origin
        bound = b"signed-range" in answer.url.query.lower()
        if self._may_reuse and foreign and not bound:
            self._link = answer.url

    def _allow_stream(self, skip: int) -> None:
        """Take a whole file for a part of it, while little is thrown away."""
        self.ignores_ranges = True
        self._skipped += skip
        if self._skipped > self._client.limits.max_stream:
            raise Quarantine(
                "RANGE_IGNORED",
                f"{self._pin.name} is sent whole where a part was asked for,"
                f" and is too long to read past {skip} bytes of it",
            )
