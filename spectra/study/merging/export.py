"""A merge written as a configuration of mergekit."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spectra.apply.merging.choice import Choice
from spectra.apply.merging.mergekit import (
    MARK,
    Model,
    Place,
    mergekit_config,
)
from spectra.core.catalog import Checkpoint
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.hub.files import is_remote
from spectra.store.atomic import replacing
from spectra.store.outputs import check_output
from spectra.study.merging.full_parents import is_full

__all__ = ["exporting"]


@contextmanager
def exporting(
    path: Path | None,
    choice: Choice,
    models: Sequence[Checkpoint],
    /,
    *,
    base: Checkpoint | None = None,
    dtype: str | None = None,
) -> Iterator[None]:
    """Write a configuration of mergekit when the block has ended well.

    Parameters
    ----------
    path
        Of the file; None for none.
    choice
        By which method.
    models
        What is merged.
    base
        What full weights were made from.
    dtype
        Of what is written; None for each tensor's own.

    Raises
    ------
    UsageError
        E_METHOD where mergekit does not do the same, E_OUTPUT where the file
        is something else; both before the block.
    """
    if path is None:
        yield
        return
    places: list[Model] = [_place(model) for model in models]
    below = None if base is None else _place(base)
    if not is_full(models[0]):
        below = root = Place(_claimed(models))
        places = [(root, _place(model)) for model in models]
    text = mergekit_config(choice, places, below, dtype)
    inputs = [file.path for model in models for file in model.files]
    check_output(path, is_ours=_is_ours, inputs=inputs)
    yield
    with replacing(path) as draft:
        draft.write_text(text, "utf-8")


def _place(model: Checkpoint) -> Place:
    """Return where mergekit finds a checkpoint: a folder, or a repository."""
    if not is_remote(model.path):
        path = Path(model.path).absolute()
        if path.is_dir():
            return Place(str(path))
        raise _refused(
            f"mergekit reads folders, and {printable(model.id)} is a file"
        )
    name, _, rest = model.path.removeprefix("hf://").partition("@")
    if "/" in rest:
        raise _refused(
            f"mergekit reads repositories, and {printable(model.id)} is a"
            " folder of one"
        )
    return Place(name, rest or model.revision)


def _claimed(models: Sequence[Checkpoint]) -> str:
    """Return the base model that all adapters name."""
    claims = {model.base_claim for model in models}
    (claim, *others) = claims
    if claim is None or others:
        raise _refused(
            "mergekit merges an adapter into its base model first, and these"
            " do not name one"
        )
    return claim


def _refused(what: str) -> UsageError:
    return UsageError("E_METHOD", what, advice="leave --mergekit out")


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MARK)) == MARK.encode()
    except OSError:
        return False
