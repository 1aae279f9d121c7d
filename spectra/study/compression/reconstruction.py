"""A member made again from a compressed population, as a checkpoint.

Along the model axis it is the member's own files, byte for byte, but for the
layers that were analysed: of these not a byte is read, and what is kept of
them stands there. From shared bases it is an adapter of their rank.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from spectra.backend.memory import parse_bytes
from spectra.core.errors import IntegrityError, UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import version
from spectra.core.tensors import TensorRef
from spectra.core.text import printable
from spectra.store.atomic import replacing
from spectra.store.outputs import check_folder
from spectra.study.compression.compressed import Kept, read_compressed
from spectra.study.compression.rebuilding import Unit, Workshop, units_of
from spectra.study.compression.rejoining import (
    CONFIG,
    WEIGHTS,
    Draft,
    Rejoining,
)
from spectra.study.originals import Original, original, readable
from spectra.study.scan import opening
from spectra.weights.bytes import Opener

__all__ = ["MARK", "SCHEMA", "reconstruct_member"]

SCHEMA = "spectra-reconstructed/1"

MARK = "reconstructed.json"
"""Says what the checkpoint beside it is, and how far from the member."""

Document = dict[str, Any]


def reconstruct_member(
    folder: Path,
    model: str,
    out: Path,
    /,
    *,
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Document:
    """Write a member of a compressed population as a checkpoint.

    Parameters
    ----------
    folder
        What `compress` wrote.
    model
        The member's id, or the last part of it.
    out
        The folder to write: new, empty, or an older result.
    memory
        What the process may take.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When there is no such member, it is gone, or `out` holds something
        else.
    IntegrityError
        When the member, the base or the compressed population is not what it
        was.
    BudgetError
        When a layer does not fit `memory`.
    StorageError
        When it cannot be written; each file there is the old or the new.
    """
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    compressed = read_compressed(folder)
    place = compressed.place(model)
    member = compressed.document["members"][place]
    below = compressed.document["base"]
    if not member["n_layers"]:
        raise UsageError(
            "E_MODEL",
            f"{printable(model)} has none of the layers that were compressed",
        )
    paths = [member["path"], *([below["path"]] if below else [])]
    with readable(str(member["path"])), opening(paths) as opener:
        own = _as_it_was(member, opener)
        if own.papers_digest(opener) != member["papers_sha256"]:
            raise IntegrityError(
                printable(own.path, 1000),
                "is not the member it was: its configuration is another",
                advice="restore the member's files",
            )
        document = {
            "schema": SCHEMA,
            "version": version(),
            "model": member["id"],
            "revision": member["revision"],
            "scheme": compressed.document["scheme"],
            "settings": compressed.document["settings"],
            "untouched_bytes": member["untouched_bytes"],
        }
        if compressed.is_joint:
            rejoining = Rejoining(compressed, own, opener, limit, on_event)
            _require_ours(out, own, {WEIGHTS, CONFIG})
            with _drafting(out) as draft:
                document["layers"] = rejoining.write(draft, place)
                draft(MARK).write(_encoded(document))
            return document
        base = _as_it_was(below, opener) if below else None
        shop = Workshop(compressed.reader, base, opener, limit)
        units = units_of(compressed.layers(place), own)
        making = _Making(own, units, shop, on_event)
        papers = dict(own.papers(opener))
        _require_ours(out, own, {*own.files, *papers})
        with _drafts(out, own, papers) as (files, mark):
            making.copy(files, member["untouched_sha256"])
            document["layers"] = making.layers(files)
            mark.write(_encoded(document))
    return document


def _encoded(document: Document) -> bytes:
    return json.dumps(document, allow_nan=False).encode()


def _as_it_was(place: Document, opener: Opener) -> Original:
    return original(place["path"], opener, fingerprint=place["fingerprint"])


def _require_ours(out: Path, own: Original, names: set[str]) -> None:
    inputs = {file.path for file in own.files.values()}
    inputs |= set(own.folder.files.values())
    check_folder(
        out, {*names, MARK}, mark=MARK, is_ours=_is_ours, inputs=inputs
    )


def _is_ours(path: Path) -> bool:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("schema") == SCHEMA


@contextmanager
def _drafting(out: Path) -> Iterator[Draft]:
    """Give what opens files of a folder, which appear when all are written.

    The one that was opened last is renamed first: that by which the folder is
    known.
    """
    with ExitStack() as all_are_written:

        def draft(name: str) -> BinaryIO:
            # Names are entries of a folder: they lead to no other.
            path = all_are_written.enter_context(replacing(out / name))
            return all_are_written.enter_context(path.open("w+b"))

        yield draft


@contextmanager
def _drafts(
    out: Path, own: Original, papers: Mapping[str, bytes]
) -> Iterator[tuple[Mapping[str, BinaryIO], BinaryIO]]:
    """Give a file for each of the member's, and one for the mark."""
    with _drafting(out) as draft:
        for name, content in papers.items():
            draft(name).write(content)
        files = {file.path: draft(name) for name, file in own.files.items()}
        yield files, draft(MARK)


@dataclass(frozen=True, slots=True)
class _Making:
    """A member, what it is made of, and what makes it."""

    own: Original
    units: list[Unit[Kept]]
    shop: Workshop
    on_event: Observer | None

    def copy(self, files: Mapping[str, BinaryIO], sha256: str) -> None:
        """Write what is no part of a layer, where it is what it was."""
        own, opener = self.own, self.shop.opener
        for file, at, content in own.read(own.headers, opener):
            _write(files[file], at, content)
        for each in own.files.values():
            files[each.path].truncate(each.nbytes)
        digest = hashlib.sha256()
        sources = (s for unit in self.units for _, s in unit.parts)
        spans = own.rest(ref for source in sources for ref in source.tensors)
        for file, at, content in own.read(spans, opener):
            digest.update(content)
            _write(files[file], at, content)
        if digest.hexdigest() != sha256:
            raise IntegrityError(
                printable(own.path, 1000),
                "is not the member it was: tensors that are no layers differ",
                advice="restore the member's files",
            )

    def layers(self, files: Mapping[str, BinaryIO]) -> list[Document]:
        """Write the layers, and say of each how far it is from what it was."""

        def put(ref: TensorRef, start: int, values: NDArray[Any]) -> None:
            at = ref.start + start * values.itemsize
            _write(files[ref.file], at, values.view(np.uint8).data)

        rows: list[Document] = []
        for done, unit in enumerate(self.units, start=1):
            rows += self.shop.make(unit, put)
            if self.on_event is not None:
                self.on_event(
                    Progress("layers", done, len(self.units), unit.name)
                )
        return rows


def _write(file: BinaryIO, at: int, content: bytes | memoryview) -> None:
    file.seek(at)
    file.write(content)
