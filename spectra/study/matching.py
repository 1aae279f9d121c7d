"""Independently trained networks, aligned to one of them and compared."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from spectra.align.calibrated import (
    Calibrated,
    align,
    by_chance,
    conclusion,
    grams,
    measures_document,
)
from spectra.align.permutation import NULLS, Matching
from spectra.backend.threads import one_thread
from spectra.core.catalog import Catalog
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.settings import OverlapSettings
from spectra.statistics.plain import number
from spectra.study.networks import Networks, read_networks

__all__ = ["FEWEST_DRAWS", "SCHEMA", "match_networks"]

SCHEMA = "spectra-match/1"

FEWEST_DRAWS = 20
"""With fewer no p is below 0.05."""

Document = dict[str, Any]
Matrix = NDArray[np.float64]


@dataclass(slots=True)
class _Work:
    """What was asked for, and how much of it is done."""

    draws: int
    seed: int
    on_event: Observer | None
    total: int
    done: int = 0

    def told(self, subject: str) -> None:
        self.done += 1
        if self.on_event is not None:
            self.on_event(Progress("match", self.done, self.total, subject))


@dataclass(frozen=True, slots=True)
class _Aligned:
    """One chain of all members, unaligned and aligned, (layers, n, n).

    Attributes
    ----------
    matchings
        Of all members but the first.
    calibrated
        Of one member a lineage group.
    """

    unaligned: Matrix
    aligned: Matrix
    matchings: list[Matching]
    calibrated: Calibrated


def match_networks(
    catalog: Catalog,
    /,
    *,
    layers: Sequence[str] = (),
    draws: int = FEWEST_DRAWS,
    seed: int = 0,
    on_event: Observer | None = None,
) -> Document:
    """Return how alike the networks of a population are once aligned.

    The first by id is the reference. One member of each lineage group, found
    in the weights as they stand, is compared with the others.

    Parameters
    ----------
    catalog
        The population.
    layers
        Globs: a chain is taken, whole, where one matches a layer of it.
    draws
        Populations drawn from each null.
    seed
        Of the draws.
    on_event
        Told of each draw of each chain.

    Raises
    ------
    UsageError
        When no chain of plain layers is recognised, or fewer than two
        independent networks have the same.
    """
    if draws < FEWEST_DRAWS:
        raise UsageError(
            "E_DRAWS",
            f"{draws} draws resolve no p below {1 / (1 + draws):.2g}",
            advice=f"draw at least {FEWEST_DRAWS}",
        )
    networks = read_networks(catalog, layers=layers)
    steps = len(networks.chains) * (1 + draws * len(NULLS))
    work = _Work(draws, seed, on_event, steps)
    with one_thread:
        labels = _lineages(networks)
        first = [labels.index(label) for label in dict.fromkeys(labels)]
        if len(first) < 2:
            raise UsageError(
                "E_NOTHING_TO_COMPARE",
                f"the {len(labels)} networks descend from one another",
                advice="align networks that were trained independently",
            )
        chains = [
            _aligned(networks, place, first, work)
            for place in range(len(networks.chains))
        ]
    return {
        "schema": SCHEMA,
        "version": version(),
        "settings": {"layers": list(layers), "draws": draws, "seed": seed},
        **_document(networks, labels, chains),
    }


def _lineages(networks: Networks) -> list[int]:
    """Return the lineage group of each network, by first appearance."""
    parts = [grams(chain).sum(axis=0) for chain in networks.weights]
    threshold = OverlapSettings().lineage_threshold_weights
    alike = _cosines(parts) > threshold
    labels = connected_components(alike, directed=False)[1].tolist()
    return [list(dict.fromkeys(labels)).index(label) for label in labels]


def _cosines(parts: Sequence[Matrix]) -> Matrix:
    """Return the cosines of networks, by the Gram matrices of their parts."""
    gram = np.sum(parts, axis=0)
    lengths = np.sqrt(np.diagonal(gram))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines: Matrix = gram / np.outer(lengths, lengths)
    return cosines


def _aligned(
    networks: Networks, place: int, first: Sequence[int], work: _Work
) -> _Aligned:
    name = networks.chains[place][0].name
    ids = [model.id for model in networks.models]
    weights = networks.weights[place]
    moved, matchings = align(weights)
    work.told(name)
    apart = {ids[i]: weights[i] for i in first}
    drawn: dict[str, list[Matrix]] = {null.name: [] for null in NULLS}
    for null, draw in product(NULLS, range(work.draws)):
        stream = f"{name}\0{draw}"
        drawn[null.name].append(
            by_chance(null, apart, seed=work.seed, stream=stream)
        )
        work.told(name)
    unaligned, aligned = grams(weights), grams(moved)
    places = np.ix_(range(len(unaligned)), first, first)
    calibrated = Calibrated(
        unaligned[places],
        aligned[places],
        {null: np.stack(found) for null, found in drawn.items()},
    )
    return _Aligned(unaligned, aligned, matchings, calibrated)


def _document(
    networks: Networks, labels: Sequence[int], chains: Sequence[_Aligned]
) -> Document:
    found = Calibrated.of_all([chain.calibrated for chain in chains])
    network = measures_document(found.whole())
    reference, n_others = networks.models[0].id, len(set(labels)) - 1
    layers = [layer for chain in networks.chains for layer in chain]
    return {
        "reference": reference,
        "n_others": n_others,
        "members": _members(networks, labels, chains),
        "chains": [
            [layer.name for layer in chain] for chain in networks.chains
        ],
        "layers": [
            {
                "name": layer.name,
                "shape": list(layer.shape),
                "bias": layer.bias is not None,
                **measures_document(found.layer(i)),
            }
            for i, layer in enumerate(layers)
        ],
        "network": network,
        "nulls": {null.name: null.keeps for null in NULLS},
        "text": conclusion(network, reference, n_others),
        "left_out": [
            {"id": name, "reason": reason}
            for name, reason in networks.left_out
        ],
        "quarantine": [asdict(entry) for entry in networks.quarantine],
    }


def _members(
    networks: Networks, labels: Sequence[int], chains: Sequence[_Aligned]
) -> list[Document]:
    """Return how each member lies along the reference, which is the first."""
    before = _cosines([chain.unaligned.sum(axis=0) for chain in chains])[0]
    after = _cosines([chain.aligned.sum(axis=0) for chain in chains])[0]
    matchings = zip(*(chain.matchings for chain in chains), strict=True)
    moved = [0.0, *map(_moved, matchings)]
    return [
        {
            "id": model.id,
            "revision": model.revision,
            "group": labels[i],
            "unaligned": number(before[i]),
            "aligned": number(after[i]),
            "moved": moved[i],
        }
        for i, model in enumerate(networks.models)
    ]


def _moved(matchings: Sequence[Matching]) -> float:
    """Return the share of the hidden units that left their place."""
    orders = np.concatenate(
        [
            order - np.arange(len(order))
            for m in matchings
            for order in m.orders
        ]
    )
    return float(np.mean(orders != 0))
