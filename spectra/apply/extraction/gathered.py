"""A checkpoint as transformers may see it: nothing in it can run.

A folder of its own gets safetensors, the texts of the tokenizer, and settings
in which no code is named. No ``.py`` file, pickle or template comes with it.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spectra.core.errors import Quarantine
from spectra.store.atomic import refusing
from spectra.weights.bytes import OpenFile, read_bytes
from spectra.weights.documents import read_object
from spectra.weights.features.vocabulary import TOKENIZERS
from spectra.weights.folders import Folder
from spectra.weights.formats.raw import RawCheckpoint
from spectra.weights.limits import Limits

__all__ = ["gathered"]

_SETTINGS = (
    "config.json", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "preprocessor_config.json", "processor_config.json",
)  # fmt: skip
_CODE = ("auto_map", "custom_pipelines", "use_pretrained_backbone")
"""Keys that name code, or further checkpoints, to be fetched."""

_KERNELS = "implementation"
"""In keys whose values may name a repository of compiled kernels."""

_BLOCK = 2**24


@contextmanager
def gathered(
    folder: Folder, raw: RawCheckpoint, /, *, limits: Limits
) -> Iterator[Path]:
    """Give a folder from which transformers can load, for a ``with`` block.

    Parameters
    ----------
    folder, raw
        A checkpoint, and what its headers say.
    limits
        Caps on its texts.

    Raises
    ------
    Quarantine
        Where one of its files cannot be read.
    StorageError
        Where there is no room for the folder.
    """
    with TemporaryDirectory(prefix="spectra-") as made:
        room = Path(made)
        with refusing(room):
            _weights(folder, raw, room)
            _settings(folder, room, limits)
            for name in TOKENIZERS:
                if name in folder.files:
                    (room / name).write_bytes(_text(folder, name, limits))
        yield room


def _settings(folder: Folder, room: Path, limits: Limits) -> None:
    for name in _SETTINGS:
        if name in folder.files:
            content = read_object(
                folder, name, code="CONFIG_UNREADABLE",
                nbytes=limits.config_bytes, depth=limits.depth,
            )  # fmt: skip
            (room / name).write_text(json.dumps(_harmless(content)))


def _harmless(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _harmless(entry)
            for key, entry in value.items()
            if key not in _CODE and _KERNELS not in key
        }
    if isinstance(value, list):
        return [_harmless(entry) for entry in value]
    return value


def _text(folder: Folder, name: str, limits: Limits) -> bytes:
    with folder.open(name) as source:
        if source.nbytes > limits.vocabulary_bytes:
            raise Quarantine(
                "VOCABULARY",
                f"{name} has {source.nbytes} bytes, more than"
                f" vocabulary_bytes = {limits.vocabulary_bytes}",
            )
        return read_bytes(source, 0, source.nbytes)


def _weights(folder: Folder, raw: RawCheckpoint, room: Path) -> None:
    """Link what lies on this machine, copy what does not; name it anew."""
    names = {
        file.path: f"weights-{n}.safetensors"
        for n, file in enumerate(raw.files)
    }
    for file in raw.files:
        with folder.opener(file.path, pinned=file) as source:
            if Path(file.path).is_absolute():
                (room / names[file.path]).symlink_to(file.path)
            else:
                _copy(source, room / names[file.path])
    index = {ref.name: names[ref.file] for ref in raw.tensors}
    (room / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )


def _copy(source: OpenFile, path: Path) -> None:
    with path.open("wb") as file:
        for start in range(0, source.nbytes, _BLOCK):
            nbytes = min(_BLOCK, source.nbytes - start)
            file.write(read_bytes(source, start, nbytes))
