"""A member's own files, and what of them is no part of an analysed layer."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from spectra.core.errors import IntegrityError, Quarantine, UsageError
from spectra.core.tensors import FileRef, TensorRef
from spectra.core.text import printable
from spectra.hub.files import HubFiles, is_remote
from spectra.hub.places import places_of
from spectra.study.tasks import fingerprint_of
from spectra.weights.adapters import AdapterConfig
from spectra.weights.bytes import Opener, read_bytes
from spectra.weights.folders import Folder
from spectra.weights.formats import read_checkpoint
from spectra.weights.limits import limits_of_environment
from spectra.weights.search import CONFIGS, STANDARD
from spectra.weights.sources import places
from spectra.weights.strict_json import JsonError, parse

__all__ = ["Original", "Span", "original", "readable"]

_INDEX = ".safetensors.index.json"

_PIECE = 1 << 22
"""Bytes that are copied at a time."""

Span = tuple[str, int, int]
"""A file, and bytes of it from where to where."""


@dataclass(frozen=True, slots=True)
class Original:
    """A checkpoint as its files are now.

    Attributes
    ----------
    files
        Its weights, by their names in the folder.
    tensors
        By name.
    adapter
        What its adapter_config.json says; None where there is none.
    """

    path: str
    fingerprint: str
    folder: Folder
    files: Mapping[str, FileRef]
    tensors: Mapping[str, TensorRef]
    adapter: AdapterConfig | None = None

    @property
    def nbytes(self) -> int:
        """Return the bytes of all its tensors."""
        return sum(ref.nbytes for ref in self.tensors.values())

    @property
    def headers(self) -> tuple[Span, ...]:
        """Return what stands before the tensors in each of its files."""
        refs = list(self.tensors.values())
        return tuple(
            (
                file.path,
                0,
                min(
                    (ref.start for ref in refs if ref.file == file.path),
                    default=file.nbytes,
                ),
            )
            for file in self.files.values()
        )

    def papers(self, opener: Opener, /) -> Iterator[tuple[str, bytes]]:
        """Yield name and content of its configuration and its index."""
        limits = limits_of_environment()
        for name, path in self.folder.files.items():
            if name not in CONFIGS and not name.endswith(_INDEX):
                continue
            with opener(path) as source:
                if source.nbytes > limits.index_bytes:
                    continue
                content = read_bytes(source, 0, source.nbytes)
            if name in CONFIGS or self._lists(content, limits.depth):
                yield name, content

    def papers_digest(self, opener: Opener, /) -> str:
        """Return the hash of names and contents of its papers."""
        digest = hashlib.sha256()
        for name, content in sorted(self.papers(opener)):
            digest.update(f"{name} {len(content)}\n".encode() + content)
        return digest.hexdigest()

    def _lists(self, index: bytes, depth: int) -> bool:
        """Return whether an index is that of these files and no others."""
        try:
            owners = parse(index, depth=depth)["weight_map"]
            return set(owners.values()) == set(self.files)
        except (JsonError, KeyError, TypeError, AttributeError):
            return False

    def rest(self, held: Iterable[TensorRef], /) -> tuple[Span, ...]:
        """Return the bytes of its tensors that are not in some others'."""
        taken: dict[str, list[tuple[int, int]]] = {}
        for ref in held:
            taken.setdefault(ref.file, []).append((ref.start, ref.stop))
        spans: list[Span] = []
        for file, refs in groupby(
            sorted(self.tensors.values(), key=_place), key=lambda r: r.file
        ):
            bounds = [(ref.start, ref.stop) for ref in refs]
            at, end = bounds[0][0], bounds[-1][1]
            for start, stop in sorted(taken.get(file, ())):
                spans.append((file, at, start))
                at = max(at, stop)
            spans.append((file, at, end))
        return tuple(span for span in spans if span[2] > span[1])

    def read(
        self, spans: Iterable[Span], opener: Opener, /
    ) -> Iterator[tuple[str, int, bytes]]:
        """Yield bytes in pieces, with their file and where they start."""
        pinned = {file.path: file for file in self.files.values()}
        for file, held in groupby(spans, key=lambda span: span[0]):
            with opener(file, pinned=pinned[file]) as source:
                for _, start, stop in held:
                    for at in range(start, stop, _PIECE):
                        count = min(_PIECE, stop - at)
                        yield file, at, read_bytes(source, at, count)

    def digest(self, spans: Iterable[Span], opener: Opener, /) -> str:
        """Return the hash of bytes of its files."""
        digest = hashlib.sha256()
        for _, _, content in self.read(spans, opener):
            digest.update(content)
        return digest.hexdigest()


def original(
    path: str, opener: Opener, /, *, fingerprint: str | None = None
) -> Original:
    """Return a checkpoint as it is now, its headers being what they were.

    Parameters
    ----------
    path
        Where it lies.
    opener
        Opens its files.
    fingerprint
        Of the member that it was; None for any.

    Raises
    ------
    UsageError
        E_SOURCE when it is gone.
    IntegrityError
        When it is another one now, or cannot be read.
    """
    try:
        if isinstance(opener, HubFiles) and is_remote(path):
            at, _ = places_of(opener, path, revision=None)
        else:
            at, _ = places(path)
        here = [place for place in at if place.path == path]
        if not here:
            raise UsageError("E_SOURCE", f"{printable(path)} is gone")
        folder = here[0].folder
        raw = read_checkpoint(folder, limits=limits_of_environment())
    except Quarantine as fault:
        raise _changed(path, fault.detail) from fault
    if raw.faults:
        raise _changed(path, raw.faults[0].detail)
    found = fingerprint_of(raw.files)
    if fingerprint not in {None, found}:
        raise _changed(path, "its headers are others")
    # Of several names for one file, that by which it is looked for.
    every = sorted(
        folder.files.items(), key=lambda each: _is_standard(each[0])
    )
    names = {where: name for name, where in every}
    return Original(
        path,
        found,
        folder,
        {Path(names[file.path]).name: file for file in raw.files},
        {ref.name: ref for ref in raw.tensors},
        raw.adapter,
    )


@contextmanager
def readable(what: str, /) -> Iterator[None]:
    """Turn what cannot be used in the block into one of our errors.

    Nothing is set aside here: a population without one of its members is
    another.

    Parameters
    ----------
    what
        Whose files they are.

    Raises
    ------
    IntegrityError
        For a Quarantine.
    """
    try:
        yield
    except Quarantine as fault:
        raise IntegrityError(
            printable(what, 1000),
            f"cannot be used ({fault.code}: {printable(fault.detail)})",
            advice="restore the member's files",
        ) from fault


def _is_standard(name: str) -> bool:
    return Path(name).name in STANDARD


def _place(ref: TensorRef) -> tuple[str, int]:
    return ref.file, ref.start


def _changed(path: str, why: str) -> IntegrityError:
    return IntegrityError(
        printable(path, 1000),
        f"is not the member it was: {printable(why)}",
        advice="restore the member's files",
    )
