"""How alike models represent the same items, pair by pair."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.asked import Asked, Score
from spectra.align.representations.metrics import Metric, metrics_named
from spectra.align.representations.neighbours import unit_rows
from spectra.align.representations.null import KEEPS, Highest, measured
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.settings import as_json
from spectra.core.text import printable
from spectra.report.pairs import clustered
from spectra.statistics.plain import number
from spectra.statistics.streams import generator
from spectra.study.represented import Represented, represented

__all__ = [
    "FEWEST_DRAWS",
    "SCHEMA",
    "align_models",
    "described",
    "require_draws",
    "require_items",
]

SCHEMA = "spectra-alignment/1"

FEWEST_DRAWS = 19
"""With fewer no p is as low as 0.05."""

_FEWEST_ITEMS = 8

_KEPT = 2**31
"""Bytes of what was prepared of layers that are used again."""

Document = dict[str, Any]


def align_models(
    sources: Sequence[str],
    asked: Asked,
    /,
    *,
    on_event: Observer | None = None,
) -> Document:
    """Return how alike models represent the same items, beside a null.

    Parameters
    ----------
    sources
        Files of features or checkpoints, two or more.
    asked
        What is to be measured.
    on_event
        Told of each evaluation.

    Raises
    ------
    UsageError
        When a metric is unknown, a source cannot be used, or there are too
        few items or draws.
    """
    metrics = metrics_named(asked.metric)
    require_draws(asked.draws)
    with represented(sources) as models:
        n = models[0].layers[0].n_items
        _check_items(n, asked.k)
        found = _measure(_Work(models, asked, n), metrics, on_event)
    pairs = [_row(models, each) for each in found]
    names = tuple(metric.name for metric in metrics)
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": as_json(replace(asked, metric=names)),
        "models": [described(each) for each in models],
        "n_items": n,
        "null": KEEPS,
        "pairs": pairs,
        "matrices": _matrices(metrics, models, found),
        "text": _conclusion(pairs, metrics[0], models, asked.draws),
    }


def require_draws(draws: int, /) -> None:
    """Refuse fewer permutations than a p of 0.05 needs.

    Raises
    ------
    UsageError
        E_DRAWS.
    """
    if draws < FEWEST_DRAWS:
        raise UsageError(
            "E_DRAWS",
            f"{draws} draws resolve no p below {1 / (1 + draws):.2g}",
            advice=f"draw at least {FEWEST_DRAWS}",
        )


def require_items(n: int, /) -> None:
    """Refuse fewer items than have permutations enough.

    Raises
    ------
    UsageError
        E_ALIGN.
    """
    if n < _FEWEST_ITEMS:
        raise UsageError(
            "E_ALIGN",
            f"{n} items in common, fewer than {_FEWEST_ITEMS}",
            advice="compare on more of them",
        )


def _check_items(n: int, k: int) -> None:
    require_items(n)
    if k < 1:
        raise UsageError("E_LEVEL", f"k = {k} neighbours", advice="at least 1")
    if n < k + 2:
        raise UsageError(
            "E_ALIGN",
            f"{n} items in common, too few for {k} neighbours",
            advice=f"compare on {k + 2} or more, or with a lower -k",
        )


@dataclass(frozen=True, slots=True)
class _Found:
    """One metric of one pair, by places of the models."""

    a: int
    b: int
    metric: Metric
    n_items: int
    highest: Highest


@dataclass(slots=True)
class _Work:
    """Layers as metrics need them; what was used last is kept."""

    models: tuple[Represented, ...]
    asked: Asked
    n: int
    _kept: "OrderedDict[Any, Any]" = field(default_factory=OrderedDict)

    def items(self, metric: Metric) -> NDArray[np.intp] | None:
        """Return the items that a metric is measured on; None for all."""
        if metric.most is None or metric.most >= self.n:
            return None
        drawn = generator(self.asked.seed, "which items").permutation(self.n)
        return np.sort(drawn[: metric.most])

    def many(self, metric: Metric) -> int:
        return min(self.n, metric.most or self.n)

    def score(
        self, metric: Metric, a: tuple[int, int], b: tuple[int, int]
    ) -> Score:
        """Return a metric of two layers; a and b are (model, layer)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return metric.compare(
                self._prepared(metric, *a), self._prepared(metric, *b)
            )

    def _prepared(self, metric: Metric, model: int, layer: int) -> Any:
        key = (metric.prepare, metric.most, model, layer)
        if key not in self._kept:
            X = self._features(metric, model, layer)
            self._kept[key] = metric.prepare(X, self.asked)
        self._kept.move_to_end(key)
        found = self._kept[key]
        while sum(each.nbytes for each in self._kept.values()) > _KEPT:
            if len(self._kept) == 1:
                break
            self._kept.popitem(last=False)
        return found

    def _features(
        self, metric: Metric, model: int, layer: int
    ) -> NDArray[Any]:
        source = self.models[model]
        X = source.layers[layer].read()
        items = self.items(metric)
        X = X if items is None else X[items]
        if np.array_equal(X, np.broadcast_to(X[0], X.shape)):
            raise UsageError(
                "E_FEATURES",
                f"{printable(source.id)} has the same row for all items in"
                f" layer {printable(source.layers[layer].name)}",
                advice="nothing can be aligned with that",
            )
        return unit_rows(X) if self.asked.normalize else X


