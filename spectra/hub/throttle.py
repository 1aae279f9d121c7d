"""One pace for all threads: when a server says wait, every thread waits."""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Event, Lock

from spectra.hub.failures import HubError
from spectra.hub.http import parse_ratelimit_headers
from spectra.hub.limits import NetworkLimits

__all__ = ["Throttle", "pause_asked"]

_SECONDS = re.compile(r"\d{1,9}(?:\.\d{1,9})?")
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class Throttle:
    """Keeps, for each pool of requests, the time until which it is spent.

    A hub counts requests for files and for its API apart, and by address or
    token: whatever thread learns of a pause, all that ask of the same pool
    keep it.
    """

    def __init__(self, limits: NetworkLimits, /) -> None:
        self._longest = limits.retry_after
        self._until: dict[str, float] = {}
        self._lock = Lock()
        self._stopped = Event()

    def wait(self, pool: str, /) -> None:
        """Return when the pool may be asked again, at once if it may."""
        while (left := self._until.get(pool, 0.0) - time.monotonic()) > 0:
            self.sleep(left)

    def sleep(self, seconds: float, /) -> None:
        """Wait so long, or raise as soon as the throttle is stopped."""
        if self._stopped.wait(seconds):
            raise HubError("E_NETWORK", "the connection to the hub was closed")

    def learn(
        self, pool: str, status: int, headers: Mapping[str, str], /
    ) -> bool:
        """Keep the pause that an answer asks for.

        Parameters
        ----------
        pool
            What was asked: the same name is given to `wait`.
        status, headers
            Of the answer.

        Returns
        -------
        bool
            Whether the answer said how long to wait.

        Raises
        ------
        HubError
            E_RATE_LIMIT where it refuses for longer than anybody waits.
        """
        seconds = pause_asked(status, headers)
        if seconds is None:
            return False
        if seconds > self._longest:
            if status not in _BUSY:
                return False
            raise _too_long(seconds)
        with self._lock:
            end = time.monotonic() + seconds
            self._until[pool] = max(self._until.get(pool, 0.0), end)
        return True

    def stop(self) -> None:
        """End every wait, now and from now on."""
        self._stopped.set()


def pause_asked(status: int, headers: Mapping[str, str], /) -> float | None:
    """Return the seconds that an answer asks to wait, None where it does not.

    What cannot be read, or lies in the past, asks for nothing.
    """
    asked = [_reset(headers)]
    if status in _BUSY:
        asked.append(_retry_after(headers))
    return max((s for s in asked if s and s > 0), default=None)


def _reset(headers: Mapping[str, str]) -> float | None:
    try:
        found = parse_ratelimit_headers(headers)
    except ValueError:  # thousands of digits
        return None
    if found is None or found.remaining > 0:
        return None
    return float(min(found.reset_in_seconds, 10**9))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    date = _date(text)
    if date is None:
        return None
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return (date - now).total_seconds()


def _date(text: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _too_long(seconds: float) -> HubError:
    when = datetime.now(UTC) + timedelta(seconds=min(seconds, 10**9))
    return HubError(
        "E_RATE_LIMIT",
        f"the hub answers no more requests until {when:%Y-%m-%d %H:%M} UTC",
    )
