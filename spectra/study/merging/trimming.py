"""Which entries of the parents are kept where all layers are trimmed together.

The magnitudes are counted layer by layer, as often as their bits ask for,
before anything is merged.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from spectra.apply.merging.trimming import (
    BINS,
    Counts,
    Digits,
    Vector,
    least_kept,
)
from spectra.backend.threads import in_order
from spectra.core.events import Observer, Tally
from spectra.study.merging.module import How, counted
from spectra.subspaces.layer import LayerTask

__all__ = ["least_of_model"]


def least_of_model(
    how: How,
    tasks: Sequence[LayerTask],
    workers: int,
    /,
    *,
    on_event: Observer | None = None,
) -> Vector | None:
    """Return the least magnitude of each parent that is kept.

    Parameters
    ----------
    how
        What is done.
    tasks
        Where each parent keeps each layer.
    workers
        Layers at a time.
    on_event
        Told after each layer, from the start again for each pass.

    Returns
    -------
    Vector or None
        None where layers are trimmed alone, or nothing is. A layer with a
        parent that cannot be used does not count.
    """
    if not how.choice.is_of_model:
        return None
    n, nbytes = len(tasks[0].holders), sum(task.nbytes for task in tasks)

    def count(digits: Digits) -> Counts:
        found = np.zeros((n, BINS), np.int64)
        counting = in_order(
            partial(counted, how, digits), tasks, workers=workers
        )
        tally = Tally(on_event, "trim", len(tasks), nbytes)
        for task, counts in counting:
            found += 0 if counts is None else counts
            tally.tell(task.key.name, task.nbytes)
        return found

    return least_kept(count, n, how.choice.options["density"])
