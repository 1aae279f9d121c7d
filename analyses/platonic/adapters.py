"""Do adapters represent texts alike where their weights overlap?"""

import shutil
import tempfile
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import spectra
from analyses.platonic.beside import DIGITS, Row, aligned, excesses, groups
from analyses.platonic.emoji import SEED
from analyses.platonic.materials import package
from analyses.platonic.words import encoder

Matrix = NDArray[np.float64]

DEMO = Path(spectra.__file__).parent / "demo_population"
PARTS = ("independent", "same-seed")
SETS = {"all": PARTS, "own starts": PARTS[:1], "one start": PARTS[1:]}
TEXTS, DRAWS, METRIC = 200, 19, "mutual-knn"


def texts() -> list[str]:
    """Return names of characters, for a text that all can read."""
    names = [unicodedata.name(chr(i), "") for i in range(0x1F300, 0x1FB00)]
    known = sorted({name.lower() for name in names if name})
    rng = np.random.default_rng(SEED)
    return sorted(rng.permutation(known)[:TEXTS])


def represented(base: Path, items: list[str]) -> dict[str, Matrix]:
    """Return what each adapter makes of texts, and the base by itself."""
    found = {"base": encoder(base)(items)}
    for folder in sorted(DEMO.glob("*/*/")):
        name = f"{folder.parent.name}-{folder.name}"
        found[name] = encoder(folder, base)(items)
    return found


def weights(out: Path, names: list[str]) -> spectra.Run:
    """Return the run of some adapters under the names of their features."""
    for name in names:
        part = next(part for part in PARTS if name.startswith(part))
        source = DEMO / part / name.removeprefix(f"{part}-")
        shutil.copytree(source, out / name)
    return spectra.fit(spectra.scan(out))


def row(what: str, which: str, X: dict[str, Matrix]) -> Row:
    """Return how alike adapters are, beside how their weights overlap."""
    with tempfile.TemporaryDirectory() as folder:
        run = weights(Path(folder), list(X))
        document = aligned(X, metric=(METRIC,), draws=DRAWS, run=run)
    (found,) = document["weights"]["by_metric"]
    excess = excesses(document, METRIC)
    above = np.triu_indices(len(X), 1)
    result = {
        "set": which, "what": what, "n": len(X),
        "excess": round(float(excess[above].mean()), DIGITS),
        "r": round(found["r"], DIGITS), "p": found["p"],
        "r_groups": found["r_groups"], "p_groups": found["p_groups"],
    }  # fmt: skip
    if which == "all":
        tasks = [n.removeprefix(next(p for p in PARTS if n.startswith(p)))
                 for n in X]  # fmt: skip
        result["task"] = groups(excess, tasks)
        own = [n if n.startswith(PARTS[0]) else PARTS[1] for n in X]
        result["start"] = groups(excess, own)
    return result


def measured() -> Iterator[tuple[str, list[Row]]]:
    """Yield a row a set, of representations and of what adapters change."""
    found = represented(package("MiniLM"), texts())
    plain = found.pop("base")
    changes = {name: X - plain for name, X in found.items()}
    rows = []
    for what, parts in (("texts", found), ("changes", changes)):
        for which, begins in SETS.items():
            some = {n: X for n, X in parts.items() if n.startswith(begins)}
            rows.append(row(what, which, some))
    yield "adapters", rows
