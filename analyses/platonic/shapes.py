"""Two models of scenes, one that reads and one that sees, trained apart.

A scene is two shapes of twelve hues. In one world hues that look alike occur
together, in the other any two do. The reader foretells captions, word by word,
the seer compresses images; neither is told of the other.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from PIL.ImageColor import getrgb
from torch import Tensor, nn

from analyses.platonic.beside import DIGITS, Row, aligned, cosines, related
from analyses.platonic.colours import apart
from analyses.platonic.words import at_random, spelled

Matrix = NDArray[np.float64]
Scene = tuple[int, int, int, int]

HUES = spelled(
    "red orange yellow chartreuse green jade cyan azure blue violet magenta"
    " rose"
)
SHAPES = ("circle", "square", "triangle", "diamond", "cross")
SIDE, WIDTH, BATCH = 24, 48, 32
STEPS, TOLD, SEEDS = 512, (0, 8, 32, 128, 512), (0, 1, 2)
ITEMS, NEAR = 240, 1.0
WORLDS = {"alike together": NEAR, "any together": None}
METRICS = ("mutual-knn", "cka-debiased", "cknna")
DRAWS = 99

WORDS = ["", *HUES, *SHAPES, "a", "beside"]


def rgb(hue: int) -> tuple[int, int, int]:
    found = getrgb(f"hsv({360 * hue // len(HUES)}, 80%, 90%)")
    return found[0], found[1], found[2]


def caption(scene: Scene) -> str:
    hue, shape, hue_b, shape_b = scene
    one = f"{HUES[hue]} {SHAPES[shape]}"
    return f"a {one} beside a {HUES[hue_b]} {SHAPES[shape_b]}"


def drawn(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the image (3, side, side) of a scene, a little shifted."""
    picture = Image.new("RGB", (4 * SIDE, 4 * SIDE), (128, 128, 128))
    pen = ImageDraw.Draw(picture)
    for i, (hue, shape) in enumerate((scene[:2], scene[2:])):
        x = 24 + 48 * i + int(rng.integers(-4, 5))
        y = 48 + int(rng.integers(-12, 13))
        r = int(rng.integers(15, 21))
        figure(pen, SHAPES[shape], x, y, r, rgb(hue))
    small = picture.resize((SIDE, SIDE), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float32).transpose(2, 0, 1)
    return pixels / np.float32(255)


