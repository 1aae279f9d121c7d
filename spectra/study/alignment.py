"""How alike models represent the same items, pair by pair."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import combinations, product
from pathlib import Path
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
from spectra.statistics.streams import generator
from spectra.study.aligned import (
    Found,
    conclusion,
    described,
    excesses,
    matrices,
    rows,
)
from spectra.study.members import overlaps_of, weights_document
from spectra.study.represented import Represented, represented
from spectra.study.scores import convergence_document, scores_of
from spectra.subspaces.result import PopulationFit

__all__ = [
    "FEWEST_DRAWS",
    "SCHEMA",
    "align_models",
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
    scores: Mapping[str, float] | Path | None = None,
    run: tuple[str, PopulationFit] | None = None,
    on_event: Observer | None = None,
) -> Document:
    """Return how alike models represent the same items, beside a null.

    Parameters
    ----------
    sources
        Files of features or checkpoints, two or more.
    asked
        What is to be measured.
    scores
        Of each model one, by id or in a file, that alignment may follow.
    run
        Name of a run that models are members of, and what it holds: their
        weights' overlap is held against alignment.
    on_event
        Told of each evaluation.

    Raises
    ------
    UsageError
        When a metric is unknown, a source, the scores or the run cannot be
        used, or there are too few items or draws.
    """
    metrics = metrics_named(asked.metric)
    require_draws(asked.draws)
    with represented(sources) as models:
        n = models[0].layers[0].n_items
        _check_items(n, asked.k)
        scored = None if scores is None else scores_of(scores, models)
        overlaps = None if run is None else overlaps_of(*run, models)
        found = _measure(_Work(models, asked, n), metrics, on_event)
    ids = [model.id for model in models]
    pairs = rows(models, found)
    excess = excesses(metrics, len(models), found)
    names = tuple(metric.name for metric in metrics)
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": as_json(replace(asked, metric=names)),
        "models": [described(each) for each in models],
        "n_items": n,
        "null": KEEPS,
        "pairs": pairs,
        "matrices": matrices(metrics, models, found),
        "convergence": None
        if scored is None
        else convergence_document(excess, ids, scored, seed=asked.seed),
        "weights": None
        if overlaps is None
        else weights_document(overlaps, excess, ids, seed=asked.seed),
        "text": conclusion(pairs, metrics[0], models, asked.draws),
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
) -> list[Found]:
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
        found.append(Found(a, b, metric, work.many(metric), highest))
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
