"""What a compressed population takes, beside what it took before."""

from dataclasses import dataclass
from typing import Any

from spectra.statistics.plain import number, percent, with_reason

__all__ = ["Account"]

_NEVER = "the coefficients of a member take as much as the member"

_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True, slots=True)
class Account:
    """Bytes of tensors, headers of files apart.

    Attributes
    ----------
    n_models
        Members that hold an analysed layer.
    basis
        What all share: mean and directions, or bases.
    coefficients
        Of all members.
    analysed
        What the analysed layers take in the members' own files.
    untouched
        All that is no part of an analysed layer: it stays in these files.
    base
        Of the base's layers, without which a difference is nothing.
    """

    n_models: int
    basis: int
    coefficients: int
    analysed: int
    untouched: int
    base: int = 0

    @property
    def kept(self) -> int:
        """Return what the analysed layers take now."""
        return self.basis + self.coefficients

    @property
    def break_even(self) -> float | None:
        """Return from how many such members on it saves; None for never.

        N* = basis / (full - coefficients), both of one member.
        """
        left = (self.analysed - self.coefficients) / self.n_models
        return self.basis / left if left > 0 else None

    def document(self) -> dict[str, Any]:
        """Return the numbers as ``compressed.json`` holds them."""
        total = self.kept + self.untouched
        each = (self.coefficients + self.untouched) / self.n_models
        return {
            "basis_bytes": self.basis,
            "coefficient_bytes": self.coefficients,
            "untouched_bytes": self.untouched,
            "total_bytes": total,
            "original_bytes": self.analysed + self.untouched,
            "analysed_bytes": self.analysed,
            "base_bytes": self.base,
            "bytes_per_model": {
                "now": total / self.n_models,
                "limit": each,
            },
            **with_reason("break_even", number(self.break_even), _NEVER),
        }

    def text(self) -> str:
        """Return what it saves, and from how many members on, a sentence."""
        share = 1 - self.kept / self.analysed
        found = (
            f"{percent(share)} saved"
            if share >= 0
            else f"nothing saved, {self.kept / self.analysed:.3g} times as"
            " much"
        )
        starts = (
            "it never starts saving"
            if self.break_even is None
            else f"saving starts at {self.break_even:.1f} members"
        )
        text = (
            f"the analysed layers of {self.n_models} members take"
            f" {_amount(self.kept)} instead of {_amount(self.analysed)}:"
            f" {found}; {starts}. That is the analysed part alone:"
            f" {_amount(self.untouched)} of other tensors stay in the members'"
            " own files"
        )
        if self.base:
            text += f", and the base is needed ({_amount(self.base)})"
        return text


def _amount(nbytes: int) -> str:
    for unit, name in _UNITS:
        if nbytes >= unit:
            return f"{nbytes / unit:.1f} {name}"
    return f"{nbytes} B"