def figure(
    pen: ImageDraw.ImageDraw,
    shape: str,
    x: int,
    y: int,
    r: int,
    colour: tuple[int, int, int],
) -> None:
    box = (x - r, y - r, x + r, y + r)
    if shape == "circle":
        pen.ellipse(box, colour)
    elif shape == "square":
        pen.rectangle(box, colour)
    elif shape == "cross":
        pen.rectangle((x - r, y - r // 3, x + r, y + r // 3), colour)
        pen.rectangle((x - r // 3, y - r, x + r // 3, y + r), colour)
    else:
        low = [(x - r, y + r), (x + r, y + r), (x, y - r)]
        four = [(x - r, y), (x, y + r), (x + r, y), (x, y - r)]
        pen.polygon(low if shape == "triangle" else four, colour)


def scenes(n: int, near: float | None, seed: int) -> list[Scene]:
    """Draw scenes of a world; hues differ by about `near` places."""
    rng = np.random.default_rng(seed)
    hue = rng.integers(len(HUES), size=n)
    away = (
        rng.integers(len(HUES), size=n)
        if near is None
        else np.rint(near * rng.normal(size=n)).astype(int)
    )
    shapes = rng.integers(len(SHAPES), size=(2, n))
    other = (hue + away) % len(HUES)
    rows = zip(hue, shapes[0], other, shapes[1], strict=True)
    return [tuple(map(int, row)) for row in rows]  # type: ignore[misc]


def ids(texts: Sequence[str]) -> Tensor:
    return torch.tensor([[WORDS.index(w) for w in t.split()] for t in texts])


class Reader(nn.Module):
    """Foretells each word of a caption from those before it."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.states = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.states(self.words(x[:, :-1]))
        logits = states @ self.words.weight.T
        return nn.functional.cross_entropy(logits.flatten(0, 1),
                                           x[:, 1:].flatten())  # fmt: skip

    def features(self, x: Tensor) -> Tensor:
        states, _ = self.states(self.words(x))
        return states.mean(dim=1)

    def hues(self) -> Matrix:
        """Return the vectors of the words of hues."""
        return host(self.words.weight)[1 : 1 + len(HUES)]

    def after_hues(self) -> Matrix:
        """Return the states that captions are in when a hue was read."""
        states, _ = self.states(self.words(ids([f"a {hue}" for hue in HUES])))
        return host(states[:, -1])


class Seer(nn.Module):
    """Compresses an image to a few numbers, and draws it from them."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32)
        down, up = [], []
        for a, b in pairwise(widths):
            down += [nn.Conv2d(a, b, 4, 2, 1), nn.ReLU()]
            up = [nn.ReLU(), nn.ConvTranspose2d(b, a, 4, 2, 1), *up]
        small = (32, SIDE // 4, SIDE // 4)
        flat = int(np.prod(small))
        self.down = nn.Sequential(*down, nn.Flatten(), nn.Linear(flat, WIDTH))
        self.up = nn.Sequential(
            nn.Linear(WIDTH, flat), nn.Unflatten(1, small), *up
        )

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.mse_loss(self.up(self.down(x)), x)

    def features(self, x: Tensor) -> Tensor:
        return self.down(x)


def trained(
    model: nn.Module, X: Tensor, seed: int, rate: float
) -> Iterator[tuple[int, float]]:
    """Train, and stop at each of the steps that are told, with the loss."""
    chosen = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), lr=rate)
    for step in range(STEPS + 1):
        rows = torch.randint(len(X), (BATCH,), generator=chosen)
        loss = model(X[rows])
        if step in TOLD:
            yield step, loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def host(X: Tensor) -> Matrix:
    return X.detach().double().numpy()


def images(some: Sequence[Scene], seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(np.stack([drawn(scene, rng) for scene in some]))


def state(reader: Reader, seer: Seer, x: Tensor, y: Tensor) -> Row:
    """Return how alike both are, and how the words of hues lie."""
    parts = {
        "reader": host(reader.features(x)), "seer": host(seer.features(y)),
        "random words": at_random(WIDTH)(
            [" ".join(WORDS[i] for i in row) for row in x.tolist()]
        ),
        "pixels": host(nn.functional.avg_pool2d(y, 2).flatten(1)),
    }  # fmt: skip
    document = aligned(parts, metric=METRICS, draws=DRAWS)
    found = {
        f"{pair['a'][:-4]}, {pair['b'][:-4]}, {pair['metric']}": [
            round(pair["excess"], DIGITS), pair["p"],
        ]
        for pair in document["pairs"]
    }  # fmt: skip
    looks = apart(np.array([rgb(hue) for hue in range(len(HUES))]) / 255)
    spearman, p = related(1 - cosines(reader.hues()), looks)
    after, p_after = related(1 - cosines(reader.after_hues()), looks)
    kept = ("reader, seer", "reader, pixels", "seer, random words")
    rows = {
        name: value for name, value in found.items() if name.startswith(kept)
    }
    return {"pairs": rows, "spearman": spearman, "p": p,
            "after": after, "p after": p_after}  # fmt: skip


def run(world: str, seed: int, held_out: Sequence[Scene]) -> Row:
    """Return what was measured over the training of both models."""
    unseen = set(held_out)
    drawn_scenes = scenes(2048, WORLDS[world], 10 + seed)
    some = [scene for scene in drawn_scenes if scene not in unseen]
    torch.manual_seed(seed)
    reader, seer = Reader(), Seer()
    x, y = ids([caption(each) for each in held_out]), images(held_out, 99)
    reading = trained(reader, ids(list(map(caption, some))), seed, 0.003)
    seeing = trained(seer, images(some, seed), seed, 0.003)
    found: dict[str, Any] = {"world": world, "seed": seed, "steps": []}
    for (step, read), (_, saw) in zip(reading, seeing, strict=True):
        found["steps"].append(
            {"step": step, "read": round(read, DIGITS), "saw": round(saw, 5)}
            | state(reader, seer, x, y)
        )
    return found


def items() -> list[Scene]:
    """Return scenes that no model is trained on, any hues together."""
    return list(dict.fromkeys(scenes(2 * ITEMS, None, 1)))[:ITEMS]


def measured() -> Iterator[tuple[str, list[Row]]]:
    """Yield a row a world and seed."""
    held_out = items()
    yield (
        "shapes",
        [run(world, seed, held_out) for world in WORLDS for seed in SEEDS],
    )
