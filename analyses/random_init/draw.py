"""Random ViT-B/16 checkpoints, as transformers initialises them.

python -m analyses.random_init.draw [FOLDER]

One block of each of 100 models: the query of its attention and the first
layer of its MLP, normal with standard deviation .02, from a seed a model.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

HERE = Path(__file__).parent
N, SIGMA, WIDTH, HIDDEN = 100, 0.02, 768, 3072
SHAPES = {
    "encoder.layer.0.attention.attention.query.weight": (WIDTH, WIDTH),
    "encoder.layer.0.intermediate.dense.weight": (HIDDEN, WIDTH),
}


def draw(folder: Path, *, names: tuple[str, ...] = tuple(SHAPES)) -> None:
    """Write the checkpoints, one folder each."""
    for seed in range(N):
        rng = np.random.default_rng(seed)
        weights = {
            name: SIGMA * rng.standard_normal(shape, np.float32)
            for name, shape in SHAPES.items()
        }
        place = folder / f"seed-{seed:02d}"
        place.mkdir(parents=True, exist_ok=True)
        kept = {name: weights[name] for name in names}
        save_file(kept, place / "model.safetensors")


if __name__ == "__main__":
    draw(Path(sys.argv[1]) if sys.argv[1:] else HERE / "out" / "members")
