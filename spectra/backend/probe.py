"""Does a device really compute? One small decomposition tells."""

from dataclasses import dataclass

import numpy as np

from spectra.backend.device import open_device, to_host

__all__ = ["DEVICES", "Probe", "probe_devices"]

DEVICES = ("cpu", "cuda", "torch:cpu", "torch:cuda")


@dataclass(frozen=True, slots=True)
class Probe:
    """What a device made of an 8 x 8 eigenproblem in float64.

    Attributes
    ----------
    residual
        Largest entry of ``A - V diag(w) V.T``; None where it failed.
    error
        Why it failed, one line; None where it worked.
    """

    device: str
    residual: float | None
    error: str | None


def probe_devices() -> tuple[Probe, ...]:
    """Try every device by name."""
    return tuple(_probe(name) for name in DEVICES)


def _probe(name: str) -> Probe:
    A = np.random.default_rng(0).standard_normal((8, 8))
    A = A + A.T
    try:
        device = open_device(name)
        values, vectors = device.xp.linalg.eigh(device.put(A))
        w, V = to_host(values), to_host(vectors)
    except Exception as error:  # noqa: BLE001 - drivers raise what they like
        return Probe(name, None, str(error).splitlines()[0])
    residual = float(np.abs(A - (V * w) @ V.T).max())
    wrong = None if residual < 1e-12 else "gives wrong results"
    return Probe(name, residual, wrong)
