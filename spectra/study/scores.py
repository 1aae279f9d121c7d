"""A score of each model, and whether alignment follows it."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.align.representations.convergence import (
    alignments,
    follows,
    line_of,
)
from spectra.align.representations.relabelled import Relabelled
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.statistics.plain import number
from spectra.statistics.streams import generator
from spectra.study.named import FEWEST_MODELS, named
from spectra.study.represented import Represented
from spectra.weights.strict_json import parse

__all__ = ["convergence_document", "resolved", "scores_of"]

Document = dict[str, Any]
Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

_SMALL = 0.05
_RESOLVES = 0.01
"""Where no p is below it, that is said."""


def scores_of(
    given: Mapping[str, float] | Path, models: Sequence[Represented], /
) -> Vector:
    """Return the score of each model.

    Parameters
    ----------
    given
        By id; or a file: JSON of the same, else CSV with columns id and
        score.
    models
        Whose scores are wanted; others are not looked at.

    Raises
    ------
    UsageError
        E_SCORES where the file is not read, a model has none, one is no
        finite number, all are equal, or there are fewer than four.
    """
    where = "the scores"
    if isinstance(given, Path):
        where = printable(str(given))
        given = _read(given)
    if len(models) < FEWEST_MODELS:
        raise _refused(
            f"{len(models)} models have scores, fewer than {FEWEST_MODELS}",
            advice="no correlation of so few can be told from chance",
        )
    found = []
    names = named(models, list(given), code="E_SCORES")
    for model, name in zip(models, names, strict=True):
        if name is None:
            raise _refused(
                f"{where}: no score of {printable(model.id)}",
                advice="give one for every model, by its id",
            )
        found.append(_finite(given[name], f"{where}: {printable(name)}"))
    if min(found) == max(found):
        raise _refused(
            f"{where}: all models have the score {found[0]:g}",
            advice="nothing can follow that",
        )
    return np.array(found)


def _read(path: Path) -> dict[str, Any]:
    try:
        raw = path.read_bytes()
        if path.suffix.lower() != ".json":
            return _of_rows(raw.decode("utf-8-sig"))
        found = parse(raw, depth=2)
    except (OSError, ValueError, csv.Error) as error:
        raise _refused(
            f"{printable(str(path))} cannot be read ({printable(str(error))})"
        ) from error
    if not isinstance(found, dict):
        raise _refused(f"{printable(str(path))} is no object of scores by id")
    return found


def _of_rows(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    rows: Iterable[dict[str, str]] = csv.DictReader(
        text.splitlines(), skipinitialspace=True, strict=True
    )
    for row in rows:
        name, score = row.get("id"), row.get("score")
        if name is None or score is None:
            raise ValueError("a row lacks its id or its score")
        if name in found:
            raise ValueError(f"{name} stands twice")
        found[name] = score
    return found


def _finite(value: Any, what: str) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise _refused(
            f"{what} has the score {printable(str(value), 40)}",
            advice="a score is a finite number",
        )
    return found


def _refused(
    what: str, *, advice: str = "write id,score and then a line a model"
) -> UsageError:
    return UsageError("E_SCORES", what, advice=advice)


def convergence_document(
    excess: Mapping[str, Matrix],
    ids: Sequence[str],
    scores: Vector,
    /,
    *,
    seed: int,
) -> list[Document]:
    """Return whether alignment follows the scores, one entry a metric.

    Parameters
    ----------
    excess
        Of each metric, models by models.
    ids, scores
        Of the models.
    seed
        Of what is drawn.
    """
    return [
        _entry(metric, values, ids, scores, seed)
        for metric, values in excess.items()
    ]


def _entry(
    metric: str, excess: Matrix, ids: Sequence[str], scores: Vector, seed: int
) -> Document:
    alignment = alignments(excess)
    rho = follows(alignment, scores, generator(seed, "models"))
    line = line_of(excess, scores, generator(seed, "models", "again"))
    return {
        "metric": metric,
        "models": [
            {"id": name, "score": float(score), "alignment": float(mean)}
            for name, score, mean in zip(ids, scores, alignment, strict=True)
        ],
        "spearman": number(rho.value),
        "p": number(rho.p),
        "n_permutations": len(rho.drawn),
        "slope": line.slope,
        "intercept": line.intercept,
        "band": [
            {"score": float(at), "low": float(low), "high": float(high)}
            for at, low, high in zip(line.at, line.low, line.high, strict=True)
        ],
        "text": _text(metric, rho, len(ids)),
    }


def _text(metric: str, rho: Relabelled, n: int) -> str:
    if math.isnan(rho.value):
        return f"{metric}: all {n} models are aligned alike"
    how = "alignment follows the score no more than by chance"
    if rho.p <= _SMALL:
        more = "more" if rho.value > 0 else "less"
        how = f"models of a higher score are {more} aligned with the others"
    return (
        f"{metric}: {how} (Spearman's rho {rho.value:.2f}, p = {rho.p:.2g},"
        f" {n} models){resolved(rho, n)}"
    )


def resolved(found: Relabelled, n: int, /) -> str:
    """Return what so few models cannot show; nothing where they are enough."""
    if found.least_p <= _RESOLVES:
        return ""
    return f"; {n} models resolve no p below {found.least_p:.2g}"
