"""A compressed population as it is read, every byte of it held to its hash."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from spectra.core.errors import IntegrityError, Quarantine, UsageError
from spectra.core.tensors import FileRef, TensorRef
from spectra.core.text import printable
from spectra.study.compression.compressed_files import (
    BASIS,
    COEFFICIENTS,
    DOCUMENT,
    SCHEMA,
    digest_of,
    sha256_of,
)
from spectra.study.compression.stored import Form, read_form
from spectra.weights.bytes import FileSource
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from spectra.weights.stream import TensorReader
from spectra.weights.strict_json import JsonError, parse

__all__ = ["Compressed", "Kept", "KeptJointly", "read_compressed"]

Document = dict[str, Any]

_DEPTH = 32

_Layer = TypeVar("_Layer")


@dataclass(frozen=True, slots=True)
class Kept:
    """A layer of one member.

    Attributes
    ----------
    mean, basis
        Where they lie.
    coordinates
        k numbers.
    form, base
        How the member keeps it, and the base that was subtracted.
    base_digest
        Of the base's bytes.
    error
        Share of the squared deviation that is lost; None where there is none.
    """

    name: str
    shape: tuple[int, int]
    mean: TensorRef
    basis: TensorRef
    coordinates: NDArray[np.float32]
    form: Form
    base: Form | None
    base_digest: str | None
    error: float | None


@dataclass(frozen=True, slots=True)
class KeptJointly:
    """A layer of one adapter, by joint diagonalisation.

    Attributes
    ----------
    U, V
        Where its cluster's bases lie.
    sigma
        (R, R) or (R).
    form
        How the member keeps it.
    error
        Share of the squared norm that is lost; None of a member that has not
        moved.
    """

    name: str
    shape: tuple[int, int]
    U: TensorRef
    V: TensorRef
    sigma: NDArray[np.float32]
    form: Form
    error: float | None

    @property
    def k(self) -> int:
        """Return the columns of U or V, whichever are more."""
        return max(self.U.shape[1], self.V.shape[1])


@dataclass(frozen=True, slots=True)
class Compressed:
    """What `~spectra.study.compression.population.compress_run` wrote.

    Attributes
    ----------
    reader
        Reads mean, basis and coefficients.
    tensors
        All of them, by name.
    """

    folder: Path
    document: Document
    reader: TensorReader
    tensors: Mapping[str, TensorRef]

    def place(self, model: str, /) -> int:
        """Return the index of the member of an id, or of its last part.

        Raises
        ------
        UsageError
            E_MODEL when there is none, or several.
        """
        ids = [str(member["id"]) for member in self.document["members"]]
        whole = [i for i, name in enumerate(ids) if name == model]
        found = whole or [
            i for i, name in enumerate(ids) if name.split("/")[-1] == model
        ]
        if len(found) != 1:
            raise UsageError(
                "E_MODEL",
                f"{printable(model)} names {len(found)} of the {len(ids)}"
                " members, not one",
                advice="their ids are in compressed.json",
            )
        return found[0]

    @property
    def is_joint(self) -> bool:
        """Return whether it is one of adapters' shared bases."""
        return bool(self.document["scheme"] != "model-axis")

    def layers(self, place: int, /) -> Iterator[Kept]:
        """Yield the layers of a member, by its index.

        Raises
        ------
        IntegrityError
            When they are not described as this version does.
        """
        return self._each(place, self._kept)

    def joint_layers(self, place: int, /) -> Iterator[KeptJointly]:
        """Yield those of an adapter where `is_joint`, as `layers`."""
        return self._each(place, self._kept_jointly)

    def _each(
        self, place: int, kept: Callable[[Document, int], _Layer]
    ) -> Iterator[_Layer]:
        try:
            for layer in self.document["layers"]:
                if str(place) in layer["kept_as"]:
                    yield kept(layer, place)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise _damaged(self.folder / DOCUMENT) from error

    def _kept_jointly(self, layer: Document, place: int) -> KeptJointly:
        name, (out, into) = layer["name"], layer["shape"]
        row, labels = _row(layer, place), layer["clusters"]
        cluster = labels[row]
        U, V, table = (
            self.tensors[f"{name}.{cluster}.{kind}"]
            for kind in ("U", "V", "sigma")
        )
        ranks = U.shape[1], V.shape[1]
        own = ranks if len(table.shape) == 3 else ranks[:1]
        if (
            {ref.dtype for ref in (U, V, table)} != {"F32"}
            or (U.shape, V.shape) != ((out, ranks[0]), (into, ranks[1]))
            or table.shape != (labels.count(cluster), *own)
            or (len(own) == 1 and ranks[0] != ranks[1])
        ):
            raise ValueError(name)
        size = math.prod(own)
        at = size * labels[:row].count(cluster)
        found = self.reader.read(table, at, at + size).view("<f4").copy()
        return KeptJointly(
            name=name,
            shape=(out, into),
            U=U,
            V=V,
            sigma=found.reshape(own),
            form=read_form(layer["forms"][layer["kept_as"][str(place)]]),
            error=layer["errors"][row],
        )

    def _kept(self, layer: Document, place: int) -> Kept:
        name, (out, into), k = layer["name"], layer["shape"], layer["k"]
        row = _row(layer, place)
        mean = self.tensors[f"{name}.mean"]
        basis = self.tensors[f"{name}.basis"]
        table = self.tensors[f"{name}.coefficients"]
        n = len(layer["rows"])
        if (
            {ref.dtype for ref in (mean, basis, table)} != {"F32"}
            or (mean.shape, basis.shape) != ((out, into), (k, out, into))
            or table.shape != (n, k)
        ):
            raise ValueError(name)
        # The reader has no empty pieces.
        found = np.empty(0, np.uint8)
        if k:
            found = self.reader.read(table, row * k, (row + 1) * k)
        below = layer["base"]
        return Kept(
            name=name,
            shape=(out, into),
            mean=mean,
            basis=basis,
            coordinates=found.view("<f4").copy(),
            form=read_form(layer["forms"][layer["kept_as"][str(place)]]),
            base=read_form(below) if below else None,
            base_digest=layer["base_digest"],
            error=layer["errors"][row],
        )


