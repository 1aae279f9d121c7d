"""A training run as report.json holds it: in each layer, and together."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.relations import Relations, rows_of
from spectra.statistics.plain import number, numbers, with_reason
from spectra.statistics.sides.side import Side, sides_of
from spectra.statistics.spectrum.panel import NUMBERS
from spectra.statistics.streams import stream
from spectra.statistics.trajectory.changes import (
    CITE,
    FEWEST,
    KEEPS,
    Split,
    changes,
)
from spectra.statistics.trajectory.drift import drift_of
from spectra.statistics.trajectory.order import Order, order_of
from spectra.statistics.trajectory.path import Path, path_of
from spectra.subspaces.result import LayerFit, MemberMetrics, PopulationFit

__all__ = ["order_asked", "trajectories_document", "trajectory_document"]

Document = dict[str, Any]
Vector = NDArray[np.float64]

_ALONE = ("effective_rank", "stable_rank", "alpha")

_UNASKED = "spectra fit --metrics asks for it"
_NOISE = "below the floor: noise of storage or of arithmetic"
_STILL = "a step of length 0, or below the floor, has no direction"
_BACK = "the last checkpoint is the first, or too near to it"
_UNKNOWN = "the length of a step is not known"
_NO_WAY = "no step has a length"
_EMPTY = "a checkpoint of zeros has no direction"
_WHOLE = "as many directions are kept as the side has: they cannot turn"
_FEW = "fewer than two of the ordered checkpoints have the layer"
_LAST = "at no checkpoint before the last"
_SEVERAL = "ids differ in several numbers"
_NO_FIT = "its spectrum has no power law, or it is zero"


def order_asked(
    fit: PopulationFit, relations: Relations, settings: OverlapSettings, /
) -> Order | None:
    """Return the order of the checkpoints; None where none was asked for.

    Parameters
    ----------
    fit
        The fit.
    relations
        Who equals whom.
    settings
        What was asked for.

    Raises
    ------
    UsageError
        ``E_ORDER`` when they are not in one.
    """
    if not settings.ordered:
        return None
    return order_of(fit.models, relations)


def trajectory_document(
    layer: LayerFit,
    order: Order | None,
    ids: Sequence[str],
    settings: OverlapSettings,
    /,
) -> Document:
    """Return ``trajectory`` of a layer; nothing where there is no order.

    Parameters
    ----------
    layer
        The layer.
    order
        Of the population's checkpoints.
    ids
        Of the population.
    settings
        Seed, draws and alpha.
    """
    if order is None:
        return {}
    spoken = rows_of(layer)
    places = [i for i, m in enumerate(order.members) if m in spoken]
    if len(places) < 2:
        return with_reason("trajectory", None, _FEW)
    rows = [spoken[order.members[i]] for i in places]
    names, path = [order.ids[i] for i in places], path_of(layer, rows, ids)
    found = {
        "places": places,
        "weights": _weights(path),
        **{
            f"{side.name}_side": _side(side, rows, names)
            for side in sides_of(layer, ids)
        },
        **_alone(layer.metrics, rows),
        **_changes(layer, path, names, settings),
    }
    return {"trajectory": found}


def trajectories_document(
    order: Order | None,
    layers: Sequence[Document],
    settings: OverlapSettings,
    /,
) -> Document:
    """Return ``trajectory`` of the report; nothing where there is no order.

    Parameters
    ----------
    order
        Of the checkpoints.
    layers
        As in report.json.
    settings
        Draws and alpha.
    """
    if order is None:
        return {}
    steps: Sequence[int | None] = order.steps or [None] * len(order.ids)
    lacks = order.steps is None and order.ids
    known = [layer["trajectory"] for layer in layers if layer["trajectory"]]
    asked = [each["changes"] for each in known if each["changes"]]
    tested = [each for each in asked if _may_change(each, settings)]
    changed = Counter(name for found in tested for name in found["at"])
    return {
        "trajectory": {
            "checkpoints": [
                {"id": name, "step": step}
                for name, step in zip(order.ids, steps, strict=True)
            ],
            **({"step_reason": _SEVERAL} if lacks else {}),
            "copies": list(order.left_out),
            "changes": {
                "keeps": KEEPS,
                "cite": CITE,
                "draws": settings.draws,
                "alpha": settings.alpha,
                "n_tested": len(tested),
                "n_too_short": len(asked) - len(tested),
                "n_changed": sum(bool(found["at"]) for found in tested),
                "n_by_chance": settings.alpha * len(tested),
                "at": [
                    {"id": name, "n_layers": changed[name]}
                    for name in order.ids
                    if changed[name]
                ],
            },
        }
    }


def _may_change(found: Document, settings: OverlapSettings) -> bool:
    """Return whether any order of a layer's steps could be divided."""
    return any(test["least_p"] <= settings.alpha for test in found["tests"])


