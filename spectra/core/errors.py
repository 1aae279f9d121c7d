"""What can go wrong, and with which exit code.

::

    SpectraError                     exit code
    |-- UsageError (ValueError)          2     nothing was started
    |-- IncompleteError (RuntimeError)   4     stopped early, resumable
    |-- StorageError (OSError)           5     disk full, read-only
    |   `-- LockedError                  5     another process writes the run
    |-- AuthError (PermissionError)      6     the hub's token is bad or absent
    |-- IntegrityError (ValueError)      7     stored data do not match
    |-- BudgetError (MemoryError)        8     one step does not fit --memory
    `-- Quarantine (ValueError)          3     one model or layer is set aside

What is kept of work that one of them ended is said in its notes (PEP 678).

A `Quarantine` never leaves the stage that raised it: it becomes a
`~spectra.core.catalog.Quarantined` record, and the rest goes on.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

__all__ = [
    "AuthError",
    "BudgetError",
    "IncompleteError",
    "IntegrityError",
    "LockedError",
    "Quarantine",
    "SpectraError",
    "StorageError",
    "UsageError",
]


class SpectraError(Exception):
    """The root of all errors that spectra raises on purpose."""

    exit_code: ClassVar[int] = 1
    code: str = "E_BUG"

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return how another process makes it again, whatever it took."""
        return _again, (type(self), self.args, self.__dict__)


def _again(
    kind: type[SpectraError], words: tuple[Any, ...], fields: Mapping[str, Any]
) -> SpectraError:
    error = kind.__new__(kind, *words)
    error.args = words
    error.__dict__.update(fields)
    return error


class UsageError(SpectraError, ValueError):
    """What was asked for cannot be done; nothing was started."""

    exit_code = 2

    def __init__(self, code: str, what: str, *, advice: str = "") -> None:
        self.code, self.what, self.advice = code, what, advice
        super().__init__(f"{what}; {advice}" if advice else what)


class IncompleteError(SpectraError, RuntimeError):
    """The work stopped early and can be taken up again."""

    exit_code = 4

    def __init__(self, code: str, what: str) -> None:
        self.code, self.what = code, what
        super().__init__(f"{what}; run the same command again")


class StorageError(SpectraError, OSError):
    """A file of ours could not be written or read."""

    exit_code = 5

    def __init__(self, code: str, path: str, what: str) -> None:
        self.code, self.path, self.what = code, path, what
        super().__init__(
            f"cannot write {path} ({what}); nothing that was there before is"
            " lost; free space or choose another place, then run again"
        )


class LockedError(StorageError):
    """Another process writes the same run."""

    def __init__(self, run: str, holder: str) -> None:
        super().__init__("E_RUN_LOCKED", run, holder)

    def __str__(self) -> str:
        """Return what to do, which is not what a full disk asks for."""
        return (
            f"{self.path} is being written ({self.what}); wait until that has"
            " ended, or choose another -o"
        )


class AuthError(SpectraError, PermissionError):
    """The hub refuses the token, or asks for one that is not there."""

    exit_code = 6
    code = "E_AUTH"

    def __init__(self, what: str, *, advice: str) -> None:
        self.what, self.advice = what, advice
        super().__init__(f"{what}; {advice}")


class IntegrityError(SpectraError, ValueError):
    """A file of ours does not hold what it should."""

    exit_code = 7

    def __init__(
        self,
        path: str,
        what: str,
        *,
        advice: str = "fit it again or restore a copy",
    ) -> None:
        self.code, self.path, self.what = "E_INTEGRITY", path, what
        super().__init__(f"{path} {what}; {advice}")


class BudgetError(MemoryError, SpectraError):
    """A step would need more memory than it was given; it was not started."""

    # MemoryError stands first: it alone makes its kind without a call.

    exit_code = 8
    code = "E_MEMORY"

    def __init__(self, step: str, *, needs: int, allowed: int) -> None:
        self.step, self.needs, self.allowed = step, needs, allowed
        super().__init__(
            f"{step} needs {needs / 2**20:.0f} MiB but {allowed / 2**20:.0f}"
            " MiB are left of the budget; raise --memory, lower --workers, or"
            " leave the layer out with --layers"
        )


class Quarantine(SpectraError, ValueError):  # noqa: N818 - not a failure
    """One model or one layer cannot be used; the population goes on without.

    Attributes
    ----------
    code
        One of the codes in ``docs/codes.md``, such as ``"ST_OFFSETS"``.
    detail
        What was wrong, in words, with the foreign text as it was found.
    """

    exit_code = 3

    def __init__(self, code: str, detail: str) -> None:
        self.code, self.detail = code, detail
        super().__init__(f"{code}: {detail}")