def _measure(
    work: _Work,
    metrics: Sequence[Metric],
    on_event: Observer | None,
) -> list[_Found]:
    draws = work.asked.draws
    steps = list(_steps(work.models, metrics))
    layers = [len(model.layers) for model in work.models]
    total = sum(layers[a] * layers[b] for a, b, _ in steps) * (1 + draws)
    done = 0
    found = []
    for a, b, metric in steps:
        subject = f"{metric.name}: {work.models[a].id}, {work.models[b].id}"

        def told(subject: str = subject) -> None:
            nonlocal done
            done += 1
            if on_event is not None:
                on_event(Progress("align", done, total, subject))

        parts = [
            measured(
                work.score(metric, (a, i), (b, j)),
                (i, j),
                work.many(metric),
                draws=draws,
                seed=work.asked.seed,
                told=told,
            )
            for i, j in product(range(layers[a]), range(layers[b]))
        ]
        highest = reduce(Highest.joined, parts)
        if not highest.is_defined:
            raise UsageError(
                "E_FEATURES",
                f"{printable(subject)}: a division by zero",
                advice="rows differ in too few items, or have too few columns,"
                " for this metric",
            )
        found.append(_Found(a, b, metric, work.many(metric), highest))
    return sorted(
        found, key=lambda each: (each.a, each.b, metrics.index(each.metric))
    )


def _steps(
    models: Sequence[Represented], metrics: Sequence[Metric]
) -> Iterator[tuple[int, int, Metric]]:
    """Yield what is measured, the metrics of one preparation together."""
    order = list(dict.fromkeys(metric.prepare for metric in metrics))
    for prepare in order:
        for a, b in combinations(range(len(models)), 2):
            for metric in metrics:
                if metric.prepare is prepare:
                    yield a, b, metric
                    if metric.is_directed:
                        yield b, a, metric


def _row(models: Sequence[Represented], found: _Found) -> Document:
    a, b, best = models[found.a], models[found.b], found.highest
    i, j = best.place
    return {
        "a": a.id,
        "b": b.id,
        "metric": found.metric.name,
        "value": number(best.value),
        "null_mean": number(best.null_mean),
        "null_high": number(best.null_high),
        "excess": number(best.value - best.null_mean),
        "p": best.p,
        "n_items": found.n_items,
        "coverage": found.n_items / max(a.n_rows, b.n_rows),
        "layer_a": a.layers[i].name,
        "layer_b": b.layers[j].name,
    }


def described(model: Represented, /) -> Document:
    """Return what is told of a model: its rows and layers."""
    return {
        "id": model.id,
        "kind": model.kind,
        "n_rows": model.n_rows,
        "layers": [
            {"name": layer.name, "width": layer.width}
            for layer in model.layers
        ],
    }


def _matrices(
    metrics: Sequence[Metric],
    models: Sequence[Represented],
    found: Sequence[_Found],
) -> list[Document]:
    """Return what is told of each metric for all pairs together."""
    matrices = []
    for metric in metrics:
        values = np.full((len(models), len(models)), np.nan)
        for each in found:
            if each.metric is metric:
                values[each.a, each.b] = each.highest.value
                if not metric.is_directed:
                    values[each.b, each.a] = each.highest.value
        matrices.append(
            {
                "metric": metric.name,
                "cite": metric.cite,
                "order": [models[i].id for i in clustered(values)],
                "values": [[number(x) for x in row] for row in values],
            }
        )
    return matrices


def _conclusion(
    pairs: Sequence[Document],
    metric: Metric,
    models: Sequence[Represented],
    draws: int,
) -> str:
    rows = [row for row in pairs if row["metric"] == metric.name]
    n = rows[0]["n_items"]
    if len(models) == 2:
        row = rows[0]
        return (
            f"{row['a']} and {row['b']}: {metric.name} {row['value']:.3f},"
            f" {row['null_mean']:.3f} with permuted items"
            f" (p = {row['p']:.2g}), over {n} items"
        )
    above = sum(row["value"] > row["null_high"] for row in rows)
    return (
        f"{above} of {len(rows)} pairs have a higher {metric.name} than with"
        f" any of {draws} permutations of the {n} items"
    )
