"""The adapters that are merged: their papers, and what they have in common."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from spectra.core.catalog import Catalog, Checkpoint, DenseSource, Quarantined
from spectra.core.errors import UsageError
from spectra.core.tensors import FileRef
from spectra.core.text import natural, printable
from spectra.study.merging.described import described
from spectra.subspaces.layer import LayerTask
from spectra.weights.lora.modules import Module, modules_of

__all__ = ["Parents", "parents_of"]

_OTHER = "some adapters lack it, or have it in another shape"


@dataclass(frozen=True, slots=True)
class Parents:
    """Adapters, and the modules that all of them have.

    Attributes
    ----------
    models
        In the order of their ids.
    configs
        Their adapter_config.json.
    modules
        As the first of them has them.
    tasks
        Where each keeps them, module by module.
    left_out
        What some of them hold and the merged one will not.
    """

    models: tuple[Checkpoint, ...]
    configs: tuple[Mapping[str, Any], ...]
    modules: tuple[Module, ...]
    tasks: tuple[LayerTask, ...]
    left_out: tuple[Quarantined, ...]

    @property
    def rank(self) -> int:
        """Return the largest among what is merged."""
        return max(
            source.tensors[0].shape[0]
            for task in self.tasks
            for _, _, source in task.holders
        )

    @property
    def dtypes(self) -> frozenset[str]:
        """Return those of the factors that are merged."""
        return frozenset(ref.dtype for task in self.tasks for ref in task.refs)


def parents_of(catalog: Catalog, globs: Sequence[str] = (), /) -> Parents:
    """Return the adapters of a catalogue and what they have in common.

    Parameters
    ----------
    catalog
        What is merged.
    globs
        Of names of layers, modules or tensors; all where empty.

    Raises
    ------
    UsageError
        E_MERGE, where they are fewer than two, are no adapters of PEFT, or
        have no module in common.
    """
    models = catalog.models
    if len(models) < 2:
        raise _refused(
            f"of {len(models)} adapters nothing can be merged",
            "name two or more",
        )
    _require_updates(models, globs)
    papers = [raw for _, raw in described(models)]
    for model, raw in zip(models, papers, strict=True):
        if raw.adapter is None:
            raise _refused(
                f"{printable(model.id)} is an adapter, but not one of PEFT",
                "convert it to PEFT's adapter_model.safetensors and"
                " adapter_config.json",
            )
    held = [
        {
            module.identity: module
            for module in modules_of(model, raw.tensors)
            if _is_wanted(module, globs)
        }
        for model, raw in zip(models, papers, strict=True)
    ]
    common = [
        identity
        for identity in held[0]
        if all(identity in modules for modules in held)
    ]
    if not common:
        raise _refused(
            f"{len(models)} adapters have no module in common"
            + (f" that matches {tuple(globs)}" if globs else ""),
            "see what they hold: spectra scan SOURCE... --json",
        )
    files = {file.path: file for model in models for file in model.files}
    common.sort(key=lambda each: _order(held[0][each]))
    return Parents(
        models=models,
        configs=tuple(raw.config for raw in papers),
        modules=tuple(held[0][each] for each in common),
        tasks=tuple(
            _task(models, [modules[each] for modules in held], files)
            for each in common
        ),
        left_out=tuple(_left_out(models, held, set(common), globs)),
    )


def _require_updates(
    models: Sequence[Checkpoint], globs: Sequence[str]
) -> None:
    for model in models:
        for key, source in model.layers:
            if isinstance(source, DenseSource) and _match(
                (key.name, source.weight.name), globs
            ):
                raise _refused(
                    f"{printable(model.id)} holds full weights beside its"
                    f" updates ({printable(key.name, 80)})",
                    "leave them out: name the layers with --layers",
                )


def _is_wanted(module: Module, globs: Sequence[str]) -> bool:
    names = (key.name for key in module.layers)
    return _match((*names, module.name, module.A.name, module.B.name), globs)


def _match(names: Sequence[str], globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(n, g) for n in names for g in globs)


def _order(module: Module) -> tuple[object, ...]:
    return natural(module.name), module.shape


def _task(
    models: Sequence[Checkpoint],
    modules: Sequence[Module],
    files: Mapping[str, FileRef],
) -> LayerTask:
    return LayerTask(
        modules[0].layers[0],
        models[0].architecture,
        tuple(
            (i, model.id, module.source)
            for i, (model, module) in enumerate(
                zip(models, modules, strict=True)
            )
        ),
        files,
    )


def _left_out(
    models: Sequence[Checkpoint],
    held: Sequence[Mapping[tuple[object, ...], Module]],
    common: set[tuple[object, ...]],
    globs: Sequence[str],
) -> list[Quarantined]:
    """Return the modules that not all have, and tensors that are no update."""
    found = []
    for model, modules in zip(models, held, strict=True):
        found += [
            Quarantined(model.id, module.name, "NOT_IN_ALL", _OTHER)
            for identity, module in modules.items()
            if identity not in common
        ]
        found += [
            Quarantined(
                model.id, each.tensor, each.reason, "a tensor of no update"
            )
            for each in model.skipped
            if _match((each.tensor,), globs)
        ]
    return found


def _refused(what: str, advice: str) -> UsageError:
    return UsageError("E_MERGE", what, advice=advice)
