"""What is asked of an extraction."""

from dataclasses import dataclass, field
from typing import Any

from spectra.core.errors import UsageError
from spectra.core.text import printable

__all__ = ["DTYPES", "POOLINGS", "Asked", "unusable"]

POOLINGS = ("mean", "last", "first")
"""Ways from a state a token to one an item."""

DTYPES = ("float32", "bfloat16", "float16")
"""In which a network may compute."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Settings of `features`."""

    pool: tuple[str, ...] = _setting(
        ("mean",),
        "mean over an item's tokens, its last token, or its first; may be"
        " repeated. mean where none is named.",
    )
    layers: tuple[str, ...] = _setting(
        (),
        "Only layers whose number matches a glob; 0 is what enters the first"
        " block.",
    )
    batch: int = _setting(16, "Items at a time.")
    max_tokens: int = _setting(
        512,
        "Tokens of a text that are read; fewer where the model has room for"
        " fewer.",
    )
    device: str = _setting("auto", "auto, cpu or cuda.")
    dtype: str = _setting(
        "float32", "What the network computes in: float32, bfloat16, float16."
    )
    half: bool = _setting(
        False, "Keep features as float16, in half the bytes."
    )

    def __post_init__(self) -> None:
        """Refuse what there is not.

        Raises
        ------
        UsageError
            E_EXTRACT where a name is unknown or a number out of range.
        """
        for name in self.pool:
            _among(name, POOLINGS, "pooling")
        _among(self.dtype, DTYPES, "dtype")
        for name in ("batch", "max_tokens"):
            if getattr(self, name) < 1:
                raise unusable(
                    f"{name} {getattr(self, name)} is not 1 or more"
                )


def unusable(what: str, advice: str = "") -> UsageError:
    """Return the error of what no features can be extracted from."""
    return UsageError("E_EXTRACT", what, advice=advice)


def _among(name: str, names: tuple[str, ...], kind: str) -> None:
    if name not in names:
        raise unusable(
            f"there is no {kind} {printable(name, 40)!r}",
            f"use {', '.join(names)}",
        )