def _listed(key: str, values: Iterable[float], reason: str) -> Document:
    """Return a list, and its reason beside it where it lacks something."""
    plain = numbers(values)
    return {key: plain, **({f"{key}_reason": reason} if None in plain else {})}


def _weights(path: Path) -> Document:
    steps, net, norm = path.steps, path.net, path.norm
    way = float(steps.sum())
    scale = norm if norm > 0 else np.nan
    noise = _NOISE if norm > 0 else "the last checkpoint is zero"
    return {
        "norm": norm,
        "floor": path.floor,
        **_listed("step", steps, _NOISE),
        **_listed("cosine", np.diagonal(path.cosines, 1), _STILL),
        **_listed("net_share", path.shares, _BACK),
        **_listed("from_first", path.distances[0] / scale, noise),
        **_listed("to_last", path.distances[-1] / scale, noise),
        **with_reason("net", number(net), _NOISE),
        **with_reason("length", number(way), _UNKNOWN),
        **with_reason(
            "straightness",
            number(net / way) if way else None,
            _NOISE if way > 0 else _NO_WAY if way == 0 else _UNKNOWN,
        ),
    }


def _side(side: Side, rows: Sequence[int], names: Sequence[str]) -> Document:
    found = drift_of(side, rows)
    first = None if found.is_whole else found.appears
    return {
        **_listed("drift", 1 - found.next, _EMPTY),
        **_listed("drift_chance", 1 - found.next_chance, _EMPTY),
        **_listed("last_overlap", found.last, _EMPTY),
        **_listed("last_chance", found.last_chance, _EMPTY),
        **with_reason(
            "appears",
            None if first is None else names[first],
            _WHOLE if found.is_whole else _LAST,
        ),
    }


def _alone(found: MemberMetrics | None, rows: Sequence[int]) -> Document:
    """Return what each checkpoint's own spectrum says, where it is known."""
    document: Document = {}
    for name in _ALONE:
        if found is None:
            document |= with_reason(name, None, _UNASKED)
        else:
            column = found.values[list(rows), NUMBERS.index(name)]
            document |= _listed(name, column, _NO_FIT)
    return document


def _changes(
    layer: LayerFit,
    path: Path,
    names: Sequence[str],
    settings: OverlapSettings,
) -> Document:
    moving = path.moving
    n = len(moving)
    found = None
    if n >= FEWEST:
        splits = changes(
            path.cosines[np.ix_(moving, moving)],
            draws=settings.draws,
            alpha=settings.alpha,
            rng=stream(layer, settings, "trajectory"),
        )
        # An increment begins at the checkpoint of its place.
        begins = [names[t] for t in moving]
        tests = [
            _split_document(split, begins, names[moving[split.stop - 1] + 1])
            | {"is_change": split.p <= settings.alpha}
            for split in splits
        ]
        found = {
            "n": n,
            "at": [test["at"] for test in tests if test["is_change"]],
            "tests": tests,
        }
    short = f"{n} steps have a direction, and a test needs {FEWEST}"
    return with_reason("changes", found, short)


def _split_document(split: Split, begins: Sequence[str], end: str) -> Document:
    return {
        "first": begins[split.start],
        "last": end,
        "n": split.stop - split.start,
        "at": begins[split.at],
        "explained": split.explained,
        "p": split.p,
        "least_p": split.least_p,
    }
