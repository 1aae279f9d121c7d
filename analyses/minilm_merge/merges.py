"""Groups of adapters merged by spectra, and tested."""

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors.numpy import load_file

import spectra
from analyses.minilm_merge.bench import ALL, TASKS, Bench, Row
from analyses.minilm_merge.model import Update, read_update

WHOLE, DENSE = 64, 384  # ranks that lose nothing, of 8 updates and of any
CORE = {"space": "core"}
CORE_LAYER = {"space": "core", "trim": "layer"}


class Way(NamedTuple):
    """A method with options, and the rank of what it comes to."""

    method: str
    options: Mapping[str, Any] = {}
    rank: int = WHOLE


DEFAULTS = {
    "mean": Way("mean"),
    "task-arithmetic": Way("task-arithmetic"),
    "ties": Way("ties", rank=DENSE),
    "dare": Way("dare", rank=DENSE),
    "knots": Way("knots"),
    "tsv-m": Way("tsv-m"),
    "iso-c": Way("iso-c"),
    "iso-cts": Way("iso-cts"),
    "cart": Way("cart"),
}
CORES = {
    "ties, core": Way("ties", CORE_LAYER),
    "dare, core": Way("dare", CORE),
    "knots, core": Way("knots", CORE_LAYER),
}

WAYS = DEFAULTS | CORES

LAMBDAS = (0.125, 0.25, 0.5, 1.0)
FINER = 2**0.5
LEAST, MOST = 1 / 32, 8.0


def merged(
    bench: Bench, group: str, name: str, **options: Any
) -> tuple[Row, Update]:
    """Merge a group by spectra; return how, and the update it comes to."""
    way = WAYS.get(name, Way(name))
    paths = [bench.path(i) for i in bench.members(group)]
    with tempfile.TemporaryDirectory() as folder:
        made = spectra.merge(
            paths, Path(folder) / "merged", method=way.method,
            dtype="F32", **way.options, **options,
        )  # fmt: skip
        stored = load_file(made.path / "adapter_model.safetensors")
        update = read_update(made.path)
    digest = hashlib.sha256()
    for _, factor in sorted(stored.items()):
        digest.update(factor.tobytes())
    how = {
        "what": "merge", "group": group, "method": name,
        "rank": made.document["rank"], "options": made.document["options"],
        "error": float(f"{made.document['error']:.3g}"),
        "bytes": digest.hexdigest()[:16],
    }  # fmt: skip
    return how, update


def tested(
    bench: Bench, group: str, name: str, part: str, **options: Any
) -> Row:
    """Merge a group and test it on one part of its tasks' examples."""
    how, update = merged(bench, group, name, **options)
    return bench.book.row(
        how | {"part": part},
        partial(bench.right, update, bench.members(group), part),
    )


def tuned(bench: Bench, group: str, name: str, rank: int) -> float:
    """Return the lambda with most right answers on the examples set aside.

    By doublings, going on where the best is the last on either side, from
    1 / 32 to 8 at most; then the best's two neighbours half a doubling away.
    Of equals the least.
    """
    found: dict[float, int] = {}

    def best() -> float:
        return max(sorted(found), key=lambda lam: found[lam])

    def test(*values: float) -> None:
        for lam in values:
            row = tested(bench, group, name, "tune", rank=rank, lam=lam)
            found[lam] = sum(row["right"])

    test(*LAMBDAS)
    while LEAST < best() < MOST and best() in {min(found), max(found)}:
        test(best() / 2 if best() == min(found) else best() * 2)
    test(round(best() / FINER, 4), round(best() * FINER, 4))
    return best()


def merges(bench: Bench, names: Iterable[str]) -> None:
    """Test ways of merging: lambda 1 at two ranks, and lambda tuned."""
    for group in bench.groups:
        for name in names:
            rank = WAYS[name].rank
            tested(bench, group, name, "test", rank=rank)
            tested(bench, group, name, "test")
            if name != "mean":
                lam = tuned(bench, group, name, rank)
                tested(bench, group, name, "test", rank=rank, lam=lam)


def subspaces(bench: Bench) -> None:
    """Hold the merge in the subspace, with equal weights, beside the mean."""
    for group in bench.groups:
        _, mean = merged(bench, group, "mean", rank=WHOLE)
        _, subspace = merged(bench, group, "subspace", rank=WHOLE, k=4)
        gap = max(np.abs(mean[name] - subspace[name]).max() for name in mean)
        scale = max(np.abs(each).max() for each in mean.values())
        bench.book.row(
            {"what": "subspace", "group": group, "k": 4},
            partial(dict, gap=float(f"{gap / scale:.1e}")),
        )


def all_together(bench: Bench) -> None:
    """Test the mean of all, and their sum with lambda tuned."""
    tested(bench, ALL, "mean", "test", rank=8 * TASKS)
    lam = tuned(bench, ALL, "task-arithmetic", 8 * TASKS)
    tested(bench, ALL, "task-arithmetic", "test", rank=8 * TASKS, lam=lam)
