"""``spectra align``: how alike models represent the same items."""

from typing import Annotated, Any

import typer

import spectra
from spectra.cli import console, options

__all__ = ["command"]


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
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Measure how alike models represent the same items.

    Of files with several layers the most alike two are taken, and from
    permuted items too: every value stands beside its own null. Of checkpoints
    the input embeddings are compared, on the tokens that all have.

    Example: spectra align a.npy b.npy --metric mutual-knn --metric cknna
    """
    with console.observer("aligning") as watch:
        found = spectra.alignment(
            *sources, metric=metric, k=k, draws=draws, seed=seed,
            normalize=normalize, on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
    else:
        _show(found.document)


def _show(found: dict[str, Any]) -> None:
    several = any(len(model["layers"]) > 1 for model in found["models"])
    console.table(
        ("a", "b", "metric", *(["layers"] if several else []),
         "value", "permuted", "excess", "p", "items", "coverage"),
        [_row(pair, several) for pair in found["pairs"]],
        left=4 if several else 3,
    )  # fmt: skip
    ids = [model["id"] for model in found["models"]]
    if len(ids) > 2:
        for matrix in found["matrices"]:
            _show_matrix(matrix, ids)
    console.say(found["text"])


def _row(pair: dict[str, Any], several: bool) -> tuple[str, ...]:
    layers = (f"{pair['layer_a']}, {pair['layer_b']}",) if several else ()
    return (
        pair["a"],
        pair["b"],
        pair["metric"],
        *layers,
        *(console.number(pair[key]) for key in ("value", "null_mean")),
        *(console.number(pair[key]) for key in ("excess", "p")),
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
