"""How much room there is, and what is left of it."""

import re
from dataclasses import dataclass
from pathlib import Path

from spectra.core.errors import BudgetError, UsageError

__all__ = [
    "PER_WORKER",
    "Budget",
    "asked_for",
    "parse_bytes",
    "resident_bytes",
]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12,
          "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}  # fmt: skip


def parse_bytes(text: str, /) -> int:
    """Return the number of bytes that `text` names.

    Raises
    ------
    UsageError
        When it is not a number with an optional unit.

    Examples
    --------
    >>> parse_bytes("4GiB"), parse_bytes("800 MB")
    (4294967296, 800000000)
    """
    match = re.fullmatch(
        r"\s*([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?\s*", text, re.IGNORECASE
    )
    if match is None:
        raise UsageError(
            "E_BYTES",
            f"{text!r} is not an amount of memory",
            advice="write 4GiB, 800MiB or 2000000000",
        )
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


def asked_for(message: str, /) -> int:
    """Return the bytes that a failed allocation was of, 0 where unsaid.

    Examples
    --------
    >>> asked_for("Out of memory allocating 8,589,934,592 bytes (limit ...)")
    8589934592
    >>> asked_for("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 ...")
    2147483648
    """
    match = re.search(
        r"(?:allocate|allocating) ([0-9][0-9,.]*)(?: ([KMGT]iB))?", message
    )
    if match is None:
        return 0
    return parse_bytes(match[1].replace(",", "") + (match[2] or ""))


def resident_bytes() -> int:
    """Return the memory this process holds now, 0 where /proc is missing."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * 4096


PER_WORKER = 20 * 2**20
"""OpenBLAS's packing buffer and the allocator's arena of one thread."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that one step may allocate.

    Attributes
    ----------
    nbytes
        Room for arrays, what the interpreter already holds taken off.
    """

    nbytes: int

    @classmethod
    def of_process(cls, limit: int, /, *, workers: int) -> "Budget":
        """Return a worker's share of `limit`, less what is resident now.

        A tenth is kept back for what no formula counts: the allocator, h5py,
        results that wait to be written.
        """
        free = int(0.9 * limit) - resident_bytes() - workers * PER_WORKER
        return cls(max(0, free) // workers)

    def require(self, step: str, needs: int, /) -> None:
        """Refuse a step that would take more than there is.

        Raises
        ------
        BudgetError
            Before anything was allocated.
        """
        if needs > self.nbytes:
            raise BudgetError(step, needs=needs, allowed=self.nbytes)
