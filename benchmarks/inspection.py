"""All singular values of one layer, from its file, beside two libraries.

`spectra.inspect` of a checkpoint with one square layer: read, decomposed,
proven, every number of the panel. Beside it `torch.linalg.svdvals` of the same
matrix in memory, in float32, and WeightWatcher's `analyze` where it is
installed (`pip install weightwatcher`): norms and power law, no more.

    python -m benchmarks.inspection [--rounds 3]
"""

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

import spectra
from benchmarks.figures import Row, at_least, finish, options, paired, ratio

GOALS = {1024: None, 2048: None, 4096: 1.5}
"""Beside torch: 24.6 s were known for what takes it 37.7 s."""

Program = Callable[[], object]
Matrix = NDArray[np.float32]


def layer(side: int) -> Matrix:
    """Return weights with tails as trained ones have, not a flat bulk."""
    rng = np.random.default_rng(side)
    W = rng.standard_t(3, (side, side)) / side**0.5
    return W.astype(np.float32)


def by_torch(W: Matrix) -> Program:
    """Return what finds singular values alone, of a matrix in memory."""
    import torch

    X = torch.from_numpy(W)
    return lambda: torch.linalg.svdvals(X)


def by_weightwatcher(W: Matrix) -> Program | None:
    """Return what analyses a linear layer with these weights."""
    try:
        import torch
        import weightwatcher
    except ImportError:
        return None
    logging.disable(logging.CRITICAL)
    linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=False)
    linear.weight.data = torch.from_numpy(W)
    model = torch.nn.Sequential(linear)

    def analyse() -> None:
        with (
            Path(os.devnull).open("w", encoding="utf-8") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            weightwatcher.WeightWatcher(model=model).analyze()

    return analyse


def rows_of(side: int, rounds: int, place: Path) -> list[Row]:
    """Return the figures of one size."""
    W = layer(side)
    place.mkdir()
    save_file({"w": W}, place / "model.safetensors")
    programs: dict[str, Program] = {
        "ours": lambda: spectra.inspect(place),
        "torch.linalg.svdvals, float32": by_torch(W),
    }
    watched = by_weightwatcher(W)
    if watched is not None:
        programs["WeightWatcher"] = watched
    else:
        print("WeightWatcher is not installed, and left out", flush=True)
    took = paired(programs, rounds)
    ours = took.pop("ours")
    return [
        at_least(
            f"inspect a {side} x {side} layer",
            f"{median(ours):.2f} s",
            f"{name} {median(theirs):.2f} s",
            ratio(theirs, ours),
            GOALS[side] if name.startswith("torch") else None,
        )
        for name, theirs in took.items()
    ]


def main() -> None:
    """Measure."""
    asked = options(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row
            for side in GOALS
            for row in rows_of(
                side, min(asked.rounds, 3), Path(folder, f"{side}")
            )
        ]
    finish(rows, asked.json)


if __name__ == "__main__":
    main()
