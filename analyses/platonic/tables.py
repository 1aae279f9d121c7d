"""Write the tables and the figures of this folder's page from its record.

From the root of a checkout: ``python -m analyses.platonic.tables``.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyses.platonic.figure import draw
from analyses.universal_subspace.tables import put
from analyses.verdict.tables import table

HERE = Path(__file__).resolve().parent
PAGE, FIGURE = HERE / "README.md", HERE / "training.svg"
RECORD = HERE / "record.json"

Record = Mapping[str, Any]
Row = Sequence[str]

IMAGES = ("EfficientNet", "the same, untrained", "thumbnails")


def short(value: float) -> str:
    """Return a number as tables have it: no leading zero, no -.000."""
    return f"{value:z.3f}".replace("0.", ".", 1)


def p_of(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def beside(pair: Mapping[str, Any]) -> str:
    """Return what an alignment is above permuted items, and its p."""
    return f"{short(pair['excess'])} ({short(pair['p'])})"


def colours(record: Record) -> Iterator[Row]:
    for row in record.get("colours", ()):
        nearer = "yellow" if row["red-yellow"] > row["red-blue"] else "blue"
        yield (
            row["model"], f"{row['list']}, {row['n']}", f"`{row['said']}`",
            short(row["spearman"]), p_of(row["p"]), short(row["triples"]),
            short(row["red-yellow"]), short(row["red-blue"]), nearer,
        )  # fmt: skip


def animals(record: Record) -> Iterator[Row]:
    for row in record.get("animals", ()):
        yield (
            row["model"], row["nearest"], f"{row['rank']}", short(row["p"]),
            f"{row['back']}", short(row["wolf"]), short(row["cat"]),
            short(row["car"]), f"{row['further than a car']}",
        )  # fmt: skip


def texts_and_images(record: Record, part: str) -> Iterator[Row]:
    """Yield each model of texts beside those of images, and MiniLM."""
    pairs = {(row["a"], row["b"]): beside(row) for row in record.get(part, ())}
    readers = [a for a, b in pairs if b == IMAGES[0] and a not in IMAGES]
    for reader in readers:
        yield (
            reader,
            *(pairs[reader, image] for image in IMAGES),
            pairs.get(("MiniLM", reader), ""),
        )


def emoji(record: Record) -> Iterator[Row]:
    yield from texts_and_images(record, "emoji")


def faces(record: Record) -> Iterator[Row]:
    yield from texts_and_images(record, "animals aligned")


def worlds(record: Record) -> dict[str, list[Mapping[str, Any]]]:
    """Return the runs of each world, one a seed."""
    runs = record["shapes"]
    return {
        world: [run for run in runs if run["world"] == world]
        for world in dict.fromkeys(run["world"] for run in runs)
    }


def curve(runs: Sequence[Mapping[str, Any]], *keys: Any) -> Any:
    """Return one measure over training, (seeds, steps)."""

    def one(value: Any) -> float:
        for key in keys:
            value = value[key]
        return float(value)

    return np.array([[one(step) for step in run["steps"]] for run in runs])


def spread(values: Any) -> str:
    """Return mean and standard deviation over seeds."""
    return f"{short(values.mean())} ± {short(values.std(ddof=1))}"


PAIRS = ("reader, seer", "reader, pixels", "seer, random words")


def training(record: Record) -> Iterator[Row]:
    for world, runs in worlds(record).items():
        columns = [
            curve(runs, "pairs", f"{pair}, mutual-knn", 0) for pair in PAIRS
        ]
        cka = curve(runs, "pairs", "reader, seer, cka-debiased", 0)
        cknna = curve(runs, "pairs", "reader, seer, cknna", 0)
        kinds = (("spearman", "p"), ("after", "p after"))
        hues = [curve(runs, kind) for both in kinds for kind in both]
        for i, state in enumerate(runs[0]["steps"]):
            yield (
                world, f"{state['step']}",
                *(spread(values[:, i]) for values in (*columns, cka, cknna)),
                spread(hues[0][:, i]), p_of(hues[1][:, i].max()),
                spread(hues[2][:, i]), p_of(hues[3][:, i].max()),
            )  # fmt: skip


def or_none(value: float | None, words: Callable[[float], str]) -> str:
    return "none" if value is None else words(value)


def adapters(record: Record) -> Iterator[Row]:
    for row in record.get("adapters", ()):
        yield (
            row["what"], row["set"], f"{row['n']}", short(row["excess"]),
            short(row["r"]), p_of(row["p"]),
            or_none(row["r_groups"], short), or_none(row["p_groups"], p_of),
        )  # fmt: skip


def grouped(row: Mapping[str, Any]) -> Row:
    return (
        f"{row['pairs']}", short(row["within"]), short(row["between"]),
        p_of(row["p"]),
    )  # fmt: skip


def twins(record: Record) -> Iterator[Row]:
    for row in record.get("adapters", ()):
        for which in ("task", "start"):
            if which in row:
                yield row["what"], which, *grouped(row[which])


def languages(record: Record) -> Iterator[Row]:
    for row in record.get("languages", ()):
        yield *grouped(row), short(row["r"]), p_of(row["p of r"])


TABLES: dict[str, tuple[Row, Callable[[Record], Iterator[Row]]]] = {
    "colours": (
        (
            "model", "words", "said", "Spearman", "p", "triples", "red-yellow",
            "red-blue", "red is nearer to",
        ),
        colours,
    ),
    "animals": (
        (
            "model", "nearest to dog", "place of wolf", "p",
            "place of dog from wolf", "dog-wolf", "dog-cat", "dog-car",
            "animals further than a car",
        ),
        animals,
    ),
    "faces": (("texts", *IMAGES, "MiniLM"), faces),
    "emoji": (("texts", *IMAGES, "MiniLM"), emoji),
    "training": (
        (
            "hues", "step", *PAIRS, "reader, seer: `cka-debiased`", "`cknna`",
            "hues as they look: vectors", "highest p", "states", "highest p",
        ),
        training,
    ),
    "adapters": (
        (
            "of", "set", "adapters", "mean excess", "r with overlap", "p",
            "r of groups", "p of groups",
        ),
        adapters,
    ),
    "twins": (
        ("of", "the same", "pairs", "these", "others", "p"),
        twins,
    ),
    "languages": (
        (
            "pairs of a family", "these", "others", "p",
            "r with overlap", "p",
        ),
        languages,
    ),
}  # fmt: skip


def with_tables(page: str, record: Record) -> str:
    """Return the page with the tables between its marks."""
    for name, (titles, rows) in TABLES.items():
        page = put(page, name, table(titles, rows(record)))
    return page


def drawn(record: Record) -> str:
    steps = [each["step"] for each in record["shapes"][0]["steps"]]
    alike, hues = {}, {}
    for world, runs in worlds(record).items():
        alike[world] = curve(runs, "pairs", f"{PAIRS[0]}, mutual-knn", 0)
        hues[world] = curve(runs, "after")
    panels = {"Alignment above chance": alike, "Hues as they look": hues}
    return draw(steps, panels)


def main() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), record), "utf-8")
    FIGURE.write_text(drawn(record), "utf-8")


if __name__ == "__main__":
    main()
