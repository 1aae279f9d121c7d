"""Are pictures and their names aligned, beyond colours and shared words?"""

from collections.abc import Iterator

import numpy as np

from analyses.platonic.beside import Row, aligned, pairs
from analyses.platonic.materials import font
from analyses.platonic.pictures import captioned, seen
from analyses.platonic.words import at_random, models

ITEMS, SEED = 400, 0
METRICS = ("mutual-knn",)


def measured() -> Iterator[tuple[str, list[Row]]]:
    """Yield the alignment of every two models on emoji drawn."""
    pictures = captioned(font())
    rng = np.random.default_rng(SEED)
    names = sorted(rng.permutation(sorted(pictures))[:ITEMS])
    parts = {model: of(names) for model, of in models()}
    parts["random words"] = at_random()(names)
    parts |= seen([pictures[name] for name in names])
    yield "emoji", pairs(aligned(parts, metric=METRICS))
