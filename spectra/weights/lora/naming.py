"""What a tool that writes adapters calls their tensors."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from spectra.core.tensors import TensorRef
from spectra.weights.formats.raw import RawCheckpoint

__all__ = [
    "SIDES",
    "Naming",
    "Scale",
    "Side",
    "alpha_over_rank",
    "in_pipeline",
]

Side = Literal["A", "B", "alpha"]
"""What a tensor is to its update ``alpha / rank * B @ A``."""

SIDES: tuple[Side, ...] = ("A", "B", "alpha")

Scale = Callable[[str, int], float]
"""The factor before ``B @ A`` of a module whose factors have that rank."""

# Since transformers 5 there is no ``text_model`` around its layers.
_CLIP = re.compile(r"^(text_encoder(?:_\d)?)\.(?=encoder\.layers\.)")


@dataclass(frozen=True, slots=True)
class Naming:
    """A row of `~spectra.weights.lora.NAMINGS`.

    Attributes
    ----------
    name
        As documentation and messages say it.
    claims
        Whether the tensors of a checkpoint are named in this way.
    factor
        Matches the name of a tensor that belongs to an update: the group
        ``module``, and ``A``, ``B`` or ``alpha``, whichever it is.
    layer
        The name of a module in the model that it belongs to.
    scale
        How much an update counts, by the papers of a checkpoint and the
        alphas among its tensors; raises Quarantine.
    keeps_full
        Whether a tensor of no update is a full weight, saved beside them.
    """

    name: str
    claims: Callable[[RawCheckpoint], bool]
    factor: re.Pattern[str]
    layer: Callable[[str], str]
    scale: Callable[[RawCheckpoint, Mapping[str, float]], Scale]
    keeps_full: bool = False

    def role(self, ref: TensorRef, /) -> tuple[str, Side] | None:
        """Return the module a tensor belongs to, and as what, if to any."""
        found = self.factor.fullmatch(ref.name)
        if found is None:
            return None
        groups = found.groupdict()
        return found["module"], next(s for s in SIDES if groups.get(s))


def alpha_over_rank(_: RawCheckpoint, alphas: Mapping[str, float], /) -> Scale:
    """Return alpha / rank, where an alpha that is not given is the rank."""
    return lambda module, rank: alphas.get(module, float(rank)) / rank


def in_pipeline(module: str, /) -> str:
    """Return a module of a pipeline, CLIP's as transformers 4 named them."""
    return _CLIP.sub(r"\1.text_model.", module)
