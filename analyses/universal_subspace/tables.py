"""Write the tables and the figure of this folder's page anew.

From the root of a checkout: ``python -m analyses.universal_subspace.tables``
computes what needs no weights, and with the real populations (their archive,
or the folder it was unpacked to) all of it.
"""

import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from analyses.universal_subspace.checks import TITLES as CHECKS
from analyses.universal_subspace.checks import checks
from analyses.universal_subspace.figure import draw
from analyses.universal_subspace.published import TITLES as PUBLISHED
from analyses.universal_subspace.published import published, share
from analyses.verdict.tables import table
from spectra.api.chain import run_study
from spectra.report.rows import recipe_rows
from spectra.study.studyfile import Report, read_study

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
FIGURE = HERE / "evr.svg"

Document = Mapping[str, Any]
Words = Mapping[str, int]


@dataclass(frozen=True)
class Population:
    """A study of this folder; how many layers were to get which verdict."""

    name: str
    title: str
    layers: Words
    inputs: Words
    outputs: Words


def alike(name: str, title: str, n: int, *words: str) -> Population:
    """Return one whose n layers were all to get one word."""
    return Population(name, title, *({word: n} for word in words))


NONE, LINEAGE, START = "not-shared", "shared-lineage", "shared-initialisation"
FEW, WEAK, SHARED = "too-few-models", "weakly-shared", "shared"

POPULATIONS = (
    alike("ani", "ani", 12, LINEAGE, NONE, NONE),
    alike("chgnet", "chgnet", 49, LINEAGE, LINEAGE, LINEAGE),
    Population(
        "sceptr",
        "sceptr",
        layers={NONE: 19, LINEAGE: 1, FEW: 2},
        inputs={NONE: 20, FEW: 2},
        outputs={NONE: 20, FEW: 2},
    ),
    alike("sceptr_seven", "sceptr, seven", 20, LINEAGE, NONE, NONE),
    alike("jeffy", "jeffy", 1, WEAK, SHARED, SHARED),
    alike("minilm", "minilm", 12, NONE, NONE, WEAK),
    alike("minilm_same_seed", "minilm, same seed", 12, START, START, START),
    Population(
        "demo_independent",
        "demo, independent",
        layers={NONE: 11, "shared-mean-only": 1},
        inputs={NONE: 12},
        outputs={WEAK: 12},
    ),
    alike("demo_same_seed", "demo, same seed", 12, START, START, START),
)

FACTORS = (
    "lora-rows-pca, A", "lora-cols-svd, A",
    "lora-rows-pca, B", "lora-cols-svd, B",
)  # fmt: skip

TITLES = {
    "models": (
        "population", "models", "groups", "k", "EVR", "equal norms",
        "own norms", "held out", "mean", "verdicts of layers", "overall",
    ),
    "sides": (
        "population", "basis of", "k", "features", "EVR", "isotropic",
        "not centred", "same singular values", "verdicts of sides",
    ),
    "factors": ("population", *FACTORS),
    "predictions": ("population", "layers", "inputs", "outputs"),
}  # fmt: skip


def carried_out(
    population: Population, folder: Path, out: Path | None = None
) -> Document:
    """Carry out a study on what lies in a folder of populations."""
    study = read_study(HERE / f"{population.name}.toml")
    (source,) = study.population.sources
    if Path(source).parent.name == "populations":
        place = (str(folder / Path(source).name),)
        found = replace(study.population, sources=place)
        study = replace(study, population=found)
    if out is not None:
        study = replace(study, report=Report(out=str(out), formats=("json",)))
    return run_study(study).report.document


def mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None


def tally(words: Words) -> str:
    ordered = sorted(words.items(), key=lambda row: (-row[1], row[0]))
    return ", ".join(f"{n} {word}" for word, n in ordered)


def verdicts(document: Document, side: str = "") -> Words:
    layers = document["layers"]
    return Counter((e[side] if side else e)["verdict"] for e in layers)


def recipes(document: Document) -> dict[str, Mapping[str, Any]]:
    """Return what spectra prints of each recipe: means over layers."""
    return {row["recipe"]: row for row in recipe_rows(document)}


def of_norms(layer: Mapping[str, Any], k: str) -> Mapping[str, Any] | None:
    """Return what the strength null's draws hold, or None."""
    null = layer["model_axis"]["null"].get("strength")
    return null["evr"][k] if null else None


