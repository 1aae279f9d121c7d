"""Adapters in directions of their population, and tested."""

from functools import partial

import numpy as np

from analyses.minilm_merge.bench import SEED, TASKS, Bench, Row
from analyses.minilm_merge.directions import Projection, weights
from analyses.minilm_merge.model import read_update

PROJECTIONS = (
    *(Projection(False, "leading", k) for k in (4, 8, 16, 24)),
    *(Projection(True, "leading", k) for k in (0, 4, 8, 16, 30)),
    *(
        Projection(held_out, basis, 8)
        for held_out in (False, True)
        for basis in ("secondary", "random")
    ),
)


def projections(bench: Bench) -> None:
    """Test each adapter in directions of all, and of all others."""
    updates = [read_update(bench.path(i)) for i in range(TASKS)]
    layers = {
        name: np.stack([update[name].ravel() for update in updates])
        for name in updates[0]
    }
    grams = {
        name: np.asarray(X, np.float64) @ np.asarray(X, np.float64).T
        for name, X in layers.items()
    }

    def project(how: Projection) -> Row:
        right, captured = [], []
        for i in range(TASKS):
            update, inside, whole = {}, 0.0, 0.0
            for layer, (name, G) in enumerate(grams.items()):
                rng = np.random.default_rng([SEED, i, layer])
                a, some, every = weights(G, i, how, rng)
                combined = a.astype(np.float32) @ layers[name]
                update[name] = combined.reshape(updates[0][name].shape)
                inside, whole = inside + some, whole + every
            right += bench.right(update, [i])["right"]
            captured.append(round(inside / whole, 4))
        return {"right": right, "captured": captured}

    for how in PROJECTIONS:
        bench.book.row(
            {"what": "projection", "held_out": how.held_out,
             "basis": how.basis, "k": how.k, "part": "test"},
            partial(project, how),
        )  # fmt: skip
