"""The members of a run as what a new task is trained in, and its adapter."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.apply.adaptation.stack import Stack, stacked
from spectra.apply.adaptation.written import Written
from spectra.apply.merging.config import merged_config
from spectra.core.catalog import LayerSource
from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.hub.files import HubFiles
from spectra.store.atomic import replacing
from spectra.store.outputs import check_folder
from spectra.store.tensorfile import Planned, write_tensors
from spectra.study.again import members_again, require_same
from spectra.study.originals import readable
from spectra.study.reading import reading_of
from spectra.study.scan import one_checkpoint, opening
from spectra.subspaces.layer import LayerTask, digests
from spectra.subspaces.recipes.stored import stored_members
from spectra.subspaces.recipes.table import Factors
from spectra.subspaces.result import LayerFit, PopulationFit
from spectra.weights.bytes import FileSource, Opener
from spectra.weights.dtypes import encoded
from spectra.weights.header import read_header
from spectra.weights.limits import Limits
from spectra.weights.lora.modules import ROOT
from spectra.weights.lora.peft import PEFT

__all__ = ["SCHEMA", "Site", "sites_of", "updates_of", "write_adapter"]

SCHEMA = "spectra-adaptation/1"

_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_DOCUMENT = "adaptation.json"
_FILES = (_DOCUMENT, _CONFIG, _WEIGHTS)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """A layer of a run that a new task can be trained in.

    Attributes
    ----------
    layer
        As it was fitted.
    target
        The module's name in the base model.
    stack
        Its members.
    """

    layer: LayerFit
    target: str
    stack: Stack


def sites_of(
    fit: PopulationFit, layers: Sequence[str] = (), /
) -> tuple[Site, ...]:
    """Return the layers of a run of adapters, with their members' updates.

    Parameters
    ----------
    fit
        A fitted population whose checkpoints are still where they were.
    layers
        Globs of layer names; all where empty.

    Raises
    ------
    UsageError
        E_ADAPT where a layer is none of PEFT's adapters, or part of a module.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    """
    again = members_again(fit, tuple(layers))
    tasks = [task for _, task in again.layers]
    held = [(fit.layers[place], task) for place, task in again.layers]
    targets = [_target(layer, task) for layer, task in held]
    for target in targets:
        if targets.count(target) > 1:
            raise _refused(
                f"{printable(target)} is one module of several layers",
                "leave them out with layers=",
            )
    with (
        readable("the population"),
        opening({path for task in tasks for path in task.files}) as opener,
    ):
        if isinstance(opener, HubFiles):
            opener.fetch(reading_of(tasks).whole)
        return tuple(
            Site(layer, target, _stack(layer, task, opener))
            for (layer, task), target in zip(held, targets, strict=True)
        )


def updates_of(
    adapter: str, sites: Sequence[Site], /
) -> Mapping[str, Factors]:
    """Return the updates of one more adapter, by the modules' names.

    Parameters
    ----------
    adapter
        A SOURCE that is one.
    sites
        What it has to have.

    Raises
    ------
    UsageError
        E_MODEL where it is no single checkpoint; E_ADAPT where it lacks a
        layer, or one cannot be used.
    """
    own = one_checkpoint(adapter, code="E_MODEL", what="the adapter")
    held = {
        target: (key, source)
        for key, source in own.layers
        if (target := _module(source)) is not None
    }
    tasks = []
    for site in sites:
        key, source = held.get(site.target, (None, None))
        if key is None or source is None or key.shape != site.layer.shape:
            raise _refused(
                f"{printable(adapter)} has no update of"
                f" {printable(site.target)}, of the run's shape",
                "name an adapter of the same modules, or use layers=",
            )
        files = {file.path: file for file in own.files}
        holders = ((0, own.id, source),)
        tasks.append(LayerTask(key, own.architecture, holders, files))
    with opening(file.path for file in own.files) as opener:
        if isinstance(opener, HubFiles):
            opener.fetch(reading_of(tasks).whole)
        found = [_updates(task, opener)[0] for task in tasks]
    return dict(zip((site.target for site in sites), found, strict=True))


def write_adapter(
    folder: Path,
    modules: Mapping[str, Written],
    document: Document,
    /,
    *,
    base: str | None,
    is_turned: bool,
) -> None:
    """Write an adapter as PEFT reads it, and the document beside it.

    Parameters
    ----------
    folder
        New, empty, or an older result.
    modules
        What is written of each module, by its name in the model.
    document
        What was trained, and the `rank` that all are filled up to.
    base
        Of which model it says to be.
    is_turned
        Whether the base keeps its weights (in, out).

    Raises
    ------
    UsageError
        E_OUTPUT when `folder` holds something else.
    StorageError
        When it cannot be written; each file there is the old or the new.
    """
    check_folder(folder, _FILES, mark=_WEIGHTS, is_ours=_is_adapted)
    rank = document["rank"]
    parent = {"base_model_name_or_path": base, "fan_in_fan_out": is_turned}
    config = merged_config([parent], rank, list(modules), is_whole=False)
    with (
        replacing(folder / _DOCUMENT) as papers,
        replacing(folder / _CONFIG) as configured,
        replacing(folder / _WEIGHTS) as weights,
    ):
        papers.write_text(json.dumps(document, allow_nan=False), "utf-8")
        configured.write_text(json.dumps(config, indent=2), "utf-8")
        with weights.open("wb") as file:
            tensors = list(_tensors(modules, rank))
            write_tensors(
                file,
                [Planned(name, "F32", each.shape) for name, each in tensors],
                tensors,
                metadata={"format": "pt", "schema": SCHEMA},
            )


def _tensors(
    modules: Mapping[str, Written], rank: int
) -> Iterator[tuple[str, Any]]:
    for name, each in modules.items():
        whole = each.padded(rank)
        for side, factor in (("A", whole.A), ("B", whole.B)):
            yield f"{ROOT}{name}.lora_{side}.weight", encoded(factor, "F32")


def _is_adapted(path: Path) -> bool:
    try:
        with FileSource(path) as source:
            header = read_header(source, file=str(path), limits=Limits())
    except Quarantine:
        return False
    return header.metadata.get("schema") == SCHEMA


def _module(source: LayerSource) -> str | None:
    """Return the module's name in the base model; None of no PEFT factor."""
    found = PEFT.role(source.tensors[0])
    return None if found is None else found[0].removeprefix(ROOT)


def _target(layer: LayerFit, task: LayerTask) -> str:
    target = _module(task.holders[0][2])
    if layer.kind != "low-rank" or target is None:
        raise _refused(
            f"{printable(layer.name)} is no layer of PEFT's LoRA adapters",
            "fit adapters, or leave the layer out with layers=",
        )
    return target


def _stack(layer: LayerFit, task: LayerTask, opener: Opener) -> Stack:
    require_same(layer, *digests(task, opener))
    return stacked(_updates(task, opener))


def _updates(task: LayerTask, opener: Opener) -> list[Factors]:
    members = stored_members(task, opener)()
    return [each for each in members if isinstance(each, Factors)]


def _refused(what: str, advice: str) -> UsageError:
    return UsageError("E_ADAPT", what, advice=advice)
