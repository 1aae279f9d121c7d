"""Checkpoints, the layers they hold, and the catalogue that `scan` makes."""

from dataclasses import dataclass, field
from typing import Literal

from spectra.core.tensors import FileRef, TensorRef

__all__ = [
    "Architecture",
    "Catalog",
    "Checkpoint",
    "DenseSource",
    "LayerKey",
    "LayerSource",
    "LowRankSource",
    "Quarantined",
    "Skipped",
]


@dataclass(frozen=True, slots=True, order=True)
class LayerKey:
    """A layer as the population names it.

    Attributes
    ----------
    name
        Canonical name: wrapper prefixes and a final ``.weight`` taken away.
    shape
        ``(out, in)``, whatever way round the file stores it.
    kind
        ``"dense"`` for full weights, ``"low-rank"`` for adapters. A dense
        layer becomes a ``"difference"`` in `fit` when it is given a base.
    """

    name: str
    shape: tuple[int, int]
    kind: Literal["dense", "low-rank"]


@dataclass(frozen=True, slots=True)
class DenseSource:
    """Where one checkpoint keeps one full weight matrix.

    Attributes
    ----------
    weight
        Its bytes; with more than two dimensions (a convolution) all but the
        first are taken together.
    transposed
        True where the file stores ``in x out`` (Conv1D, Keras kernels).
    """

    weight: TensorRef
    transposed: bool = False

    @property
    def tensors(self) -> tuple[TensorRef, ...]:
        """Return the references this layer is read from."""
        return (self.weight,)


@dataclass(frozen=True, slots=True)
class LowRankSource:
    """Where one adapter keeps the two factors of one update ``scale * B @ A``.

    Attributes
    ----------
    A, B
        Factors of shape ``(rank, in)`` and ``(out, rank)``.
    scale
        alpha / r, or alpha / sqrt(r) for rsLoRA, with its patterns applied.
    """

    A: TensorRef
    B: TensorRef
    scale: float

    @property
    def rank(self) -> int:
        """Return the number of columns of B."""
        return self.A.shape[0]

    @property
    def tensors(self) -> tuple[TensorRef, ...]:
        """Return the references this layer is read from."""
        return (self.A, self.B)


LayerSource = DenseSource | LowRankSource


@dataclass(frozen=True, slots=True)
class Skipped:
    """A tensor that is not analysed, and why.

    Attributes
    ----------
    reason
        A short code, such as ``"SKIP_NOT_MATRIX"`` or ``"SKIP_INTEGER"``.
    """

    tensor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One member of a population, described from headers alone.

    Attributes
    ----------
    id
        Name by which reports speak of it: foreign text, unique in a catalogue.
    revision
        40-hex commit where one is known, else None.
    path
        The folder or file it was found at.
    layers
        What it holds, in order of `LayerKey`.
    architecture
        `Architecture.id` it was grouped into.
    base_claim
        The base model that its card or config names: a claim, not a fact.
    duplicate_of
        Id of an earlier checkpoint with the same bytes.
    """

    id: str
    revision: str | None
    path: str
    files: tuple[FileRef, ...]
    layers: tuple[tuple[LayerKey, LayerSource], ...]
    skipped: tuple[Skipped, ...] = ()
    architecture: str = ""
    license: str | None = None
    base_claim: str | None = None
    duplicate_of: str | None = None

    @property
    def nbytes(self) -> int:
        """Return the length of all its files together."""
        return sum(file.nbytes for file in self.files)

    def source(self, key: LayerKey, /) -> LayerSource | None:
        """Return where the layer `key` lies, or None where it is absent."""
        return dict(self.layers).get(key)


@dataclass(frozen=True, slots=True)
class Architecture:
    """Checkpoints that have most of their layers in common.

    Attributes
    ----------
    id
        Short and stable, made from the layers: ``"dense-3f2a91c0"``.
    layers
        Every layer that two or more members hold (all, for one member).
    members
        Checkpoint ids, in the order of the catalogue.
    """

    id: str
    layers: tuple[LayerKey, ...]
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Quarantined:
    """Something that was set aside, and why. `layer` is None for a model."""

    id: str
    layer: str | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """A population: what was found, how it groups, what was set aside."""

    models: tuple[Checkpoint, ...]
    architectures: tuple[Architecture, ...]
    quarantine: tuple[Quarantined, ...] = ()
    sources: tuple[str, ...] = field(default=())
