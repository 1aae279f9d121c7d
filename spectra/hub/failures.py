"""Failures of the way to a hub, and how often each is tried again."""

import random
from collections.abc import Callable
from typing import TypeVar

from spectra.core.errors import IncompleteError, SpectraError
from spectra.hub.limits import NetworkLimits

__all__ = ["Attempts", "HubError", "Transient"]


T = TypeVar("T")


class HubError(IncompleteError):
    """The hub, or the way to it, does not let us finish."""


class Transient(Exception):  # noqa: N818 - a failure that may pass
    """A failure that may be gone at the next attempt.

    Attributes
    ----------
    error
        What to raise once it has been tried often enough.
    mismatch
        The answer was not what was asked for: fewer attempts are worth it.
    at_once
        The next attempt need not wait: it goes another way, or the throttle
        knows how long.
    """

    def __init__(
        self,
        error: SpectraError,
        *,
        mismatch: bool = False,
        at_once: bool = False,
    ) -> None:
        super().__init__(str(error))
        self.error, self.mismatch, self.at_once = error, mismatch, at_once


class Attempts:
    """What one read may still fail; progress makes it as new.

    Parameters
    ----------
    limits
        Number of attempts, and the wait between them.
    sleep
        Waits so many seconds, or raises.
    """

    def __init__(
        self, limits: NetworkLimits, sleep: Callable[[float], None], /
    ) -> None:
        self._limits, self._sleep = limits, sleep
        self._failures = self._mismatches = 0

    def run(self, read: Callable[[], T], /) -> T:
        """Return what `read` does, as soon as it does."""
        while True:
            try:
                return read()
            except Transient as failure:
                self.after(failure)

    def after(self, failure: Transient, /, gained: int = 0) -> None:
        """Wait for the next attempt, or raise what the failure stands for."""
        limits = self._limits
        if gained >= limits.progress:
            self._failures = 0
        self._failures += 1
        self._mismatches += failure.mismatch
        if (
            self._failures >= limits.attempts
            or self._mismatches >= limits.mismatches
        ):
            raise failure.error
        if not failure.at_once:
            longest = limits.backoff * 2 ** (self._failures - 1)
            jitter = random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            self._sleep(jitter * min(longest, limits.backoff_cap))
