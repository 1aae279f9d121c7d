"""``spectra align``: how alike models represent the same items."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]

_TITLES = {"null_mean": "permuted", "p_adjusted": "p adjusted"}


def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="A B...",
            help="Files of features (.npy, .npz, .safetensors, .h5) whose rows"
            " are the same items, or checkpoints whose vocabularies meet.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="Write alignment.html, alignment.json and alignment.csv to"
            " this folder.",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        list[str],
        typer.Option(
            "--metric",
            metavar="NAME",
            help="mutual-knn, cycle-knn, lcs-knn, edit-knn, cknna, cka,"
            " cka-debiased, cka-rbf, cka-rbf-debiased, procrustes, svcca,"
            " pwcca, rsa or relative; may be repeated. mutual-knn and"
            " cka-debiased where none is named.",
        ),
    ] = [],
    k: Annotated[
        int, typer.Option("-k", min=1, help="Neighbours of an item.")
    ] = 10,
    draws: Annotated[
        int,
        typer.Option("--draws", min=19, help="Permutations of the items."),
    ] = 199,
    seed: options.Seed = 0,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize",
            help="Scale rows to unit length; the metrics of neighbours always"
            " do.",
        ),
    ] = False,
    scores: Annotated[
        Path | None,
        typer.Option(
            "--scores",
            metavar="FILE",
            help="A score of each model, such as its accuracy or size: CSV"
            " with columns id and score, or JSON by id. Says whether alignment"
            " follows it.",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="A run file with the models among its members. Says whether"
            " alignment goes with the overlap of their weights.",
        ),
    ] = None,
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Measure how alike models represent the same items.

    Of files with several layers the most alike two are taken, and from
    permuted items too: every value stands beside its own null. Of checkpoints
    the input embeddings are compared, on the tokens that all have.

    Example: spectra align a.npy b.npy --metric mutual-knn --metric cknna
    Example: spectra align a.npy b.npy c.npy -o alignment/
    """
    with console.observer("aligning") as watch:
        found = spectra.alignment(
            *sources, metric=metric, k=k, draws=draws, seed=seed,
            normalize=normalize, scores=scores, run=run, out=out,
            on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
        return
    _show(found.document)
    if out is not None:
        console.say(f"look at {out / 'alignment.html'}")


def _show(found: dict[str, Any]) -> None:
    ids = [model["id"] for model in found["models"]]
    several = any(len(model["layers"]) > 1 for model in found["models"])
    numbers = ["value", "null_mean", "excess", "p"]
    if len(ids) > 2:
        numbers.append("p_adjusted")
    console.table(
        ("a", "b", "metric", *(["layers"] if several else []),
         *(_TITLES.get(key, key) for key in numbers), "items", "coverage"),
        [_row(pair, several, numbers) for pair in found["pairs"]],
        left=4 if several else 3,
    )  # fmt: skip
    if len(ids) > 2:
        for matrix in found["matrices"]:
            _show_matrix(matrix, ids)
    console.say(found["text"])
    for entry in found["convergence"] or ():
        console.say(entry["text"])
    for entry in (found["weights"] or {"by_metric": ()})["by_metric"]:
        console.say(entry["text"])


def _row(
    pair: dict[str, Any], several: bool, numbers: Sequence[str]
) -> tuple[str, ...]:
    layers = (f"{pair['layer_a']}, {pair['layer_b']}",) if several else ()
    return (
        pair["a"],
        pair["b"],
        pair["metric"],
        *layers,
        *(console.number(pair[key]) for key in numbers),
        str(pair["n_items"]),
        console.number(pair["coverage"]),
    )


def _show_matrix(matrix: dict[str, Any], ids: list[str]) -> None:
    """Print a metric of all pairs, similar models beside one another."""
    places = [ids.index(name) for name in matrix["order"]]
    values = matrix["values"]
    console.say()
    console.table(
        (matrix["metric"], *map(str, range(1, len(ids) + 1))),
        [
            (
                f"{row} {ids[i]}",
                *(console.number(values[i][j]) for j in places),
            )
            for row, i in enumerate(places, start=1)
        ],
    )
