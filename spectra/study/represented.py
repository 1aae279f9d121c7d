"""Models as the layers in which they represent the same items."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.hub.files import HubFiles
from spectra.hub.places import is_reference, places_of
from spectra.hub.session import open_hub
from spectra.weights.features.arrays import Layer
from spectra.weights.features.embedding import Embedding, read_embedding
from spectra.weights.features.files import FORMATS, read_features
from spectra.weights.features.hdf5_files import arrays_in_hdf5, items_of
from spectra.weights.ids import unique_ids
from spectra.weights.limits import limits_of_environment
from spectra.weights.sources import Place, places

__all__ = ["Represented", "represented"]


@dataclass(frozen=True, slots=True)
class Represented:
    """One model.

    Attributes
    ----------
    n_rows
        Items that it has: rows of its file, tokens of its vocabulary.
    layers
        Of the items that all models have, in one order.
    """

    id: str
    kind: Literal["features", "embedding"]
    n_rows: int
    layers: tuple[Layer, ...]


@contextmanager
def represented(
    sources: Sequence[str], /
) -> Iterator[tuple[Represented, ...]]:
    """Give models with the same items, for a ``with`` block.

    Parameters
    ----------
    sources
        Files of features, whose rows are the same items; or checkpoints,
        whose items are the tokens that all of them have.

    Raises
    ------
    UsageError
        E_ALIGN where they have no items in common; E_FEATURES where one of
        them cannot be used.
    """
    if len(sources) < 2:
        raise UsageError(
            "E_ALIGN", "one model has nothing to be aligned with",
            advice="name two or more",
        )  # fmt: skip
    are_files = [_is_file(source) for source in sources]
    if all(are_files):
        yield _of_features(sources)
    elif any(are_files):
        file = sources[are_files.index(True)]
        raise UsageError(
            "E_ALIGN",
            f"{printable(file)} holds features, others are checkpoints: no"
            " item of theirs is known to be the same",
            advice="name files of features, or folders of checkpoints",
        )
    else:
        with ExitStack() as held:
            hub = None
            if any(map(is_reference, sources)):
                hub = held.enter_context(open_hub())
            yield _of_vocabularies(sources, hub)


def _is_file(source: str) -> bool:
    return Path(source).suffix.lower() in FORMATS and not is_reference(source)


def _of_features(sources: Sequence[str]) -> tuple[Represented, ...]:
    found = [read_features(source) for source in sources]
    many = [layers[0].n_items for layers in found]
    for source, n in zip(sources, many, strict=True):
        if n != many[0]:
            raise UsageError(
                "E_ALIGN",
                f"{printable(source)} has {n} rows, {printable(sources[0])}"
                f" {many[0]}",
                advice="rows have to be the same items in all files",
            )
    _check_same_items(sources)
    paths = [Path(source).absolute() for source in sources]
    ids = unique_ids(
        [(path.name, "/".join(path.parts[-2:]), str(path)) for path in paths]
    )
    return tuple(
        Represented(name, "features", n, layers)
        for name, n, layers in zip(ids, many, found, strict=True)
    )


def _check_same_items(sources: Sequence[str]) -> None:
    """Refuse files that tell themselves that their items are others.

    Items of two kinds, such as images and their captions, can be the same.
    """
    known: dict[str, tuple[str, str]] = {}
    for source in sources:
        if FORMATS[Path(source).suffix.lower()] is not arrays_in_hdf5:
            continue
        told = items_of(source)
        if told is None:
            continue
        kind, items = told
        other, theirs = known.setdefault(kind, (source, items))
        if theirs != items:
            raise UsageError(
                "E_ALIGN",
                f"{printable(other)} and {printable(source)} are features of"
                " other items",
                advice="extract them from the same texts or images",
            )


def _of_vocabularies(
    sources: Sequence[str], hub: HubFiles | None
) -> tuple[Represented, ...]:
    found = [_place(source, hub) for source in sources]
    names = unique_ids([place.ids for place in found])
    embeddings = [
        _embedding(name, place)
        for name, place in zip(names, found, strict=True)
    ]
    common = set.intersection(*(set(each.rows) for each in embeddings))
    if not common:
        raise UsageError(
            "E_ALIGN", "the vocabularies have no token in common",
            advice="tokens meet by their text, as the tokenizer writes it",
        )  # fmt: skip
    tokens = sorted(common)
    return tuple(
        Represented(
            name,
            "embedding",
            len(each.rows),
            (
                Layer(
                    each.tensor.name,
                    len(tokens),
                    each.tensor.shape[1],
                    partial(_rows, name, each, tokens),
                ),
            ),
        )
        for name, each in zip(names, embeddings, strict=True)
    )


def _place(source: str, hub: HubFiles | None) -> Place:
    if hub is not None and is_reference(source):
        found, faults = places_of(hub, source, revision=None)
    else:
        found, faults = places(source)
    if len(found) != 1:
        reasons = "; ".join(f"{q.code}: {q.detail}" for q in faults)
        raise UsageError(
            "E_FEATURES",
            f"{printable(source)} is {len(found)} checkpoints, not one"
            + (f" ({reasons})" if reasons else ""),
            advice="name one checkpoint's folder, or a file of features",
        )
    return found[0]


def _embedding(name: str, place: Place) -> Embedding:
    try:
        return read_embedding(place.folder, limits=limits_of_environment())
    except Quarantine as fault:
        raise _unusable(name, fault) from fault


def _rows(
    name: str, embedding: Embedding, tokens: Sequence[str]
) -> NDArray[Any]:
    try:
        return embedding.read(tokens)
    except Quarantine as fault:
        raise _unusable(name, fault) from fault


def _unusable(name: str, fault: Quarantine) -> UsageError:
    return UsageError(
        "E_FEATURES",
        f"{printable(name)}: {fault.code}: {fault.detail}",
        advice="a checkpoint needs its tokenizer.json or vocab.txt beside an"
        " input embedding of floats",
    )
