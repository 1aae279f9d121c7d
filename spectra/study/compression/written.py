"""What a scheme wrote of a population."""

from dataclasses import dataclass
from typing import Any

__all__ = ["Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """Both files of a compressed population, as its document tells of them.

    Attributes
    ----------
    names
        Of the layers, in the files.
    basis, coefficients
        Bytes of tensors.
    losses
        What is kept and lost of each layer.
    """

    names: tuple[str, ...]
    basis: int
    coefficients: int
    losses: tuple[dict[str, Any], ...]
