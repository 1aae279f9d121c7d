r"""What a layer's joint subspace keeps of its members, and what it loses.

With the mean m and the projector P_k on the first k directions, a member x is
kept as :math:`m + P_k (x - m)`. All of it follows from inner products.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from spectra.core.errors import UsageError
from spectra.linalg.gram import double_centred
from spectra.statistics.kinship.population import Groupings
from spectra.statistics.model_axis.held_out import HeldOut, hold_out
from spectra.statistics.plain import number, numbers, with_reason
from spectra.statistics.vectors import Vector, deviations
from spectra.subspaces.joint import Subspace, joint_subspace
from spectra.subspaces.result import LayerFit

__all__ = ["Wish", "loss_document"]

Document = dict[str, Any]

_EQUAL = "the members do not differ"
_ALONE = "one lineage group: there is no other to judge it by"
_SHORT = "the others span fewer directions"


@dataclass(frozen=True, slots=True)
class Wish:
    """How many directions are kept.

    Attributes
    ----------
    k
        Of every layer; None where `energy` decides.
    energy
        As few as keep this share of the squared deviations.
    """

    k: int | None
    energy: float | None

    def check(self) -> None:
        """Refuse what is none.

        Raises
        ------
        UsageError
            E_LEVEL or E_ENERGY.
        """
        if self.k is not None and self.energy is not None:
            raise UsageError("E_ENERGY", "-k and --energy were both given")
        if self.k is not None and self.k < 1:
            raise UsageError("E_LEVEL", f"-k {self.k} is not 1 or more")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise UsageError(
                "E_ENERGY",
                f"--energy {self.energy} is not above 0 and at most 1",
            )

    def directions(self, layer: LayerFit, /) -> int:
        """Return how many of a layer are kept."""
        if self.energy is None:
            return min(self.k or 0, len(_shares(layer)))
        shares = _shares(layer)
        reached = np.flatnonzero(shares >= self.energy)
        return int(reached[0]) + 1 if len(reached) else len(shares)

    def document(self, layer: LayerFit, /) -> Document:
        """Return whether the energy is reached, where one was asked for."""
        if self.energy is None:
            return {}
        return self.told(bool(np.any(_shares(layer) >= self.energy)))

    def told(self, reached: bool, /) -> Document:
        """Return that it is reached or not, where one was asked for."""
        return {} if self.energy is None else {"reached": reached}


def _shares(layer: LayerFit) -> Vector:
    """Return what the first 1, 2, ... directions keep of the deviations.

    All N - 1 keep everything and fewer do not, whatever the last digits of a
    sum say.
    """
    values = joint_subspace(layer, len(layer.members)).eigenvalues
    total = float(np.trace(double_centred(layer.inner)))
    shares = np.minimum(np.cumsum(values) / total, np.nextafter(1.0, 0.0))
    shares[len(layer.members) - 2 :] = 1.0
    return shares


def loss_document(
    layer: LayerFit,
    subspace: Subspace,
    groupings: Groupings,
    /,
    *,
    learned_mean: bool,
) -> Document:
    """Return what is lost of a layer's members, and would be of another.

    Parameters
    ----------
    layer
        The layer.
    subspace
        What is kept of it, beside the mean.
    groupings
        Of the whole population: who is held out with whom.
    learned_mean
        Whether members started from zero: r2 is then of the maps themselves,
        else of their deviations from the common start.
    """
    k = len(subspace.eigenvalues)
    axis = deviations(layer, groupings.ids)
    lost = max(0.0, axis.energy - float(subspace.eigenvalues.sum()))
    if k == axis.n - 1:
        lost = 0.0
    whole = float(axis.energies.sum()) if learned_mean else axis.energy
    labels = groupings.labels(axis.members)
    sums = k and hold_out(
        axis.K, axis.energies, labels, levels=(k,), floor=axis.floor
    )
    judged = _ratios(sums or None, learned_mean=learned_mean)
    why = _EQUAL if k == 0 else _SHORT if sums else _ALONE
    own = np.diagonal(double_centred(layer.inner))
    return {
        "k": k,
        **with_reason("error_in_sample", _ratio(lost, axis.energy), _EQUAL),
        **with_reason("error_held_out", judged[0], why),
        **with_reason("r2_in_sample", _one_less(lost, whole), _EQUAL),
        **with_reason("r2_held_out", judged[1], why),
        "errors": numbers(_errors(subspace, own)),
    }


def _errors(subspace: Subspace, own: Vector) -> Vector:
    """Return each member's share of its squared deviation that is lost."""
    kept = np.sum(subspace.coordinates**2, axis=1)
    n, k = subspace.coordinates.shape
    if k == n - 1:
        return np.zeros(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.maximum(0.0, 1 - kept / own))


def _ratios(
    sums: HeldOut | None, *, learned_mean: bool
) -> tuple[float | None, float | None]:
    """Return 1 - captured and r2.basis, as the report has them."""
    if sums is None:
        return None, None
    deviation = float(sums.deviation.sum())
    lost = deviation - float(sums.captured[:, 0].sum())
    whole = float(sums.energy.sum()) if learned_mean else deviation
    return _ratio(lost, deviation), _one_less(lost, whole)


def _ratio(part: float, whole: float) -> float | None:
    return number(part / whole) if whole > 0 else None


def _one_less(part: float, whole: float) -> float | None:
    ratio = _ratio(part, whole)
    return None if ratio is None else 1 - ratio
