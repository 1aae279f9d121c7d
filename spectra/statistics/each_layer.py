"""What is done with every layer of a fit, and with what was asked for."""

from collections.abc import Callable
from typing import TypeVar

from spectra.backend.threads import cores, in_order
from spectra.core.catalog import Quarantined
from spectra.core.errors import Quarantine, UsageError
from spectra.core.events import Observer, Progress
from spectra.core.settings import OverlapSettings
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["check", "each_layer"]

Result = TypeVar("Result")

_FEWEST_DRAWS = 199

_LAYER_BYTES = 400
"""What a layer takes while it is looked at, times the square of its members:
its products, and draws that go in batches."""

_BYTES = 2**31


def check(settings: OverlapSettings, /) -> None:
    """Refuse numbers that are out of range.

    Raises
    ------
    UsageError
        When there are too few draws, or a level or resample below one.
    """
    if settings.draws < _FEWEST_DRAWS:
        raise UsageError(
            "E_DRAWS",
            f"{settings.draws} draws resolve no p below"
            f" {1 / (1 + settings.draws):.2g}",
            advice=f"draw at least {_FEWEST_DRAWS}",
        )
    if settings.bootstrap < 1 or any(k < 1 for k in settings.k):
        raise UsageError(
            "E_LEVEL", "levels of k and resamples are counted from 1"
        )


def each_layer(
    fit: PopulationFit,
    work: Callable[[LayerFit], Result],
    /,
    *,
    stage: str,
    on_event: Observer | None,
) -> tuple[list[Result], list[Quarantined]]:
    """Return what is found in the layers, in their order, and who has none.

    Parameters
    ----------
    fit
        The fit.
    work
        What is done with a layer. Each is on one thread, and so are its bits;
        it is read there, so that few are in memory.
    stage
        What the work is called.
    on_event
        Told after each layer.
    """
    n = len(fit.layers)

    def named(place: int) -> tuple[str, Result | Quarantined]:
        layer = fit.layers[place]
        try:
            return layer.name, work(layer)
        except Quarantine as reason:
            lost = Quarantined("all", layer.name, reason.code, reason.detail)
            return layer.name, lost

    at_once = _BYTES // (_LAYER_BYTES * max(1, len(fit.models)) ** 2)
    workers = max(1, min(cores(), at_once))
    done: list[Result] = []
    lost: list[Quarantined] = []
    for place, found in in_order(named, range(n), workers=workers):
        name, result = found
        if on_event is not None:
            on_event(Progress(stage, place + 1, n, name))
        if isinstance(result, Quarantined):
            lost.append(result)
        else:
            done.append(result)
    return done, lost
