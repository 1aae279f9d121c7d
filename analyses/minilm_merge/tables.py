"""Write the tables and the figure of this folder's page from its record.

From the root of a checkout: ``python -m analyses.minilm_merge.tables``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from analyses.minilm_merge.figure import draw
from analyses.universal_subspace.tables import put
from analyses.verdict.tables import table

HERE = Path(__file__).resolve().parent
PAGE = HERE / "README.md"
RECORD = HERE / "record.json"
FIGURE = HERE / "accuracy.svg"

Array = NDArray[np.float64]
Row = Mapping[str, Any]

PARENTS_RANK = 8
DRAWS = 9999

PREDICTORS = {
    "sti": "STI, entrywise",
    "sti_nuclear": "STI, nuclear norm",
    "sar": "SAR with each other",
    "sar_merged": "SAR with their mean",
    "cosine": "cosine of the updates",
    "norm": "norm of both",
}

TITLES = {
    "alone": (
        "encoder", "head", "accuracy", "least", "most", "normalised",
        "of the gain",
    ),
    "merges": (
        "method", "lambda 1", "lambda 1, rank 8", "lambda tuned",
        "of the gain", "less tuned sum", "groups ahead", "lambda",
    ),
    "projections": (
        "directions", "k", "in sample: captured", "accuracy", "normalised",
        "less the mean",
        "held out: captured", "accuracy", "normalised", "less the mean",
    ),
    "pairs": ("of two adapters", "rho", "p", "rho in each group"),
}  # fmt: skip


class Record:
    """What was measured, as accuracies of tasks.

    Parameters
    ----------
    content
        Of ``record.json``.
    """

    def __init__(self, content: Row) -> None:
        self.rows: Sequence[Row] = content["rows"]
        self.groups: Mapping[str, Sequence[int]] = content["groups"]
        self.tasks: Sequence[Row] = content["tasks"]
        self.test = np.array([task["test"] for task in self.tasks])
        self.individual = self.alone("individual")

    def found(self, **setting: Any) -> Iterator[Row]:
        """Yield the rows of a setting, in the order of the record."""
        for row in self.rows:
            if all(row.get(key) == value for key, value in setting.items()):
                yield row

    def alone(self, what: str) -> Array:
        """Return the accuracies of rows that have all tasks."""
        (row,) = self.found(what=what, part="test")
        return np.array(row["right"]) / self.test

    def merged(
        self, method: str, *, is_tuned: bool = False, is_reduced: bool = False
    ) -> Array:
        """Return the accuracy of each task in the merge of its group."""
        accuracies = np.full(len(self.tasks), np.nan)
        for group, members in self.groups.items():
            lam = self.tuned(group, method) if is_tuned else None
            row = self.one_merge(group, method, lam, is_reduced=is_reduced)
            accuracies[members] = np.array(row["right"]) / self.test[members]
        return accuracies

    def one_merge(
        self,
        group: str,
        method: str,
        lam: float | None = None,
        *,
        is_reduced: bool = False,
    ) -> Row:
        """Return the tested merge of a group; without lam that of 1.

        Parameters
        ----------
        is_reduced
            Whether to the rank of the parents, or not at all.
        """
        lam = 1.0 if lam is None else lam
        (row,) = (
            row
            for row in self.found(
                what="merge", group=group, method=method, part="test"
            )
            if row["options"].get("lam", 1.0) == lam
            and (row["rank"] == PARENTS_RANK) == is_reduced
        )
        return row

    def tuned(self, group: str, method: str) -> float:
        """Return the lambda with most right answers on what was set aside."""
        rows = self.found(
            what="merge", group=group, method=method, part="tune"
        )
        found = {row["options"]["lam"]: sum(row["right"]) for row in rows}
        return max(sorted(found), key=lambda lam: found[lam])

    def whole(self, method: str, lam: float | None = None) -> Array:
        """Return the accuracies of a merge of all adapters."""
        row = self.one_merge("all", method, lam)
        return np.array(row["right"]) / self.test

    def sums_of_two(self) -> Array:
        """Return each task's accuracy, averaged over the pairs it is in."""
        found: list[list[float]] = [[] for _ in self.tasks]
        for row in self.found(what="pair"):
            for i, right in zip(row["pair"], row["right"], strict=True):
                found[i].append(right / self.test[i])
        return np.array([np.mean(each) for each in found])

    def normalised(self, accuracies: Array) -> str:
        """Return the mean of accuracies over the adapters' own, in words."""
        return plus_minus(accuracies / self.individual)

    def gain(self, accuracies: Array) -> str:
        """Return the share of what the adapters gain over the base.

        Of the mean accuracies, all under the heads of the adapters.
        """
        base = self.alone("base").mean()
        gained = accuracies.mean() - base
        return short(gained / (self.individual.mean() - base), 2)

    @property
    def methods(self) -> list[str]:
        """Return the methods of merging, in the order of the record."""
        return list(
            dict.fromkeys(row["method"] for row in self.found(what="merge"))
        )


def short(value: float, digits: int = 3) -> str:
    """Return a number as tables have it: no leading zero, no -.00."""
    return f"{value:z.{digits}f}".replace("0.", ".", 1)


