"""The adapters with their tasks, and the record of what was measured."""

import argparse
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analyses.minilm_lora.train import (
    distinct_tags,
    make_task,
    read_descriptions,
)
from analyses.minilm_merge.model import Encoder, Update, questions

TASKS, GROUP, SEED = 32, 8, 0
ALL = "all"  # the group of all tasks
N_TUNE = 64  # test examples of each task on which lambda is tuned
N_TEST = 128  # others at most, on which the rest is measured

Row = dict[str, Any]


class Book:
    """What has been measured, one row a setting.

    Parameters
    ----------
    path
        JSON file; rows of an older run of the same head are taken from it.
    head
        What all rows rest on.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path, self.head = path, head
        self.rows: dict[str, Row] = {}
        old = json.loads(path.read_text("utf-8")) if path.exists() else {}
        rows = old.pop("rows", [])
        same = old == json.loads(json.dumps(head))
        self.old = {self.key(row): row for row in rows if same}

    @staticmethod
    def key(row: Row) -> str:
        """Return the setting of a row, without what was found."""
        found = ("right", "captured", "gap", "predictors")
        return json.dumps({k: v for k, v in row.items() if k not in found})

    def row(self, setting: Row, measure: Callable[[], Row]) -> Row:
        """Return what a setting comes to, measured unless it has been."""
        key = self.key(setting)
        if key in self.old:
            self.rows[key] = self.old.pop(key)
        elif key not in self.rows:
            self.rows[key] = setting | measure()
            self.write(*self.rows.values(), *self.old.values())
            print(json.dumps(self.rows[key]), flush=True)
        return self.rows[key]

    def close(self) -> None:
        """Write the record without what this run had no use for."""
        self.write(*self.rows.values())

    def write(self, *rows: Row) -> None:
        """Write the record, a row a line."""
        head = json.dumps(self.head, indent=1)[:-2]
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        text = f'{head},\n "rows": [\n{lines}\n ]\n}}\n'
        self.path.write_text(text, "utf-8")


class Bench:
    """The adapters with their tasks, the encoder, and the record.

    Parameters
    ----------
    options
        The command line.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        tagged = read_descriptions(options.available)
        tags = distinct_tags(tagged)[:TASKS]
        self.tasks = [
            questions(
                make_task(tagged, tag, i), options.adapters, N_TUNE, N_TEST
            )
            for i, tag in tags
        ]
        self.folder = options.adapters
        self.encoder = Encoder(options.base)
        order = np.random.default_rng(SEED).permutation(TASKS)
        groups = np.sort(order.reshape(-1, GROUP)).tolist()
        self.groups = {str(i): group for i, group in enumerate(groups)}
        self.book = Book(options.record, head(options, tagged, self))

    def right(
        self, update: Update, tasks: Sequence[int], part: str = "test"
    ) -> Row:
        """Return the right answers of each task under one update."""
        chosen = [self.tasks[i] for i in tasks]
        return {"right": self.encoder.right(update, chosen, part)}

    def members(self, group: str) -> list[int]:
        """Return the tasks of a group."""
        return list(range(TASKS)) if group == ALL else self.groups[group]

    def path(self, i: int) -> Path:
        """Return the folder of an adapter."""
        return self.folder / self.tasks[i].folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def head(
    options: argparse.Namespace, tagged: Mapping[str, Any], bench: Bench
) -> Row:
    """Return what all rows rest on: checksums, versions, seeds, tasks."""
    names = ("numpy", "safetensors", "scikit-learn", "tokenizers", "torch",
             "transformers")  # fmt: skip
    trained = json.loads(options.trained.read_text("utf-8"))
    if trained["data"]["sha256"] != sha256(options.available):
        raise ValueError("the adapters were trained on another listing")
    accuracies = {
        row["folder"].partition("/")[2]: row["test_accuracy"]
        for row in trained["adapters"]
    }
    return {
        "base": trained["base"],
        "data": trained["data"] | {"descriptions": len(tagged)},
        "trained_with": trained["versions"],
        "versions": {name: importlib.metadata.version(name) for name in names},
        "seed": SEED,
        "groups": bench.groups,
        "tasks": [
            {
                "folder": task.folder,
                "tune": len(task.tune),
                "test": len(task.test),
                "all": len(task.all),
                "trained": accuracies[task.folder],
                "sha256": sha256(bench.path(i) / "adapter_model.safetensors"),
            }
            for i, task in enumerate(bench.tasks)
        ],
    }
