"""KnOTS: the updates side by side have one set of left directions."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.core_space import CoreSpace
from spectra.apply.merging.elementwise import ties_of
from spectra.apply.merging.entries import Entries, Space
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.triplets import Triplets, triplets
from spectra.linalg.solvers import qr

__all__ = ["knots", "parts_of"]

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

Compared = Literal["SV", "V"]


def knots(  # noqa: PLR0913 - one a question
    updates: CoreSpace,
    /,
    *,
    density: float = 0.2,
    lam: float = 1.0,
    inner: Literal["ties", "mean"] = "ties",
    compare: Compared = "SV",
    space: Space = "dense",
    least: Vector | None = None,
) -> Framed:
    r"""Return the updates merged in the joint directions of their outputs.

    Parameters
    ----------
    updates
        Of a layer.
    density
        Of TIES.
    lam
        Multiplies the result.
    inner
        How the parts are merged. ``"mean"`` gives the mean of the updates.
    compare
        Whose magnitudes TIES compares: those of the parts times their
        singular values, as in the code of Stoica et al. (2024), or those of
        the parts, as in that of Panariello et al. (2025). Signs are the same,
        and so is the result at density 1.
    space
        Of what the entries are: of the parts of the updates themselves, or of
        those of the cores, which depend on the axes of the inputs.
    least
        As of `ties`: from all layers together in the code of Stoica et al.

    Notes
    -----
    ``[x_1 ... x_N] = U S [V_1 ... V_N]``; the parts :math:`V_i`, (k, in), are
    merged to V, and the result is :math:`U S V`. It is that of the dense
    updates: the decomposition is one of the cores, and the entries are those
    of the k rows in the coordinates of the layer's inputs. So the result
    leaves the span of V, and has frames of its own.

    Singular values below 1e-12 of the largest are left out; the published
    code leaves out those up to 1e-5 whatever the scale. Equal ones leave the
    directions undetermined, and with TIES the result too.
    """
    entries = parts_of(updates, compare=compare, space=space)
    if inner == "mean":
        return entries.merged(lambda stack: lam * stack.mean(axis=0))
    return ties_of(entries, density=density, lam=lam, least=least)


def parts_of(
    updates: CoreSpace, /, *, compare: Compared = "SV", space: Space = "dense"
) -> Entries:
    """Return the entries of the parts that `knots` merges.

    The right vectors of each update are orthonormal. So the decomposition of
    all side by side is that of their left vectors times singular values, and
    has as many columns as the ranks add up to.
    """
    beside = np.concatenate([part.left for part in updates.parts], axis=1)
    found = triplets(beside)
    if len(found.s) == 0:  # Of nothing, one direction with nothing in it.
        found = Triplets(np.eye(len(beside), 1), np.zeros(1), beside[:1].T)
    W, s, Zh = found.U, found.s[:, None], found.V.T
    ends = np.cumsum([part.s.size for part in updates.parts])[:-1]
    lefts = np.split(Zh if compare == "V" else s * Zh, ends, axis=1)
    rights = [part.V for part in updates.parts]
    outputs = _lifted(updates.U, W)

    def framed(rows: Matrix) -> Framed:
        rows = s * rows if compare == "V" else rows
        if space == "core":
            return Framed(outputs, rows, updates.V)
        Q, R = qr(rows.T)
        return Framed(outputs, R.T, Q)

    if space == "dense":
        rights = [_lifted(updates.V, right) for right in rights]
    return Entries(tuple(lefts), tuple(rights), framed)


def _lifted(frame: Matrix | None, columns: Matrix) -> Matrix:
    """Return columns outside of a frame; where there is none, as they are."""
    return columns if frame is None else frame @ columns
