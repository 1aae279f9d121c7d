"""Is a wolf near a dog, in words and in pictures?"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analyses.platonic.beside import DIGITS, Row, aligned, cosines, pairs
from analyses.platonic.materials import font
from analyses.platonic.pictures import captioned, seen
from analyses.platonic.words import models, spelled

Matrix = NDArray[np.float64]

ANIMALS = spelled(
    "dog wolf fox cat lion tiger horse cow pig boar goat camel elephant"
    " rhinoceros hippopotamus mouse rat hamster rabbit chipmunk hedgehog bat"
    " bear koala panda sloth otter skunk kangaroo badger monkey gorilla zebra"
    " deer turkey chicken penguin dove eagle duck swan owl flamingo peacock"
    " parrot frog crocodile turtle lizard snake dragon whale dolphin fish"
    " shark octopus snail butterfly ant beetle cricket spider scorpion"
    " mosquito"
)

# What Unicode calls what it does not call by the word, or "... face".
NAMES = {
    "dove": "dove of peace", "fish": "tropical fish", "car": "automobile",
    "camel": "bactrian camel", "whale": "spouting whale",
}  # fmt: skip

OTHER = "car"


def named(word: str, pictures: dict[str, object]) -> str:
    """Return the emoji of a word: its face where there is one."""
    if word in NAMES:
        return NAMES[word]
    face = f"{word} face"
    return face if face in pictures else word


def rank(C: Matrix, a: int, b: int, n: int) -> int:
    """Return the place of b among the n - 1 animals that are nearest a."""
    others = np.delete(C[a, :n], a)
    return 1 + int(np.count_nonzero(others > C[a, b]))


def row(model: str, X: Matrix) -> Row:
    """Return where a wolf is from a dog; the car is the last row of X."""
    n, C = len(ANIMALS), cosines(X)
    dog, wolf, cat = (ANIMALS.index(word) for word in ("dog", "wolf", "cat"))
    nearest = max((i for i in range(n) if i != dog), key=lambda i: C[dog, i])
    there, back = rank(C, dog, wolf, n), rank(C, wolf, dog, n)
    near = C[dog]
    return {
        "model": model, "n": n, "nearest": ANIMALS[nearest],
        "rank": there, "p": round(there / (n - 1), DIGITS), "back": back,
        "wolf": round(float(near[wolf]), DIGITS),
        "cat": round(float(near[cat]), DIGITS),
        "car": round(float(near[n]), DIGITS),
        "further than a car": int(np.count_nonzero(near[:n] < near[n])),
    }  # fmt: skip


def measured() -> Iterator[tuple[str, list[Row]]]:
    """Yield a row a model, and how alike all are on the animals."""
    parts = {model: of([*ANIMALS, OTHER]) for model, of in models()}
    pictures = captioned(font())
    names = [named(word, pictures) for word in (*ANIMALS, OTHER)]
    parts |= seen([pictures[name] for name in names])
    yield "animals", [row(model, X) for model, X in parts.items()]
    held = {model: X[:-1] for model, X in parts.items()}
    document = aligned(held, metric=("mutual-knn",), k=5)
    yield "animals aligned", pairs(document)
