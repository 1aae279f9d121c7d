"""A document of aligned models with every key, made without measuring."""

from itertools import permutations
from typing import Any

import numpy as np

from tests.report.sample import names_of

DIRECTED = "cycle-knn"


def document_of(
    n: int,
    *,
    metrics: tuple[str, ...] = ("mutual-knn", DIRECTED),
    hostile: bool = False,
    n_layers: int = 1,
) -> dict[str, Any]:
    """Return what ``spectra align --json`` might say of `n` models."""
    rng = np.random.default_rng(0)
    ids = names_of(n, hostile=hostile)
    names = [f"{'=1+' * hostile}layer.{i}" for i in range(n_layers)]
    score = rng.uniform(0.2, 0.9, n)
    pairs = [
        pair_of(a, b, metric, names, score, rng)
        for a, b in permutations(range(n), 2)
        for metric in metrics
        if a < b or metric == DIRECTED
    ]
    for pair in pairs:
        pair |= {"a": ids[pair["a"]], "b": ids[pair["b"]]}
    return {
        "schema": "spectra-alignment/1",
        "version": "0.1.0",
        "settings": {
            "metric": list(metrics), "k": 10, "draws": 199, "seed": 0,
            "normalize": False,
        },
        "models": [
            {
                "id": name, "kind": "features", "n_rows": 500,
                "layers": [{"name": x, "width": 64} for x in names],
            }
            for name in ids
        ],
        "n_items": 500,
        "null": "each representation whole",
        "pairs": pairs,
        "matrices": [
            {"metric": m, "cite": "Huh et al. 2024", "order": ids[::-1],
             "values": []}
            for m in metrics
        ],
        "convergence": [
            converged(metric, ids, score, i)
            for i, metric in enumerate(metrics)
        ],
        "weights": {
            "run": "run.h5", "n_models": n - 1, "n_groups": 3,
            "left_out": ids[-1:],
            "by_metric": [weighed(m, ids[:-1], rng) for m in metrics],
        },
        "text": f"most of {len(pairs)} pairs are alike",
    }  # fmt: skip


def pair_of(
    a: int, b: int, metric: str, names: list[str], score: Any, rng: Any
) -> dict[str, Any]:
    value = 0.5 * score[a] * score[b] + rng.normal(0, 0.03) - 0.02
    low = 0.02 + rng.uniform(0, 0.01)
    p = 0.005 * int(rng.integers(1, 100))
    return {
        "a": a, "b": b, "metric": metric, "value": value, "null_mean": low,
        "null_high": low + 0.02, "excess": value - low, "p": p,
        "p_adjusted": min(1.0, 2 * p), "n_items": 500,
        "coverage": 0.9, "layer_a": names[a % len(names)],
        "layer_b": names[b % len(names)],
    }  # fmt: skip


def converged(metric: str, ids: list[str], score: Any, i: int) -> Any:
    alignment = 0.1 + 0.3 * score + 0.02 * np.cos(9 * score + i)
    at = np.linspace(score.min(), score.max(), 32)
    return {
        "metric": metric, "spearman": 0.8, "p": 0.01, "n_permutations": 9999,
        "slope": 0.3, "intercept": 0.1,
        "models": [
            {"id": name, "score": float(s), "alignment": float(x)}
            for name, s, x in zip(ids, score, alignment, strict=True)
        ],
        "band": [
            {"score": float(s), "low": 0.08 + 0.3 * float(s),
             "high": 0.13 + 0.3 * float(s)}
            for s in at
        ],
        "text": f"{metric}: more aligned (Spearman's rho 0.80, p = 0.01)",
    }  # fmt: skip


def weighed(metric: str, ids: list[str], rng: Any) -> Any:
    return {
        "metric": metric, "r": 0.4, "p": 0.02, "n_permutations": 9999,
        "r_groups": None, "p_groups": None,
        "pairs": [
            {"a": a, "b": b, "overlap": float(rng.uniform(-0.1, 0.9)),
             "alignment": float(rng.uniform(0, 0.5))}
            for i, a in enumerate(ids) for b in ids[i + 1 :]
        ],
        "text": f"{metric}: weights (Mantel's r 0.40, p = 0.02)",
    }  # fmt: skip
