"""Decompositions beside the libraries' own.

The joint spectrum of 100 matrices beside `numpy.linalg.svd` and TensorLy, and
how exact it is on fine-tunes that moved by a thousandth; leading directions
of one 4096 x 4096 matrix beside LAPACK's gesdd.

    python -m benchmarks.decompositions [--rounds 3]
"""

import time
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.figures import (
    Row,
    at_least,
    at_most,
    finish,
    options,
    paired,
    ratio,
)
from spectra.backend.device import CPU
from spectra.backend.threads import cores
from spectra.linalg.gram import double_centred
from spectra.linalg.svd import block_krylov
from spectra.subspaces.inner import inner_products

MEMBERS, SHAPE = 100, (768, 768)
Float = NDArray[np.floating]


@dataclass(frozen=True)
class Rows:
    """Maps that are rows in memory."""

    X: Float

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.X)

    def fill(self, start: int, stop: int, out: Float) -> None:
        """Write entries of all into `out`."""
        out[:] = self.X[:, start:stop]


def spectrum(X: Float) -> Float:
    """Return squared singular values of X less its mean, falling."""
    with threadpool_limits(1):
        found = inner_products(
            Rows(X), X.shape[1], CPU, X.dtype, threads=cores()
        )
    return np.linalg.eigvalsh(double_centred(found.inner))[::-1]


def by_svd(X: Float) -> Float:
    """Return the same by `numpy.linalg.svd`."""
    return np.linalg.svd(X - X.mean(axis=0), full_matrices=False)[1] ** 2


def by_tensorly(X: Float) -> Float:
    """Return the same by a HOSVD: one sweep of TensorLy's partial Tucker."""
    from tensorly.decomposition import partial_tucker

    cube = (X - X.mean(axis=0)).reshape(len(X), *SHAPE)
    (core, _), _ = partial_tucker(cube, [len(X)], modes=[0], n_iter_max=1)
    return np.linalg.norm(core.reshape(len(X), -1), axis=1) ** 2


def joint(rounds: int) -> list[Row]:
    """Return the rows of joint spectra."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((MEMBERS, SHAPE[0] * SHAPE[1]), np.float32)
    ours = spectrum(X)
    peers = {"numpy.linalg.svd": by_svd, "TensorLy": by_tensorly}
    rows = []
    for name, peer in peers.items():
        try:
            np.testing.assert_allclose(ours[:16], peer(X)[:16], rtol=1e-4)
        except ImportError:
            print(f"{name} is not installed: left out")
            continue
        took = paired(
            {"ours": lambda: spectrum(X), "peer": lambda p=peer: p(X)},
            min(3, rounds),
        )  # fmt: skip
        rows.append(
            at_least(
                f"joint spectrum, T = {MEMBERS}, 768 x 768, in memory",
                f"{median(took['ours']):.2f} s",
                f"{name} {median(took['peer']):.1f} s",
                ratio(took["peer"], took["ours"]), 100,
            )
        )  # fmt: skip
    return rows


def exactness() -> list[Row]:
    """Return the rows of the errors of singular values."""
    rng = np.random.default_rng(1)
    n, size = 64, 2**20
    s = np.geomspace(1, 1e-4, n - 1)
    left = np.linalg.qr(rng.standard_normal((n, n)))[0]
    centring = np.linalg.qr(np.c_[np.ones(n), left[:, : n - 1]])[0][:, 1:]
    right = np.linalg.qr(rng.standard_normal((size, n - 1)))[0]
    base = rng.standard_normal(size) / 32
    moved = (centring * s) @ right.T
    scale = 1e-3 * np.linalg.norm(base) / np.linalg.norm(moved, axis=1).mean()
    rows = []
    for dtype, goal in ((np.float32, 1e-2), (np.float64, 1e-6)):
        X = (base + scale * moved).astype(dtype)
        # What was stored, and not what was planted, is to be found.
        stored = X.astype(float) - X.astype(float).mean(axis=0)
        exact = np.linalg.svd(stored, compute_uv=False)[: n - 1]
        found = np.sqrt(np.maximum(spectrum(X)[: n - 1], 0))
        judged = exact >= 1e-3 * exact[0]
        error = np.max(np.abs(found - exact)[judged] / exact[judged])
        words = "f32" if dtype == np.float32 else "f64"
        rows.append(
            at_most(
                "largest relative error of sigma >= sigma_1 / 1000, members"
                f" that moved 1e-3, {words}",
                float(error), "", goal,
            )
        )  # fmt: skip
    return rows


def large(rounds: int) -> list[Row]:
    """Return the rows of one 4096 x 4096 matrix, on one core."""
    rng = np.random.default_rng(2)
    d = 4096
    left, right = (
        np.linalg.qr(rng.standard_normal((d, d), np.float32))[0]
        for _ in range(2)
    )
    s = np.arange(1, d + 1, dtype=np.float32) ** -0.45
    X = (left * s) @ right.T
    X += 0.3 * s[256] / d**0.5 * rng.standard_normal((d, d), np.float32)
    rows = []
    with threadpool_limits(1):
        started = time.perf_counter()
        np.linalg.svd(X, full_matrices=False)
        slow = time.perf_counter() - started
        C = X.astype(float) @ X.T.astype(float)
        exact = np.linalg.eigh(C)[1][:, ::-1]
        for k, goal in ((16, 100), (64, 40)):
            took = paired(
                {"ours": lambda k=k: block_krylov(X, k)}, min(3, rounds)
            )["ours"]
            U = block_krylov(X, k)[0].astype(float)
            U = np.linalg.qr(U)[0]
            rest = U - exact[:, :k] @ (exact[:, :k].T @ U)
            angle = float(np.linalg.norm(rest, 2))
            what = f"k = {k} directions of 4096 x 4096, one core"
            rows += [
                at_least(
                    what, f"{median(took):.2f} s",
                    f"gesdd, once, {slow:.1f} s", slow / median(took), goal,
                ),
                at_most(
                    f"sine of the largest angle to them, k = {k}",
                    angle, "", 1e-3,
                ),
            ]  # fmt: skip
    return rows


def main() -> None:
    """Measure."""
    asked = options(__doc__).parse_args()
    finish(joint(asked.rounds) + exactness() + large(asked.rounds), asked.json)


if __name__ == "__main__":
    main()
