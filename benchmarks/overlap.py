"""``spectra overlap`` on 500 members and 96 layers, from a synthetic run file.

200 draws of the strength null, leave one group out, split halves. Beside it,
in the same run: the floor (the draws' eigenvalues alone, on all cores) and the
naive way (one eigendecomposition a held-out member), timed on one layer.

    python -m benchmarks.overlap [--members 500] [--layers 96] [--groups 500]
"""

import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.figures import at_least, at_most, finish, options
from spectra.backend.threads import cores
from spectra.core.catalog import Catalog
from spectra.statistics.nulls.table import unrelated
from spectra.store.journal import journal
from spectra.store.writing import Asked, write_run
from spectra.subspaces.result import (
    Folds,
    LayerFit,
    LayerOutcome,
    Member,
    PopulationFit,
    SideFit,
)

GOAL = 360.0
SHAPE = (4096, 4096)
RANK, JOINT = 16, 64


def synthetic(name: str, n: int, groups: int, seed: int) -> LayerFit:
    """Return a layer whose members are random updates of uneven strength."""
    rng = np.random.default_rng(seed)
    lengths = np.exp(0.5 * rng.standard_normal(n))
    inner = np.outer(lengths, lengths) * unrelated(n, 2**14, 1, rng)[0]
    # Relatives are alike, so that there are as many groups as asked for.
    relatives = np.arange(n) % groups
    alike = relatives[:, None] == relatives[None, :]
    inner = np.where(alike, 0.8 * np.outer(lengths, lengths), inner)
    np.fill_diagonal(inner, lengths**2)
    values = np.linalg.eigvalsh(inner)[::-1][:JOINT]
    side = SideFit(
        eigenvalues=values,
        trace=float(np.trace(inner)),
        projector_mean=np.linspace(0.1, 0.01, JOINT),
        overlap=np.where(np.eye(n) > 0, RANK, RANK**2 / SHAPE[0]),
        folds=Folds(
            np.stack([np.diag(rng.permutation(values)) for _ in range(20)]),
            np.full(20, float(np.trace(inner)) / 20),
        ),
    )
    strengths = 0.8 ** np.arange(RANK)
    strengths /= np.linalg.norm(strengths)
    return LayerFit(
        name=name,
        architecture="synthetic",
        shape=SHAPE,
        kind="low-rank",
        members=tuple(range(n)),
        duplicates=(),
        inner=inner,
        h=np.zeros(n),
        reference_energy=0.0,
        rounding=np.zeros(n),
        resolution=7e-9,
        singular_values=lengths[:, None] * strengths,
        ranks=np.full(n, RANK),
        output=side,
        input=side,
        initial=np.eye(n),
        digests=tuple(f"{i:064x}" for i in range(n)),
        fold_of=np.arange(n) % 20,
    )


def write(path: Path, n: int, n_layers: int, groups: int) -> None:
    """Write the run file."""
    members = tuple(
        Member(f"m{i:04d}", None, "", "synthetic", None, None, 0, "")
        for i in range(n)
    )
    fit = PopulationFit(members, [], (), n, False, {"rank": RANK}, {})
    with journal(path) as kept:
        units = []
        for number in range(n_layers):
            layer = synthetic(f"layers.{number}", n, groups, number)
            units.append(kept.keep(f"{number:064x}", LayerOutcome(layer, ())))
        asked = Asked((), Catalog((), ()), None)
        write_run(path, kept, units, fit, asked)


def floor(n: int, draws: int) -> float:
    """Return seconds of the eigenvalues of `draws` matrices, on all cores."""
    K = np.cov(np.random.default_rng(0).standard_normal((n, 2 * n)))
    # One matrix of up to 500 rows would keep the other threads waiting.
    four = np.stack([K] * 4)
    started = time.perf_counter()
    with threadpool_limits(1), ThreadPoolExecutor(cores()) as pool:
        list(
            pool.map(lambda _: np.linalg.eigvalsh(four), range(-(-draws // 4)))
        )
    return time.perf_counter() - started


def naive_held_out(n: int, few: int = 5) -> float:
    """Return seconds of n eigendecompositions, from a few of them."""
    K = np.cov(np.random.default_rng(0).standard_normal((n - 1, 2 * n)))
    started = time.perf_counter()
    with threadpool_limits(1):
        for _ in range(few):
            np.linalg.eigh(K)
    return (time.perf_counter() - started) / few * n


def main() -> None:
    """Measure."""
    parser = options(__doc__)
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--layers", type=int, default=96)
    parser.add_argument("--groups", type=int, default=500)
    parser.add_argument("--draws", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run.h5"
        write(run, asked.members, asked.layers, asked.groups)
        started = time.perf_counter()
        subprocess.run(  # noqa: S603 - words of our own
            [sys.executable, "-m", "spectra", "overlap", str(run),
             "--draws", str(asked.draws)],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        took = time.perf_counter() - started
    least = floor(asked.members, asked.draws) * asked.layers
    naive = naive_held_out(asked.members) * asked.layers
    whole = (asked.members, asked.layers) == (500, 96)
    what = (
        f"spectra overlap, {asked.members} members, {asked.layers} layers,"
        f" {asked.draws} draws"
    )
    rows = [
        at_most(what, took, "s", GOAL if whole else None),
        at_most(
            what, took / least, "times the floor", None,
            ours=f"{took:.0f} s",
            beside=f"eigenvalues of the draws alone {least:.0f} s",
        ),
        at_least(
            what, f"{took:.0f} s",
            f"naive leave-one-out alone, one core, {naive:.0f} s",
            naive / took, None,
        ),
    ]  # fmt: skip
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