def models_row(population: Population, document: Document) -> list[str]:
    """Return a spectrum across models, beside what makes it without sharing.

    The recipe model-axis, which mode 0 of hosvd is too, of layers of three
    members or more: two have one direction.
    """
    k = recipes(document)["model-axis"]["k"]
    axes = [layer["model_axis"] for layer in document["layers"]]
    found = [
        (entry["evr"][k], entry["null"][k], null["mean"])
        for layer in document["layers"]
        for entry in layer["recipes"]
        if entry["recipe"] == "model-axis" and (null := of_norms(layer, k))
    ]
    lows = [axis["held_out"]["effect"]["low"] for axis in axes]
    known = [round(low, 3) + 0.0 for low in lows if low is not None]
    means = [
        axis["held_out"]["r2"]["mean"]
        for axis in axes
        if "mean_reason" not in axis["held_out"]["r2"]
    ]
    who = document["population"]
    return [
        population.title,
        str(who["n_models"]),
        str(who["n_groups"]),
        k,
        *(share(mean(column)) for column in zip(*found, strict=True)),
        f"{min(known):.3f} to {max(known):.3f}" if known else "none",
        f"{median(means):.3f}" if means else "none",
        tally(verdicts(document)),
        document["verdict"]["word"],
    ]


SIDES = {
    "inputs": ("rows-pca", "input_side"),
    "outputs": ("hosvd, mode 1", "output_side"),
}


def sides_row(
    population: Population, document: Document, which: str
) -> list[str]:
    """Return a spectrum of rows or columns, and the side's beside its null.

    Mode 2 of hosvd is rows-pca. A side is what both are of, not centred.
    """
    recipe, side = SIDES[which]
    row = recipes(document)[recipe]
    k = row["k"]
    sides = [layer[side] for layer in document["layers"]]
    nulls = [(each["null"] or {}).get("side-strength") for each in sides]
    both = [
        (each["evr"][k], null["evr"][k]["mean"])
        for each, null in zip(sides, nulls, strict=True)
        if null and null["evr"][k]
    ]
    return [
        population.title,
        which,
        k,
        row["features"],
        share(row["evr"]),
        share(row["null"]),
        share(mean(observed for observed, _ in both)),
        share(mean(null for _, null in both)),
        tally(verdicts(document, side)),
    ]


def factors_row(population: Population, document: Document) -> list[str]:
    """Return spectra of raw factors, each with its chance in brackets."""
    rows = recipes(document)
    cells = (
        f"{share(row['evr'])} ({share(row['null'])}) at {row['k']}"
        for row in map(rows.__getitem__, FACTORS)
    )
    return [population.title, *cells]


def held(predicted: Words, found: Words) -> str:
    """Return of how many layers a prediction came out."""
    right = sum(min(n, found.get(word, 0)) for word, n in predicted.items())
    return f"{tally(predicted)}: {right} of {sum(found.values())}"


def prediction_row(population: Population, document: Document) -> list[str]:
    return [
        population.title,
        held(population.layers, verdicts(document)),
        held(population.inputs, verdicts(document, "input_side")),
        held(population.outputs, verdicts(document, "output_side")),
    ]


def put(page: str, name: str, text: str) -> str:
    """Return a page with a table between its marks."""
    marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    if not marks.search(page):
        raise KeyError(name)
    return marks.sub(lambda m: f"{m[1]}\n{text}\n\n{m[2]}", page)


def of_adapters(document: Document) -> bool:
    return document["layers"][0]["kind"] == "low-rank"


def measured(
    documents: Sequence[tuple[Population, Document]],
) -> dict[str, list[list[str]]]:
    """Return the rows of every table that comes from runs."""
    return {
        "models": [models_row(*each) for each in documents],
        "sides": [
            sides_row(*each, which) for each in documents for which in SIDES
        ],
        "factors": [
            factors_row(*each) for each in documents if of_adapters(each[1])
        ],
        "predictions": [prediction_row(*each) for each in documents],
    }


def unpacked(source: Path) -> Path:
    """Return the folder of populations, unpacked where it is an archive."""
    if source.is_dir():
        return source
    folder = HERE / "out" / "populations"
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return folder


def main(populations: str = "") -> None:
    page = put(
        PAGE.read_text("utf-8"), "published", table(PUBLISHED, published())
    )
    if populations:
        folder = unpacked(Path(populations))
        rows = measured(
            [(each, carried_out(each, folder)) for each in POPULATIONS]
        )
        for name, titles in TITLES.items():
            page = put(page, name, table(titles, rows[name]))
        page = put(page, "checks", table(CHECKS, checks(folder)))
        FIGURE.write_text(draw(rows["models"], rows["sides"]), "utf-8")
    else:
        print("No POPULATIONS were named: figures of runs stay as they are.")
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