def plus_minus(values: Array) -> str:
    """Return a mean with its standard error over the values."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    return f"{short(values.mean())} ± {short(error)}"


def alone(record: Record) -> Iterator[list[str]]:
    """Yield what adapters, base and plain means get right."""
    lam = record.tuned("all", "task-arithmetic")
    own = "its adapter's"
    mean = record.merged("mean")
    for encoder, head, values in (
        ("each adapter alone", own, record.individual),
        ("frozen base", own, record.alone("base")),
        ("frozen base", "one of its own", record.alone("probe")),
        ("sum of 2, mean over 7 others", own, record.sums_of_two()),
        ("mean of 8", own, mean),
        ("mean of all 32", own, record.whole("mean")),
        (f"sum of all 32 times {lam:.3g}", own,
         record.whole("task-arithmetic", lam)),
    ):  # fmt: skip
        yield [
            encoder, head, short(values.mean()), short(values.min()),
            short(values.max()), record.normalised(values),
            record.gain(values),
        ]  # fmt: skip


def merges(record: Record) -> Iterator[list[str]]:
    """Yield what each method gets right of what its adapters do."""
    sums = record.merged("task-arithmetic", is_tuned=True)
    for method in record.methods:
        cells = [
            record.normalised(record.merged(method, is_reduced=is_reduced))
            for is_reduced in (False, True)
        ]
        is_tuned = method != "mean"
        best = record.merged(method, is_tuned=is_tuned)
        ahead = [
            (best - sums)[list(members)].mean()
            for members in record.groups.values()
        ]
        lambdas = [
            f"{record.tuned(group, method):.2g}" if is_tuned else "none"
            for group in record.groups
        ]
        yield [
            method, *cells, record.normalised(best) if is_tuned else "none",
            record.gain(best), plus_minus(best - sums),
            f"{sum(gap > 0 for gap in ahead)} of {len(ahead)}",
            ", ".join(lambdas) if is_tuned else "none",
        ]  # fmt: skip


def projections(record: Record) -> Iterator[list[str]]:
    """Yield what is right in k directions of all, and of all others."""
    settings = sorted(
        {(row["basis"], row["k"]) for row in record.found(what="projection")}
        | {("leading", 0)}
    )
    for basis, k in settings:
        cells = []
        for held_out in (False, True):
            cells += projected(record, basis, k, held_out=held_out)
        yield [basis if k else "none: the mean", str(k), *cells]


def projected(
    record: Record, basis: str, k: int, *, held_out: bool
) -> list[str]:
    """Return what directions hold of the adapters, and get right."""
    mean = record.whole("mean")
    if held_out:
        (row,) = record.found(what="projection", held_out=True, k=0)
        mean = np.array(row["right"]) / record.test
    captured, values = 0.0, mean
    if k:
        how = {"held_out": held_out, "basis": basis, "k": k}
        rows = list(record.found(what="projection", **how))
        if not rows:
            return ["none"] * 4
        captured = float(np.median(rows[0]["captured"]))
        values = np.array(rows[0]["right"]) / record.test
    return [
        short(captured), short(values.mean()), record.normalised(values),
        plus_minus(values - mean) if k else "none",
    ]  # fmt: skip


def ranks(X: Array) -> Array:
    """Return the ranks of a symmetric matrix's pairs, of length 1 above 0.

    Their products with those of another matrix sum to Spearman's rho.
    """
    pairs = np.triu_indices(len(X), 1)
    ranked = rankdata(X[pairs])
    ranked -= ranked.mean()
    found = np.zeros_like(X)
    found[pairs] = ranked / np.linalg.norm(ranked)
    return found + found.T


def matrices(record: Record, group: str) -> tuple[dict[str, Array], Array]:
    """Return the predictors of each pair of a group, and its loss.

    The loss is the accuracy that the two tasks lose, on average, when the
    adapters are summed.
    """
    members = list(record.groups[group])
    n = len(members)
    found = {name: np.zeros((n, n)) for name in PREDICTORS}
    loss = np.zeros((n, n))
    for row in record.found(what="pair", group=group):
        pair = row["pair"]
        i, j = (members.index(each) for each in pair)
        right = np.array(row["right"]) / record.test[pair]
        loss[i, j] = loss[j, i] = (record.individual[pair] - right).mean()
        for name, X in found.items():
            X[i, j] = X[j, i] = row["predictors"][name]
    return found, loss


def pairs(record: Record) -> Iterator[list[str]]:
    """Yield how well each number predicts what a sum of two loses.

    Pairs of one task are no independent samples: p is that of permuted tasks
    (Mantel's test), within each group, of the mean of the groups' rho.
    """
    groups = [matrices(record, group) for group in record.groups]
    rng = np.random.default_rng(0)
    losses, permuted = [], []
    for _, loss in groups:
        n = len(loss)
        order = rng.permuted(np.tile(np.arange(n), (DRAWS, 1)), axis=1)
        losses.append(ranks(loss))
        permuted.append(losses[-1][order[:, :, None], order[:, None, :]])
    for name, title in PREDICTORS.items():
        X = [ranks(found[name]) for found, _ in groups]
        rhos = np.sum([x * y / 2 for x, y in zip(X, losses, strict=True)],
                      axis=(1, 2))  # fmt: skip
        drawn = np.mean(
            [
                np.einsum("ij,dij->d", x / 2, y)
                for x, y in zip(X, permuted, strict=True)
            ],
            axis=0,
        )
        extreme = np.count_nonzero(np.abs(drawn) >= abs(rhos.mean()) - 1e-12)
        yield [
            title, short(rhos.mean(), 2),
            short((1 + extreme) / (1 + DRAWS), 2),
            ", ".join(short(rho, 2) for rho in rhos),
        ]  # fmt: skip


def measured(content: Row) -> dict[str, list[list[str]]]:
    """Return the rows of every table of the page."""
    record = Record(content)
    makers = (alone, merges, projections, pairs)
    return {make.__name__: list(make(record)) for make in makers}


def main() -> None:
    rows = measured(json.loads(RECORD.read_text("utf-8")))
    page = PAGE.read_text("utf-8")
    for name, titles in TITLES.items():
        page = put(page, name, table(titles, rows[name]))
    PAGE.write_text(page, "utf-8")
    FIGURE.write_text(draw(rows), "utf-8")


if __name__ == "__main__":
    main()
