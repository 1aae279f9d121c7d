"""Vectors of texts: those of encoders, and means of tables of words."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tokenizers import Tokenizer

import spectra
from analyses.platonic.materials import package

Matrix = NDArray[np.float64]
Texts = Callable[[Sequence[str]], Matrix]

LAST = "6"
"""The last of MiniLM's layers."""


def encoder(model: Path, base: Path | None = None) -> Texts:
    """Return the mean over tokens of MiniLM's last layer."""

    def of(texts: Sequence[str]) -> Matrix:
        with tempfile.TemporaryDirectory() as folder:
            lines, out = Path(folder) / "lines.txt", Path(folder) / "f.h5"
            lines.write_text("\n".join(texts), "utf-8")
            spectra.features(
                model, out, base=base, texts=lines, layers=[LAST], batch=64,
                device="cpu",
            )  # fmt: skip
            with h5py.File(out) as file:
                return np.asarray(file[f"mean/{LAST}"], np.float64)

    return of


def spelled(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def glove(folder: Path) -> Texts:
    table = np.load(folder / "glove_6B_50d_emb.npy", mmap_mode="r")
    index = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")
    places = {word: i for i, word in enumerate(index["index"].to_pylist())}

    def one(text: str) -> Any:
        known = [places[word] for word in spelled(text) if word in places]
        known = known or [places["unk"]]
        return np.mean(table[known], axis=0, dtype=np.float64)

    return lambda texts: np.stack([one(text) for text in texts])


def static(folder: Path) -> Texts:
    """Return a table of 10,000 vectors that all tokens are weights of."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    held = load_file(folder / "model.safetensors")
    table = held["embeddings"].astype(np.float64)

    def one(text: str) -> Any:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        return np.mean(
            held["weights"][ids, None] * table[held["mapping"][ids]], axis=0
        )

    return lambda texts: np.stack([one(text) for text in texts])


def at_random(width: int = 384) -> Texts:
    """Return means of random vectors of words: only words count."""

    def one(text: str) -> Any:
        return np.mean(
            [
                np.random.default_rng(list(word.encode())).normal(size=width)
                for word in spelled(text)
            ],
            axis=0,
        )

    return lambda texts: np.stack([one(text) for text in texts])


MODELS = {
    "MiniLM": encoder,
    "its fine-tune": encoder,
    "GloVe": glove,
    "static": static,
}


def models() -> Iterator[tuple[str, Texts]]:
    """Yield models of language by name."""
    for name, make in MODELS.items():
        yield name, make(package(name))
