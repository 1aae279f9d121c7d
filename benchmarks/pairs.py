"""Many members: each held out, and each pair's principal angles, on one core.

Beside 500 eigendecompositions (from five of them), and beside
`scipy.linalg.subspace_angles` (from 60 of the 124,750 pairs).

    python -m benchmarks.pairs [--rounds 3]
"""

import time
from itertools import combinations
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import subspace_angles
from threadpoolctl import threadpool_limits

from benchmarks.figures import Row, at_least, at_most, finish, options, paired
from spectra.linalg import overlap
from spectra.linalg.overlap import pair_sums
from spectra.statistics.model_axis.leave_one_out import leave_one_out

MEMBERS, K, WIDTH, DRAWN = 500, 16, 4096, 60
Float = NDArray[np.float64]


def explained(K: Float, count: int) -> Float:
    """Return what the others' first directions hold of each member."""
    held = leave_one_out(K, np.zeros(len(K)), count).powers
    return np.cumsum(held, axis=1)[:, -1]


def naively(K: Float, i: int, count: int) -> float:
    """Return the same of member i, from the others' eigenvectors."""
    others = np.delete(np.arange(len(K)), i)
    G = K[np.ix_(others, others)]
    k = K[others, i] - K[others, i].mean() - G.mean(axis=0) + G.mean()
    centred = G - G.mean(axis=0)
    values, vectors = np.linalg.eigh(centred - centred.mean(axis=1)[:, None])
    shares = (vectors[:, -count:].T @ k) ** 2 / values[-count:]
    return float(shares.sum())


def held_out(rounds: int) -> list[Row]:
    """Return the rows of leave-one-out."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((MEMBERS, 3000))
    X += rng.standard_normal((MEMBERS, 24)) @ rng.standard_normal((24, 3000))
    X -= X.mean(axis=0)
    gram = X @ X.T
    few = rng.choice(MEMBERS, 5, replace=False)
    took = paired(
        {
            "ours": lambda: explained(gram, K),
            "naive": lambda: [naively(gram, i, K) for i in few],
        },
        min(3, rounds),
    )
    ours = median(took["ours"])
    naive = median(took["naive"]) / len(few) * MEMBERS
    found = explained(gram, K)[few]
    expected = np.array([naively(gram, i, K) for i in few])
    scale = np.diag(gram)[few]
    worst = np.max(np.abs(found - expected) / scale)
    return [
        at_least(
            f"leave-one-out of all {MEMBERS}, k = {K}", f"{ours:.2f} s",
            f"{MEMBERS} eigendecompositions {naive:.0f} s", naive / ours, 80,
        ),
        at_most("largest difference of a share of variance", worst, "", 1e-10),
    ]  # fmt: skip


def angles() -> list[Row]:
    """Return the rows of principal angles."""
    rng = np.random.default_rng(1)
    F = np.stack(
        [np.linalg.qr(rng.standard_normal((WIDTH, K)))[0].T
         for _ in range(MEMBERS)]
    )  # fmt: skip
    pairs = list(combinations(range(MEMBERS), 2))
    drawn = [pairs[i] for i in rng.choice(len(pairs), DRAWN, replace=False)]
    # `fit` stops finding angles at 128 members: here all are asked for.
    overlap.ANGLES = MEMBERS
    ranks = np.full(MEMBERS, K)
    started = time.perf_counter()
    found = pair_sums(F, ranks, tile=64)
    ours = time.perf_counter() - started
    expected = []
    started = time.perf_counter()
    for i, j in drawn:
        expected.append(subspace_angles(F[i].T, F[j].T))
    peer = (time.perf_counter() - started) / DRAWN * len(pairs)
    geodesic = found.angles.geodesic[tuple(np.transpose(drawn))]
    worst = np.max(np.abs(geodesic - np.linalg.norm(expected, axis=1)))
    return [
        at_least(
            f"principal angles of all pairs, T = {MEMBERS}, k = {K},"
            f" d = {WIDTH}, f64", f"{ours:.1f} s",
            f"scipy.linalg.subspace_angles {peer:.0f} s", peer / ours, 50,
        ),
        at_most("largest difference of a distance (radians)", worst, "", 1e-7),
    ]  # fmt: skip


def main() -> None:
    """Measure."""
    asked = options(__doc__).parse_args()
    with threadpool_limits(1):
        rows = held_out(asked.rounds) + angles()
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