def _row(layer: Document, place: int) -> int:
    """Return which of a layer's rows a member is, by its index."""
    row: int = layer["rows"].index(dict(layer["copies"]).get(place, place))
    return row


def read_compressed(folder: Path, /) -> Compressed:
    """Return the compressed population in a folder.

    Raises
    ------
    UsageError
        E_COMPRESSED when there is none, or one of another version.
    IntegrityError
        When it is damaged.
    """
    document = _document(folder / DOCUMENT)
    files: dict[str, FileRef] = {}
    tensors: dict[str, TensorRef] = {}
    for name in (BASIS, COEFFICIENTS):
        path = folder / name
        try:
            if sha256_of(path) != document["files"][name]["sha256"]:
                raise _damaged(path)
            with FileSource(path) as source:
                header = read_header(source, file=str(path), limits=Limits())
                files[str(path)] = source.reference(header.sha256)
        except (OSError, KeyError, TypeError, Quarantine) as error:
            raise _damaged(path) from error
        tensors |= {ref.name: ref for ref in header.tensors}
    return Compressed(folder, document, TensorReader(files), tensors)


def _document(path: Path) -> Document:
    try:
        found = parse(path.read_bytes(), depth=_DEPTH)
    except OSError as error:
        raise UsageError(
            "E_COMPRESSED",
            f"there is no compressed population in {path.parent}",
            advice="make one with: spectra compress run.h5 -o DIR",
        ) from error
    except JsonError as error:
        raise _damaged(path) from error
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise UsageError(
            "E_COMPRESSED",
            f"{path} is not of the form {SCHEMA}",
            advice="compress the run again with this version",
        )
    if found.get("sha256") != digest_of(found):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> IntegrityError:
    return IntegrityError(
        str(path),
        "is not what compress wrote",
        advice="compress the run again",
    )
