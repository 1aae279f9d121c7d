"""Measure what merges and projections of real adapters get right.

From the root of a checkout, with what train.py of minilm_lora was given and
what it has written with --heads::

    python -m analyses.minilm_merge.measure avail.txt BASE \
        OUT/independent --trained trained.json

Every row of the record is a setting with the number of right answers of each
task. A stopped run goes on where it was; merges are made anew, and tested
again where their bytes are others.
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from analyses.minilm_merge.bench import TASKS, Bench, Row
from analyses.minilm_merge.merges import (
    CORES,
    DEFAULTS,
    all_together,
    merges,
    subspaces,
)
from analyses.minilm_merge.model import Questions, read_update
from analyses.minilm_merge.pairs import pairs
from analyses.minilm_merge.projections import projections

RECORD = Path(__file__).with_name("record.json")


def probe(bench: Bench) -> Row:
    """Return what heads of their own get right on the frozen base."""
    bench.encoder.take({})
    parts = [each for task in bench.tasks for each in (task.train, task.test)]
    found = bench.encoder.features(text for part in parts for text, _ in part)

    def right(task: Questions) -> int:
        X, Z = (
            np.stack([found[text] for text, _ in part])
            for part in (task.train, task.test)
        )
        y, z = ([label for _, label in p] for p in (task.train, task.test))
        model = LogisticRegression(max_iter=2000).fit(X, y)
        return round(model.score(Z, z) * len(z))

    return {"right": [right(task) for task in bench.tasks]}


def alone(bench: Bench) -> None:
    """Measure the frozen base and each adapter alone."""
    everyone = range(TASKS)
    bench.book.row(
        {"what": "base", "part": "test"}, partial(bench.right, {}, everyone)
    )

    def individual(part: str) -> Row:
        updates = [read_update(bench.path(i)) for i in everyone]
        found = [bench.right(updates[i], [i], part) for i in everyone]
        return {"right": [row["right"][0] for row in found]}

    for part in ("all", "test"):
        bench.book.row(
            {"what": "individual", "part": part}, partial(individual, part)
        )


def arguments() -> argparse.Namespace:
    summary = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(description=summary)
    add = parser.add_argument
    add("available", type=Path, help="output of apt-cache dumpavail")
    add("base", type=Path, help="folder of all-MiniLM-L6-v2")
    add("adapters", type=Path, help="folder of its independent adapters")
    add("--trained", type=Path, required=True, help="its record")
    add("--record", type=Path, default=RECORD, help="JSON file to write")
    add("--threads", type=int, default=1, help="threads of torch")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    bench = Bench(options)
    alone(bench)
    merges(bench, DEFAULTS)
    subspaces(bench)
    all_together(bench)
    projections(bench)
    bench.book.row({"what": "probe", "part": "test"}, partial(probe, bench))
    pairs(bench)
    merges(bench, CORES)
    bench.book.close()


if __name__ == "__main__":
    main()
