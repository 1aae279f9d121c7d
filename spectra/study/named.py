"""Models that something else names too: a file of scores, a run."""

from collections.abc import Sequence
from pathlib import PurePath

from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.study.represented import Represented
from spectra.weights.features.files import FORMATS

__all__ = ["FEWEST_MODELS", "named"]

FEWEST_MODELS = 4
"""Three have six orders: no p of theirs is below 0.3."""


def named(
    models: Sequence[Represented], names: Sequence[str], /, *, code: str
) -> list[str | None]:
    """Return the name that each model has elsewhere; None for none.

    A name is a model's where it is its id; else where the last parts of both
    are the same, without the ending of a file of features.

    Parameters
    ----------
    models
        Whose names are sought.
    names
        Those there are, each once.
    code
        Of the error.

    Raises
    ------
    UsageError
        When one name could be of two models, or one model has two.
    """
    found = [_name_of(model.id, names, code) for model in models]
    for i, name in enumerate(found):
        if name is not None and name in found[:i]:
            first = models[found.index(name)].id
            raise UsageError(
                code,
                f"{printable(name)} could be {printable(first)} or"
                f" {printable(models[i].id)}",
                advice="write the whole ids of both",
            )
    return found


def _name_of(id_: str, names: Sequence[str], code: str) -> str | None:
    for of in (str, _stem):
        same = [name for name in names if of(name) == of(id_)]
        if len(same) > 1:
            raise UsageError(
                code,
                f"{printable(id_)} could be {printable(same[0])} or"
                f" {printable(same[1])}",
                advice="write its whole id",
            )
        if same:
            return same[0]
    return None


def _stem(name: str) -> str:
    path = PurePath(name)
    return path.stem if path.suffix.lower() in FORMATS else path.name
