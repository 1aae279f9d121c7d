"""One hostile or awkward folder, and what a scan has to say of it."""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

__all__ = ["Case", "refused", "sound", "weights"]

Faults = frozenset[tuple[str | None, str]]


@dataclass(frozen=True)
class Case:
    """A folder and its verdict.

    Attributes
    ----------
    write
        Fills the folder, which is there and empty.
    faults
        (part, code) of each record in quarantine.
    layers
        How many layers are analysed all the same.
    below
        Where in the folder the faults lie, if not at its top.
    unfit
        Code of its layer in `fit`, of weights that no header tells of.
    """

    write: Callable[[Path], object]
    faults: Faults = frozenset()
    layers: int = 0
    below: str = ""
    unfit: str = ""


def refused(write, code):
    """Return a case of which nothing is analysed."""
    return Case(write, frozenset({(None, code)}))


def sound(write=lambda folder: None, *faults, layers=1):
    """Return a case with weights, beside what `write` puts there."""

    def both(folder):
        weights(folder / "model.safetensors")
        write(folder)

    return Case(both, frozenset(faults), layers)


def weights(path, *names, config=None):
    """Write random layers, of the same shape and of other values each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(zlib.crc32(bytes(path)))
    save_file(
        {
            name: rng.standard_normal((6, 5)).astype(np.float32)
            for name in names or ("w",)
        },
        path,
    )
    if config is not None:
        (path.parent / "config.json").write_text(json.dumps(config))
