"""Full weights: what a method does with explicit maps, and with entries.

Methods that look at entries, or only weigh the members, take any tensor a
piece at a time. Those that decompose maps take whole matrices, `Maps`, and
average the other tensors: so does the code of TSV-M and of Iso-C.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.merging.choice import Choice
from spectra.apply.merging.elementwise import elected_mean, surviving
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.linear import even, shares, subspace_shares
from spectra.apply.merging.trimming import (
    Blocks,
    Counts,
    Digits,
    counted,
    least_kept,
    trimmed,
)
from spectra.apply.merging.triplets import Triplets, triplets

__all__ = ["FULL", "Full", "Maps", "Rule", "entry_rule", "merged_map"]

Matrix = NDArray[np.float64]
Stack = NDArray[np.float64]
Vector = NDArray[np.float64]

Rule = Callable[[Stack, int], Vector]
"""Merges entries (N, some) of a tensor, told how many stand before them."""


class Maps:
    """N maps of one shape, explicit: what `CoreSpace` is without frames.

    Parameters
    ----------
    maps
        (N, out, in).

    Attributes
    ----------
    U, V
        None: outputs and inputs are in their own axes.
    """

    U = None
    V = None

    def __init__(self, maps: Stack, /) -> None:
        self._maps = maps
        self._parts: tuple[Triplets, ...] = ()

    def __len__(self) -> int:
        """Return N."""
        return len(self._maps)

    def __iter__(self) -> Iterator[Matrix]:
        """Yield the maps."""
        return iter(self._maps)

    @property
    def shape(self) -> tuple[int, int]:
        """Return that of each, (out, in)."""
        rows, columns = self._maps.shape[1:]
        return rows, columns

    @property
    def size(self) -> tuple[int, int]:
        """Return the same: nothing is smaller than the maps."""
        return self.shape

    @property
    def parts(self) -> tuple[Triplets, ...]:
        """Return the singular triplets of each, decomposed when asked for."""
        if not self._parts:
            self._parts = tuple(triplets(each) for each in self._maps)
        return self._parts

    def framed(self, core: Matrix, /) -> Framed:
        """Return an explicit map."""
        return Framed(None, core, None)

    def combined(self, weights: Vector, /) -> Framed:
        """Return the sum of the maps with weights (N)."""
        return self.framed(np.tensordot(weights, self._maps, axes=1))


@dataclass(frozen=True, slots=True)
class Full:
    """How one of the methods merges full weights.

    Attributes
    ----------
    rule
        Of the entries of a tensor: ``rule(options, blocks, seeds, least)``;
        of a method that decomposes matrices, of what is no matrix.
    needs_base
        Whether it merges differences from a base. The others are the same
        whatever is subtracted from all and added again.
    takes_maps
        Whether it decomposes matrices.
    more
        Options that differ from those of adapters, by a matrix's shape.
    """

    rule: Callable[..., Rule]
    needs_base: bool = True
    takes_maps: bool = False
    more: Callable[[tuple[int, int]], Mapping[str, Any]] = lambda _: {}


def entry_rule(
    choice: Choice,
    blocks: Blocks,
    number: int,
    /,
    *,
    least: Vector | None = None,
) -> Rule:
    """Return how the entries of a tensor are merged.

    Parameters
    ----------
    choice
        The method.
    blocks
        All entries of the members, read once or several times where the rule
        depends on them: for a share of this tensor alone, or the directions
        of a joint subspace.
    number
        Goes with the seed, as of `Choice.merge`.
    least
        As of `Choice.merge`.
    """
    options = dict(choice.options)
    if "seed" in options:
        options["seed"] = (options["seed"], number)
    return FULL[choice.method.name].rule(options, blocks, least)


def merged_map(
    choice: Choice, maps: Maps, number: int, /, *, least: Vector | None = None
) -> Matrix:
    """Return what matrices are merged to, by a method that takes `Maps`."""
    more = FULL[choice.method.name].more(maps.shape)
    choice = replace(choice, options={**choice.options, **more})
    return choice.merge(maps, number, least=least).lifted()


def _weighing(of: Callable[[Mapping[str, Any], int], Vector]) -> Any:
    """Return a rule of weights (N), which depend on the options alone."""

    def rule(
        options: Mapping[str, Any], blocks: Blocks, _: Vector | None
    ) -> Rule:
        return _sum(of(options, len(blocks)))

    return rule


def _sum(weights: Vector) -> Rule:
    def merge(stack: Stack, _: int) -> Vector:
        return np.tensordot(weights, stack, axes=1)

    return merge


def _subspace(
    options: Mapping[str, Any], blocks: Blocks, _: Vector | None
) -> Rule:
    n = len(blocks)
    gram = np.zeros((n, n))
    for _place, stack in blocks.blocks():
        away = (stack - stack.mean(axis=0)).reshape(n, -1)
        gram += away @ away.T
    return _sum(subspace_shares(gram, options["k"], options["weights"]))


def _ties(
    options: Mapping[str, Any], blocks: Blocks, least: Vector | None
) -> Rule:
    def count(digits: Digits) -> Counts:
        return counted(blocks, digits)

    if least is None:
        least = least_kept(count, len(blocks), options["density"])
    lam, bounds = options["lam"], least

    def merge(stack: Stack, _: int) -> Vector:
        merged: Vector = lam * elected_mean(trimmed(stack, bounds))
        return merged

    return merge


def _dare(
    options: Mapping[str, Any], blocks: Blocks, _: Vector | None
) -> Rule:
    n, density, lam = len(blocks), options["density"], options["lam"]
    seeds: Sequence[int] = options["seed"]

    def merge(stack: Stack, start: int) -> Vector:
        drawn = np.stack(
            [_drawn((*seeds, i), start, stack.shape[1]) for i in range(n)]
        )
        return surviving(stack, drawn, density=density, lam=lam)

    return merge


def _drawn(seeds: Sequence[int], start: int, count: int) -> Vector:
    """Return numbers of NumPy's generator, from one of them on.

    Each takes one step of its PCG64, which can leave out any number of them.
    """
    bits = np.random.PCG64(list(seeds)).advance(start)
    return np.random.Generator(bits).random(count)


_AVERAGED = _weighing(lambda options, n: options["lam"] * even(n))

FULL: Mapping[str, Full] = MappingProxyType(
    {
        "mean": Full(_weighing(lambda _, n: even(n)), needs_base=False),
        "weighted": Full(
            _weighing(lambda options, _: shares(options["weights"])),
            needs_base=False,
        ),
        "task-arithmetic": Full(
            _weighing(lambda options, n: np.full(n, options["lam"]))
        ),
        "ties": Full(_ties),
        "dare": Full(_dare),
        "knots": Full(_AVERAGED, takes_maps=True),
        "tsv-m": Full(_AVERAGED, takes_maps=True),
        "iso-c": Full(_AVERAGED, takes_maps=True),
        "iso-cts": Full(_AVERAGED, takes_maps=True),
        "cart": Full(
            _weighing(lambda _, n: even(n)),
            needs_base=False,
            takes_maps=True,
            # Of full weights Choi et al. (2024) keep 8 per cent.
            more=lambda shape: {"keep": math.ceil(0.08 * min(shape))},
        ),
        "subspace": Full(_subspace, needs_base=False),
    }
)
"""By the name of the method, one row for each of them."""
