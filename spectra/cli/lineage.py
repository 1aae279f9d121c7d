"""``spectra lineage``: who descends from whom, beside what cards claim."""

from collections.abc import Iterator
from typing import Any

import spectra
from spectra.cli import console, options
from spectra.core.text import printable

__all__ = ["command"]


def command(run: options.RunFile, json: options.Json = False) -> None:
    """Show who descends from whom, beside what the cards claim.

    An edge is drawn -> where the kurtosis of the weights tells its direction,
    -- where it does not: then the child may be the parent.

    Example: spectra lineage run.h5
    """
    document = spectra.lineage(spectra.load(run)).document
    if json:
        console.document(document)
        return
    for group in document["groups"]:
        for line in _tree(group):
            console.say(line)
        console.say()
    for copy in document["copies"]:
        console.say(
            f"{printable(copy['id'])} is a copy of {printable(copy['of'])}"
        )
    console.say(document["text"])


def _tree(group: dict[str, Any]) -> Iterator[str]:
    """Yield a line a member, each below its parent."""
    below: dict[str, list[dict[str, Any]]] = {}
    for edge in group["edges"]:
        below.setdefault(edge["parent"], []).append(edge)
    yield printable(group["root"])
    waiting = [(edge, 1) for edge in reversed(below.get(group["root"], []))]
    while waiting:
        edge, depth = waiting.pop()
        arrow = "->" if edge["certain"] else "--"
        yield (
            f"{'   ' * depth}{arrow} {printable(edge['child'])}:"
            f" {_evidence(edge)}; {_card(edge, group['claims'])}"
        )
        waiting += [
            (each, depth + 1)
            for each in reversed(below.get(edge["child"], []))
        ]


def _evidence(edge: dict[str, Any]) -> str:
    move = edge["relative_move"]
    moved = "moved" if move is None else f"moved {100 * move:.3g} %"
    n_same = len(edge["identical_layers"])
    same = f"{n_same} of {n_same + edge['n_moved']} layers identical"
    if edge["p"] is None:
        return f"{moved}, {same}, direction unknown"
    return (
        f"{moved}, {same}, kurtosis falls in {edge['n_falls']} of"
        f" {edge['n_told']} layers (p {edge['p']:.2g})"
    )


def _card(edge: dict[str, Any], claims: dict[str, str]) -> str:
    parent, child = edge["parent"], edge["child"]
    if edge["claim"] == "agrees":
        return "its card agrees"
    if edge["claim"] == "silent":
        return "its card is silent"
    if child in claims:
        return f"its card names {printable(claims[child])}"
    return f"the card of {printable(parent)} names it"
