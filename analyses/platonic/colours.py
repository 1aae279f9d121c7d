"""Do colour words lie as colours look?"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from PIL.ImageColor import getrgb

from analyses.platonic.beside import DIGITS, Row, cosines, related
from analyses.platonic.words import MODELS, encoder, models, spelled

Matrix = NDArray[np.float64]

# The basic terms of Berlin and Kay (1969).
BASIC = spelled(
    "black white red green yellow blue brown purple pink orange gray"
)

# CSS's names of one word that holds no other, less one that GloVe lacks.
CSS = (
    *BASIC,
    *spelled(
        "aqua azure beige bisque chartreuse chocolate coral crimson cyan"
        " fuchsia gold honeydew indigo ivory khaki lavender lime"
        " linen magenta maroon moccasin navy olive orchid peru plum salmon"
        " seashell sienna silver snow tan teal thistle tomato turquoise"
        " violet wheat"
    ),
)

LISTS = {"basic": BASIC, "CSS": CSS}

# Of sRGB, by IEC 61966-2-1; the white is D65.
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def lab(rgb: NDArray[np.float64]) -> Matrix:
    """Return CIELAB of sRGB values from 0 to 1, (n, 3)."""
    low = rgb / 12.92
    linear = np.where(rgb <= 0.04045, low, ((rgb + 0.055) / 1.055) ** 2.4)
    t = linear @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = f.T
    return np.column_stack([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(rgb: NDArray[np.float64]) -> Matrix:
    """Return how different colours look: Delta E of 1976."""
    found = lab(rgb)
    return np.linalg.norm(found[:, None] - found, axis=2)


def looks(names: Sequence[str]) -> Matrix:
    return apart(np.array([getrgb(name) for name in names]) / 255)


def agreeing(D: Matrix, E: Matrix) -> float:
    """Return the share of (a; b, c) that both say which is nearer of."""
    n = len(D)
    same = [
        (D[a, b] < D[a, c]) == (E[a, b] < E[a, c])
        for a in range(n)
        for b, c in combinations([i for i in range(n) if i != a], 2)
    ]
    return float(np.mean(same))


def row(model: str, which: str, said: str, X: Matrix) -> Row:
    """Return how the vectors of a list of colour words lie."""
    names = LISTS[which]
    D, E = 1 - cosines(X), looks(names)
    spearman, p = related(D, E)
    red, yellow, blue = (names.index(w) for w in ("red", "yellow", "blue"))
    return {
        "model": model, "list": which, "said": said, "n": len(names),
        "spearman": spearman, "p": p,
        "triples": round(agreeing(D, E), DIGITS),
        "red-yellow": round(float(1 - D[red, yellow]), DIGITS),
        "red-blue": round(float(1 - D[red, blue]), DIGITS),
    }  # fmt: skip


def measured() -> Iterator[tuple[str, list[Row]]]:
    """Yield a row a model, list, and way to say a word."""
    yield "colours", list(rows())


def rows() -> Iterator[Row]:
    for model, of in models():
        ways = ("{}", "the color {}") if MODELS[model] is encoder else ("{}",)
        said = [(which, way) for which in LISTS for way in ways]
        texts = [[way.format(w) for w in LISTS[which]] for which, way in said]
        ends = np.cumsum([len(each) for each in texts])
        parts = np.split(of([t for each in texts for t in each]), ends[:-1])
        for (which, way), X in zip(said, parts, strict=True):
            yield row(model, which, way.format("..."), X)
