"""Are classifiers of related languages alike? 51 heads of 59 labels."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import spectra
from analyses.platonic.beside import DIGITS, aligned, excesses, groups

FAMILIES = {
    "Germanic": "af da de en is nb sv nl",
    "Romance": "es fr it pt ro",
    "Balto-Slavic": "lv pl ru sl",
    "Indo-Iranian": "bn fa hi ur",
    "Hellenic": "el", "Armenian": "hy", "Albanian": "sq", "Celtic": "cy",
    "Uralic": "fi hu", "Turkic": "az tr", "Mongolic": "mn",
    "Afro-Asiatic": "am ar he", "Niger-Congo": "sw",
    "Dravidian": "kn ml ta te", "Sino-Tibetan": "zh my",
    "Austronesian": "id jv ms tl", "Austroasiatic": "km vi", "Tai-Kadai": "th",
    "Japonic": "ja", "Koreanic": "ko", "Kartvelian": "ka",
}  # fmt: skip

METRICS = ("mutual-knn",)
DRAWS = 19


def family(name: str) -> str:
    """Return the family of the language that a head is of."""
    code = name.removeprefix("massive_intent_").split("_")[0]
    (found,) = (f for f, codes in FAMILIES.items() if code in codes.split())
    return found


def measured(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield, a metric, languages of one family beside others."""
    heads = {
        path.parent.name: load_file(path)["coef"].astype(np.float64)
        for path in sorted(folder.glob("*/model.safetensors"))
    }
    run = spectra.fit(spectra.scan(folder))
    document = aligned(heads, metric=METRICS, draws=DRAWS, run=run)
    families = [family(name) for name in heads]
    rows = []
    for metric in METRICS:
        (weights,) = (
            row
            for row in document["weights"]["by_metric"]
            if row["metric"] == metric
        )
        rows.append(
            {"metric": metric, "n": len(heads)}
            | groups(excesses(document, metric), families)
            | {"r": round(weights["r"], DIGITS), "p of r": weights["p"]}
        )
    yield "languages", rows
