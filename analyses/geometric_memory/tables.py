"""Write the tables and the figure of this folder's page from its record.

From the root of a checkout: ``python -m analyses.geometric_memory.tables``.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyses.geometric_memory.figure import draw

HERE = Path(__file__).resolve().parent
PAGE, FIGURE = HERE / "README.md", HERE / "overlap.svg"
RECORD = HERE / "record.json"

Record = Mapping[str, Any]
Row = Sequence[str]


def short(value: float) -> str:
    """Return a number as tables have it: no leading zero, no -.000."""
    return f"{value:z.3f}".replace("0.", ".", 1)


def plus_minus(values: Sequence[float]) -> str:
    """Return mean and standard deviation over seeds."""
    spread = float(np.std(values, ddof=1))
    return f"{short(float(np.mean(values)))} ± {short(spread)}"


def trained(record: Record) -> Iterator[tuple[str, str, list[Record]]]:
    """Yield graph, model, and its runs, one a seed."""
    runs = record["runs"]
    for graph, model in dict.fromkeys((r["graph"], r["model"]) for r in runs):
        mine = [r for r in runs if (r["graph"], r["model"]) == (graph, model)]
        yield graph, model, mine


def curve(runs: Sequence[Record], name: str, what: str) -> NDArray[Any]:
    """Return one measure of one embedding, (seeds, steps)."""
    return np.array([run["embeddings"][name][what] for run in runs])


def first(run: Record, holds: Sequence[bool]) -> int:
    """Return the first step of those told at which something holds."""
    return int(run["steps"][int(np.argmax(holds))])


def steps(found: Sequence[int]) -> str:
    low, high = min(found), max(found)
    return f"{low}" if low == high else f"{low} to {high}"


def graphs(record: Record) -> Iterator[Row]:
    for row in record["graphs"]:
        yield (
            row["graph"], f"{row['n']}", f"{row['edges']}", f"{row['k']}",
            f"{row['gap']:.2f}",
            f"{short(row['chance'])} ± {short(row['spread'])}",
            short(row["quarter"]),
        )  # fmt: skip


def memory(record: Record) -> Iterator[Row]:
    for graph, model, runs in trained(record):
        recalls = [
            first(r, [value > 0.5 for value in r["recall"]]) for r in runs
        ]
        losses = [
            first(r, [value < r["excess"][0] / 2 for value in r["excess"]])
            for r in runs
        ]
        main = next(iter(runs[0]["embeddings"]))
        last = [r["embeddings"][main]["slow"] for r in runs]
        halves = [
            first(r, [value > each[-1] / 2 for value in each])
            for r, each in zip(runs, last, strict=True)
        ]
        yield (
            graph, model,
            short(float(np.mean([r["excess"][-1] for r in runs]))),
            short(min(r["recall"][-1] for r in runs)),
            steps(recalls), steps(losses), steps(halves),
        )  # fmt: skip


def overlaps(record: Record) -> Iterator[Row]:
    for graph, model, runs in trained(record):
        for name in runs[0]["embeddings"]:
            slow, twins, quarter = (
                curve(runs, name, what)
                for what in ("slow", "twins", "quarter")
            )
            highest = slow.mean(axis=0)
            at = int(np.argmax(highest))
            p = max(run["embeddings"][name]["p"] for run in runs)
            yield (
                graph, model, f"`{name}`",
                f"{short(highest[at])} at {runs[0]['steps'][at]}",
                plus_minus(slow[:, -1]), f"{p:.3f}".removeprefix("0"),
                plus_minus(twins[:, -1]), plus_minus(quarter[:, -1]),
            )  # fmt: skip


TABLES: dict[str, tuple[Row, Callable[[Record], Iterator[Row]]]] = {
    "graphs": (
        ("graph", "nodes", "edges", "k", "gap", "chance", "a quarter's"),
        graphs,
    ),
    "memory": (
        (
            "graph", "model", "excess loss", "recall", "recall above half",
            "loss halved", "overlap above half its last",
        ),
        memory,
    ),
    "overlaps": (
        (
            "graph", "model", "embedding", "highest mean", "last", "p",
            "in the twins", "in the slowest quarter",
        ),
        overlaps,
    ),
}  # fmt: skip


def table(name: str, record: Record) -> str:
    titles, rows = TABLES[name]
    lines = (titles, ["---"] * len(titles), *rows(record))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def with_tables(page: str, record: Record) -> str:
    """Return the page with the tables between its marks."""
    for name in TABLES:
        marks = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = table(name, record)
        page = marks.sub(lambda m, t=text: f"{m[1]}{t}\n{m[2]}", page)
    return page


def lines(record: Record) -> Iterator[tuple[str, str, Sequence[int], Any]]:
    """Yield graph, model, steps and overlaps (seeds, steps) to be drawn."""
    for graph, model, runs in trained(record):
        main = next(iter(runs[0]["embeddings"]))
        yield graph, model, runs[0]["steps"], curve(runs, main, "slow")


def drawn(record: Record) -> str:
    bands = [
        (row["graph"], row["chance"], row["spread"])
        for row in record["graphs"]
    ]
    return draw(bands, list(lines(record)))


def main() -> None:
    record = json.loads(RECORD.read_text("utf-8"))
    PAGE.write_text(with_tables(PAGE.read_text("utf-8"), record), "utf-8")
    FIGURE.write_text(drawn(record), "utf-8")


if __name__ == "__main__":
    main()
