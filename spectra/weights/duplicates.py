"""Checkpoints that hold the same tensors: names, dtypes, shapes and bytes.

In whatever order, and in however many files.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from spectra.core.catalog import Checkpoint, DenseSource, LayerSource
from spectra.core.errors import Quarantine
from spectra.core.tensors import TensorRef
from spectra.weights.bytes import ByteSource, FileSource, read_bytes
from spectra.weights.header import read_header

__all__ = ["duplicates"]

_SAMPLES = 16
_SAMPLE = 4096
_PIECE = 8 * 2**20


def duplicates(checkpoints: Sequence[Checkpoint], /) -> dict[str, str]:
    """Return, for each checkpoint that repeats one before it, which.

    What the catalogue says comes first, which costs nothing; then a few
    samples; and only what agrees in all of these is read whole. Of a hub the
    hashes it gives to whole files decide, since nothing is fetched for this.

    Parameters
    ----------
    checkpoints
        In order: the first of equals is the one to be kept.

    Returns
    -------
    dict
        From id to the id of the first.
    """
    # Nothing of one without layers is compared: it need not be read.
    classes = [[checkpoint for checkpoint in checkpoints if checkpoint.layers]]
    for look in (_outside, _sampled, _whole):
        classes = [finer for one in classes for finer in _split(one, look)]
    return {
        later.id: first.id for first, *others in classes for later in others
    }


def _split(
    checkpoints: Iterable[Checkpoint], look: Callable[[Checkpoint], Any]
) -> list[list[Checkpoint]]:
    """Return the classes, of two members at least, that look the same."""
    classes: dict[Any, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        try:
            classes.setdefault(look(checkpoint), []).append(checkpoint)
        except Quarantine:
            # Whoever reads its layers will meet the fault and report it.
            continue
    return [members for members in classes.values() if len(members) > 1]


def _outside(checkpoint: Checkpoint) -> Any:
    return tuple((key, _form(source)) for key, source in checkpoint.layers)


def _form(source: LayerSource) -> Any:
    how = (
        source.transposed if isinstance(source, DenseSource) else source.scale
    )
    return how, tuple(ref.name for ref in source.tensors)


def _sampled(checkpoint: Checkpoint) -> Any:
    """Return the middles of a few tensors."""
    if _is_remote(checkpoint):
        return _tags(checkpoint)
    files = {file.path: file for file in checkpoint.files}
    tensors = [ref for _, held in checkpoint.layers for ref in held.tensors]
    step = max(1, len(tensors) // _SAMPLES)
    digest = hashlib.sha256()
    for ref in tensors[::step]:
        nbytes = min(_SAMPLE, ref.nbytes)
        start = ref.start + (ref.nbytes - nbytes) // 2
        with FileSource(ref.file, pinned=files[ref.file]) as source:
            digest.update(read_bytes(source, start, nbytes))
    return digest.digest()


def _whole(checkpoint: Checkpoint) -> Any:
    """Return the hash of every tensor, those that are no layers included."""
    if _is_remote(checkpoint):
        return _tags(checkpoint)
    found = []
    for file in checkpoint.files:
        with FileSource(file.path, pinned=file) as source:
            for ref in read_header(source, file=file.path).tensors:
                digest = _digest(source, ref)
                found.append((ref.name, ref.dtype, ref.shape, digest))
    return tuple(sorted(found))


def _digest(source: ByteSource, ref: TensorRef) -> bytes:
    digest = hashlib.sha256()
    for start in range(ref.start, ref.stop, _PIECE):
        nbytes = min(_PIECE, ref.stop - start)
        digest.update(read_bytes(source, start, nbytes))
    return digest.digest()


def _is_remote(checkpoint: Checkpoint) -> bool:
    return any(file.path.startswith("hf://") for file in checkpoint.files)


def _tags(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a hub calls the contents."""
    tags = tuple(file.etag or "" for file in checkpoint.files)
    if not all(tags):
        raise Quarantine("SOURCE_UNREADABLE", "the hub names no content")
    return tags
