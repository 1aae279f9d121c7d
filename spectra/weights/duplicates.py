"""Checkpoints whose files are the same byte for byte."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from spectra.core.catalog import Checkpoint, LowRankSource
from spectra.core.errors import Quarantine
from spectra.core.tensors import FileRef
from spectra.weights.bytes import FileSource

__all__ = ["duplicates"]

_SAMPLES = 16
_SAMPLE = 4096
_PIECE = 8 * 2**20


def duplicates(checkpoints: Sequence[Checkpoint], /) -> dict[str, str]:
    """Return, for each checkpoint that repeats one before it, which.

    The same length and header come first, which cost nothing; then a few
    samples; and only what agrees in all of these is read whole.

    Parameters
    ----------
    checkpoints
        In order: the first of equals is the one to be kept.

    Returns
    -------
    dict
        From id to the id of the first.
    """
    classes: list[list[Checkpoint]] = [list(checkpoints)]
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
    files = tuple(
        (file.nbytes, file.header_sha256) for file in checkpoint.files
    )
    scales = tuple(
        source.scale
        for _, source in checkpoint.layers
        if isinstance(source, LowRankSource)
    )
    return files, scales


def _sampled(checkpoint: Checkpoint) -> Any:
    if any(file.path.startswith("hf://") for file in checkpoint.files):
        return _tags(checkpoint)
    return _digest(checkpoint, _sample_starts, _SAMPLE)


def _whole(checkpoint: Checkpoint) -> Any:
    if any(file.path.startswith("hf://") for file in checkpoint.files):
        return _tags(checkpoint)
    return _digest(checkpoint, _all_starts, _PIECE)


def _tags(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return what a hub calls the contents: nothing is fetched for this."""
    tags = tuple(file.etag or "" for file in checkpoint.files)
    if not all(tags):
        raise Quarantine("SOURCE_UNREADABLE", "the hub names no content")
    return tags


def _sample_starts(file: FileRef) -> Iterable[int]:
    last = max(0, file.nbytes - _SAMPLE)
    return [last * n // (_SAMPLES - 1) for n in range(_SAMPLES)]


def _all_starts(file: FileRef) -> Iterable[int]:
    return range(0, file.nbytes, _PIECE)


def _digest(
    checkpoint: Checkpoint,
    starts: Callable[[FileRef], Iterable[int]],
    length: int,
) -> bytes:
    digest = hashlib.sha256()
    for file in checkpoint.files:
        buffer = memoryview(bytearray(min(length, file.nbytes)))
        with FileSource(file.path, pinned=file) as source:
            for start in starts(file):
                piece = buffer[: file.nbytes - start]
                source.read_into(start, piece)
                digest.update(piece)
    return digest.digest()
