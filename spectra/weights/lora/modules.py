"""The modules of a PEFT adapter, as its own file has them.

A population's layers may be parts of a module whose factor B holds several
maps of one input; what is written for PEFT are modules.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from spectra.core.catalog import Checkpoint, LayerKey, LowRankSource
from spectra.core.tensors import TensorRef
from spectra.weights.lora.peft import PEFT

__all__ = ["ROOT", "Module", "modules_of", "plain_name"]

ROOT = "base_model.model."
"""What PEFT puts before a module's name in the base."""


@dataclass(frozen=True, slots=True)
class Module:
    """One update of an adapter.

    Attributes
    ----------
    layers
        The population's names and shapes for what it holds.
    source
        Both factors, as matrices.
    A, B
        The same as they are stored: those of a convolution have four axes.
    """

    layers: tuple[LayerKey, ...]
    source: LowRankSource
    A: TensorRef
    B: TensorRef

    @property
    def shape(self) -> tuple[int, int]:
        """Return (out, in)."""
        return self.source.B.shape[0], self.source.A.shape[1]

    @property
    def identity(self) -> tuple[object, ...]:
        """Return what it has in common with the same module of another."""
        return self.layers, self.A.shape[1:], self.B.shape[2:]

    @property
    def name(self) -> str:
        """Return the layer's name; of several layers that of the module."""
        if len(self.layers) == 1:
            return self.layers[0].name
        return self.target

    @property
    def target(self) -> str:
        """Return its name in the base model, by which PEFT finds it."""
        found = PEFT.role(self.A)
        return (found[0] if found else self.A.name).removeprefix(ROOT)

    def names(self) -> tuple[str, str]:
        """Return what PEFT calls A and B in a file, without an adapter's."""
        return plain_name(self.A.name), plain_name(self.B.name)

    def shapes(self, rank: int, /) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return those of A and B as they are stored, with another rank."""
        A, B = self.A.shape, self.B.shape
        return (rank, *A[1:]), (B[0], rank, *B[2:])


def modules_of(
    model: Checkpoint, tensors: Iterable[TensorRef], /
) -> tuple[Module, ...]:
    """Return the modules of an adapter, in the order of its layers.

    Parameters
    ----------
    model
        Sorted into layers.
    tensors
        Of its files, as they are stored.
    """
    stored: Mapping[str, TensorRef] = {ref.name: ref for ref in tensors}
    parts: dict[str, list[tuple[LayerKey, LowRankSource]]] = {}
    for key, source in model.layers:
        if isinstance(source, LowRankSource):
            parts.setdefault(source.A.name, []).append((key, source))
    return tuple(
        Module(
            tuple(key for key, _ in held),
            _whole([source for _, source in held]),
            stored[name],
            stored[held[0][1].B.name],
        )
        for name, held in parts.items()
    )


def _whole(sources: Sequence[LowRankSource]) -> LowRankSource:
    """Return one source of which some are the rows."""
    rows = [source.B for source in sources]
    B = replace(
        rows[0],
        start=min(ref.start for ref in rows),
        stop=max(ref.stop for ref in rows),
        shape=(sum(ref.shape[0] for ref in rows), rows[0].shape[1]),
    )
    return replace(sources[0], B=B)


def plain_name(name: str, /) -> str:
    """Return what PEFT calls a factor, without an adapter's name."""
    found = PEFT.factor.fullmatch(name)
    if found is None:
        return name
    embedding = found["embedding"] or ""
    ending = "" if embedding else ".weight"
    side = "A" if found["A"] else "B"
    return f"{found['module']}.lora_{embedding}{side}{ending}"
