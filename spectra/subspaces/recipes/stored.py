"""The members of a layer as its recipes read them, from their files."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.core.catalog import (
    DenseSource,
    LayerSource,
    LowRankSource,
    Quarantined,
)
from spectra.core.errors import Quarantine, UsageError
from spectra.core.tensors import TensorRef
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.products import Pass
from spectra.subspaces.recipes.asked import Asked, asked
from spectra.subspaces.recipes.measured import (
    RecipeSpectrum,
    Truncation,
    cost_of,
    measure,
    of_inner,
)
from spectra.subspaces.recipes.table import (
    RECIPES,
    Factors,
    Member,
    Members,
    Part,
    Recipe,
)
from spectra.subspaces.recipes.tucker import CORE, hooi, hosvd
from spectra.subspaces.result import LayerFit, LayerOutcome
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.dtypes import decode_into
from spectra.weights.stream import DenseReader, TensorReader

__all__ = [
    "recipes_for",
    "recipes_nbytes",
    "require_recipes",
    "stored_members",
    "with_recipes",
]

_CONVOLUTION = 4
"""Dimensions of a kernel over images."""


def recipes_for(task: LayerTask, /) -> tuple[Recipe, ...]:
    """Return the recipes that are for such a layer."""
    kinds = {"any"}
    sources = [source for _, _, source in task.holders]
    if all(isinstance(source, LowRankSource) for source in sources):
        kinds.add("adapters")
    if all(_is_kernel(source) for source in sources):
        kinds.add("convolutions")
    return tuple(recipe for recipe in RECIPES if recipe.of in kinds)


def stored_members(task: LayerTask, opener: Opener = FileSource, /) -> Members:
    """Return a layer's members, read from their files as often as asked.

    Parameters
    ----------
    task
        With the fitted members alone: neither those set aside nor duplicates.
    opener
        Opens their files.

    Notes
    -----
    Full matrices are ``(out, in)`` whatever way round they are stored, a
    convolution's all but the first sides taken together, less the base where
    the task has one. The released code subtracts no base; where models are
    centred it makes no difference.
    """
    sources = [source for _, _, source in task.holders]
    factors = [s for s in sources if isinstance(s, LowRankSource)]
    whole = tuple(s for s in sources if isinstance(s, DenseSource))

    def adapters() -> Iterator[Member]:
        tensors = TensorReader(task.files, opener)
        for source in factors:
            A, B = (_tensor(ref, tensors) for ref in (source.A, source.B))
            yield Factors(A, B, source.scale)

    def matrices() -> Iterator[Member]:
        tensors = TensorReader(task.files, opener)
        reader = DenseReader(
            task.key.shape, whole, task.base, np.float64, False, tensors
        )
        for i in range(len(whole)):
            yield reader.matrix(reader.block(i, 0, reader.size))

    return adapters if factors else matrices


def require_recipes(
    texts: Sequence[str], tasks: Sequence[LayerTask], /
) -> None:
    """Refuse names of no recipe, and recipes that no layer is for.

    Raises
    ------
    UsageError
        With the names that there are, or the kind of layer it takes.
    """
    for text in texts:
        recipe = asked(text).recipe
        if not any(recipe in recipes_for(task) for task in tasks):
            raise UsageError(
                "E_RECIPE",
                f"{recipe.name} is for {recipe.of}, and no layer is one",
                advice="leave it out",
            )


def recipes_nbytes(
    task: LayerTask, texts: Sequence[str], /
) -> tuple[int, int]:
    """Return the bytes that recipes read again at most, and those they take.

    Members are read twice for each spectrum that the fit does not have, once
    for their mean; several times where samples of many features are few; and
    for a decomposition as often again, each round of its refinement too.
    """
    passes, most = 0, 0
    for wanted in _wanted(task, texts):
        for part in _to_read(wanted):
            blocks, nbytes = cost_of(_shapes(task, part))
            passes += 1 + blocks
            most = max(most, nbytes)
        if wanted.truncates:
            costs = [cost_of(_shapes(task, part)) for part in wanted.parts]
            rounds = wanted.rounds
            passes += 3 + sum(blocks for blocks, _ in costs)
            passes += rounds and 2 + rounds * (1 + len(wanted.modes))
            core = 2 * 8 * _core_size(task, wanted)
            most = max(most, core + max(nbytes for _, nbytes in costs))
    rows, columns = task.key.shape
    held = most + 6 * 8 * rows * columns if passes else 0
    return passes * task.nbytes, held


def _wanted(task: LayerTask, texts: Sequence[str]) -> list[Asked]:
    """Return what is asked of such a layer, in the order of the table."""
    every = [asked(text) for text in texts]
    return [
        wanted
        for recipe in recipes_for(task)
        for wanted in every
        if wanted.recipe is recipe
    ]


def _to_read(wanted: Asked) -> tuple[Part, ...]:
    """Return the spectra that the fit does not have: not that of models."""
    if wanted.recipe.name == "model-axis":
        return ()
    if wanted.centring not in (None, "models"):
        return wanted.parts
    return tuple(part for part in wanted.parts if part.mode != 0)


def _core_size(task: LayerTask, wanted: Asked) -> int:
    sizes = [len(task.holders), *task.key.shape]
    if wanted.ranks is not None:
        for mode, rank in zip(wanted.modes, wanted.ranks, strict=True):
            sizes[mode] = min(rank, sizes[mode])
    return min(CORE, math.prod(sizes))


def _shapes(task: LayerTask, part: Part) -> list[tuple[int, int]]:
    """Return the samples of each member, (samples, features)."""
    shapes = []
    for _, _, source in task.holders:
        member: Member = np.broadcast_to(0.0, task.key.shape)
        if part.name and isinstance(source, LowRankSource):
            A, B = (np.broadcast_to(0.0, t.shape) for t in source.tensors)
            member = Factors(A, B)
        samples, features = part.samples(member).shape
        shapes.append((samples, features))
    return shapes


def with_recipes(
    task: LayerTask, outcome: LayerOutcome, how: Pass, /
) -> LayerOutcome:
    """Return the outcome with the spectra of the recipes that are for it.

    Parameters
    ----------
    task
        Of the outcome; its members are read again.
    outcome
        A recipe that cannot be followed is set aside in it, with its name.
    how
        As for every layer of the run.
    """
    fit = outcome.fit
    if fit is None:
        return outcome
    held = {holder[0]: holder for holder in task.holders}
    kept = replace(task, holders=tuple(held[i] for i in fit.members))
    members = stored_members(kept, how.opener)
    found: list[RecipeSpectrum] = []
    lost = []
    for wanted in _wanted(kept, how.recipes):
        try:
            found += _of_recipe(wanted, fit, members)
        except Quarantine as reason:
            detail = f"{wanted.recipe.name}: {reason.detail}"
            lost.append(Quarantined("all", task.key.name, reason.code, detail))
    return replace(
        outcome,
        fit=replace(fit, recipes=tuple(found)),
        quarantine=(*outcome.quarantine, *lost),
    )


def _of_recipe(
    wanted: Asked, fit: LayerFit, members: Members
) -> list[RecipeSpectrum]:
    """Return its spectra; that of the models is in the fit already."""
    recipe, rest = wanted.recipe, _to_read(wanted)
    found = list(
        measure(replace(recipe, parts=rest), members, centring=wanted.centring)
    )
    if len(rest) < len(wanted.parts):
        models = of_inner(fit.inner, fit.shape[0] * fit.shape[1])
        mode = wanted.parts[0].mode
        models = replace(
            models, recipe=recipe.name, mode=mode, caveat=recipe.caveat
        )
        found.insert(0, models)
    kept = _truncated(wanted, members) if wanted.truncates else None
    return [
        replace(each, options=wanted.options, truncation=kept)
        for each in found
    ]


def _truncated(wanted: Asked, members: Members) -> Truncation:
    modes, ranks = wanted.modes, wanted.ranks
    start = hosvd(
        members,
        modes=modes,
        tau=wanted.tau,
        ranks=None if ranks is None else dict(zip(modes, ranks, strict=True)),
        centring=wanted.centring or wanted.recipe.centring,
    )
    # A tensor of zeros is kept whole.
    unit = start.energy**0.5 or 1.0
    refined = None
    if wanted.rounds:
        refined = hooi(members, start, rounds=wanted.rounds).error / unit
    return Truncation(
        start.ranks, start.error / unit, start.bound / unit, refined
    )


def _is_kernel(source: LayerSource) -> bool:
    return (
        isinstance(source, DenseSource)
        and len(source.weight.shape) == _CONVOLUTION
    )


def _tensor(ref: TensorRef, tensors: TensorReader) -> NDArray[Any]:
    values = np.empty(ref.shape, np.float64)
    decode_into(tensors.read(ref, 0, ref.size), ref.dtype, values)
    return values
