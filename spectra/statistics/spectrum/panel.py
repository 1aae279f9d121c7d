"""All numbers of one spectrum, as documents and tables hold them."""

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.linalg.spectrum import Spectrum
from spectra.statistics.plain import number, numbers, with_reason
from spectra.statistics.spectrum.gavish_donoho import optimal_rank
from spectra.statistics.spectrum.marchenko_pastur import fit_mp
from spectra.statistics.spectrum.norms import norms
from spectra.statistics.spectrum.power_law import fit_power_law

__all__ = ["COLUMNS", "NUMBERS", "STATUSES", "panel"]

Document = dict[str, Any]
Vector = NDArray[np.float64]

COLUMNS = (
    "norm", "spectral_norm", "nuclear_norm", "log_norm", "log_spectral_norm",
    "stable_rank", "effective_rank", "participation_ratio", "hard_rank",
    "mp_lower", "mp_upper", "mp_softrank", "sigma_mp", "num_spikes", "edge_p",
    "mp_ks", "gavish_donoho_rank", "alpha", "xmin", "D", "sigma",
    "num_pl_spikes", "alpha_status", "alpha_hat", "log_alpha_norm",
)  # fmt: skip
"""The numbers of a layer, in the order of a table."""

NUMBERS = tuple(name for name in COLUMNS if name != "alpha_status")
"""Those that are numbers."""

STATUSES = ("OK", "TOO_FEW", "FLAT", "NO_FIT")
"""What ``alpha_status`` can be."""

_ZERO = "all weights are zero"
_UPDATE = "an update of few directions has no bulk"
_NO_FIT = "no power law was fitted; see alpha_status"


def panel(
    spectrum: Spectrum, shape: tuple[int, int], /, *, eps: float
) -> Document:
    """Return the numbers of `COLUMNS`, vectors and certificate of one layer.

    Parameters
    ----------
    spectrum
        Its singular values; of an adapter's update as many as its rank.
    shape
        (out, in).
    eps
        The rounding that counts for `hard_rank`.
    """
    s = np.zeros(min(shape))
    s[: len(spectrum.s)] = spectrum.s
    return {
        **_sizes(s, shape, eps),
        **_bulk(s, shape, is_update=len(spectrum.s) < len(s)),
        **_tail(s[s > spectrum.floor]),
        **_vectors(spectrum),
        "certificate": asdict(spectrum.certificate),
    }


def _sizes(s: Vector, shape: tuple[int, int], eps: float) -> Document:
    found = norms(s, shape, eps=eps)
    document: Document = {
        "norm": found.frobenius,
        "spectral_norm": found.sv_max,
        "nuclear_norm": found.nuclear,
        "stable_rank": found.stable_rank,
        "effective_rank": found.effective_rank,
        "hard_rank": found.hard_rank,
    }
    for key in ("log_norm", "log_spectral_norm", "participation_ratio"):
        document |= with_reason(key, number(getattr(found, key)), _ZERO)
    return document


def _bulk(s: Vector, shape: tuple[int, int], *, is_update: bool) -> Document:
    keys = ("mp_lower", "mp_upper", "mp_softrank", "sigma_mp", "num_spikes",
            "edge_p", "mp_ks", "gavish_donoho_rank")  # fmt: skip
    if is_update or not s[0]:
        reason = _UPDATE if s[0] else _ZERO
        entries = [with_reason(key, None, reason) for key in keys]
        return {name: value for e in entries for name, value in e.items()}
    law = fit_mp(s, shape)
    values = (law.lower, law.upper, law.mp_softrank, law.sigma_mp,
              law.num_spikes, law.edge_p, law.ks,
              optimal_rank(s, shape))  # fmt: skip
    document: Document = {}
    for key, value in zip(keys, values, strict=True):
        document |= with_reason(key, value, "too few values, or no noise")
    return document


def _tail(s: Vector) -> Document:
    """Return the fit to the eigenvalues, the squares of singular values."""
    squares = s * s
    law = fit_power_law(squares)
    hat = norm = None
    if law.alpha is not None and law.xmin is not None:
        peak = float(squares[0])
        hat = law.alpha * float(np.log10(peak))
        norm = _log_sum_of_powers(squares, law.alpha)
    document: Document = {
        "alpha_status": law.status, "num_pl_spikes": law.n_tail,
    }  # fmt: skip
    for key, value in (
        ("alpha", law.alpha), ("xmin", law.xmin), ("D", law.D),
        ("sigma", law.sigma), ("alpha_hat", hat), ("log_alpha_norm", norm),
    ):  # fmt: skip
        document |= with_reason(key, number(value), _NO_FIT)
    return document


def _log_sum_of_powers(values: Vector, power: float) -> float:
    """Return log10 of the sum of powers of values, which may overflow."""
    logs = power * np.log10(values[values > 0])
    most = float(logs.max())
    return most + float(np.log10(np.sum(10.0 ** (logs - most))))


def _vectors(spectrum: Spectrum) -> Document:
    """Return how localised leading vectors are: 1/p if even, 1 if one entry.

    Directions drawn at random have 3 / (p + 2) on average.
    """
    p = spectrum.V.shape[0]
    found = np.sum(spectrum.V**4, axis=0)
    return {"ipr": numbers(found), "ipr_random": 3 / (p + 2)}
