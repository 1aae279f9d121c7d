"""One layer on a worker of a cluster: what it is told, and what it answers.

It is told by a text: where the layer's bytes lie, at which commits, and the
settings. It reads them itself, from a hub or from a disk that it shares with
the driver, with the token of its own environment, and answers with the bytes
of a unit. It writes to no run.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from spectra.backend.threads import one_thread
from spectra.core.catalog import Checkpoint, LayerKey, LayerSource
from spectra.core.errors import UsageError
from spectra.core.settings import FitSettings, as_json, settings_of
from spectra.core.tensors import FileRef
from spectra.hub.files import HubFiles
from spectra.store.units import pack
from spectra.study.each import fitted
from spectra.study.how import environment_of, how_of
from spectra.study.scan import opening
from spectra.subspaces.layer import LayerTask
from spectra.weights.records import checkpoint_from, checkpoint_record

__all__ = ["fit_unit", "sight_of", "told"]


def told(
    task: LayerTask,
    settings: FitSettings,
    environment: Mapping[str, Any],
    whole: Collection[str],
    /,
) -> str:
    """Return the text that tells a worker of a layer.

    Parameters
    ----------
    task
        The layer.
    settings
        Of the fit.
    environment
        That the worker's has to be equal to.
    whole
        Paths of the hub's files that are fetched whole.
    """
    name, shape = task.key.name, task.key.shape
    sources = {"base": task.base, "beside": task.beside}
    holders = [
        [index, _record(task, model, task.key, source)]
        for index, model, source in task.holders
    ]
    bases = {
        what: source
        and _record(task, what, LayerKey(name, shape, "dense"), source)
        for what, source in sources.items()
    }
    paths = {ref.file for ref in task.refs}
    return json.dumps(
        {
            "architecture": task.architecture,
            "holders": holders,
            **bases,
            "settings": as_json(settings),
            "environment": environment,
            "whole": sorted(paths.intersection(whole)),
        }
    )


def sight_of(device: str, paths: Iterable[str], /) -> dict[str, Any]:
    """Return a worker's environment, and the first path it does not see."""
    unseen = (path for path in paths if not Path(path).exists())
    return {
        "environment": environment_of(device),
        "unseen": next(unseen, None),
    }


def fit_unit(text: str, /) -> bytes:
    """Fit the layer that a text tells of.

    Parameters
    ----------
    text
        From `told`.

    Returns
    -------
    bytes
        From `~spectra.store.units.pack`.

    Raises
    ------
    UsageError
        Where the worker would compute other bits than those before it.
    """
    from distributed import get_worker

    asked = json.loads(text)
    threads = get_worker().state.nthreads
    settings = settings_of(asked["settings"])
    task = _task(asked)
    if environment_of(settings.device) != asked["environment"]:
        raise UsageError(
            "E_WORKERS",
            "a worker that came later has another environment: its last bits"
            " would differ",
            advice="start workers of one version on one kind of machine",
        )
    paths = {ref.file for ref in task.refs}
    with (
        one_thread,
        opening(paths, max_stream=settings.max_stream) as opener,
    ):
        if isinstance(opener, HubFiles):
            opener.fetch([task.files[path] for path in asked["whole"]])
        how = how_of(settings, workers=threads, opener=opener)
        return pack(fitted(task, how))


def _record(
    task: LayerTask, model: str, key: LayerKey, source: LayerSource
) -> dict[str, Any]:
    """Return a checkpoint of that layer alone, as a catalogue has it."""
    files = {ref.file: task.files[ref.file] for ref in source.tensors}
    return checkpoint_record(
        Checkpoint(model, None, model, tuple(files.values()), ((key, source),))
    )


def _task(asked: Mapping[str, Any]) -> LayerTask:
    held = [(i, checkpoint_from(record)) for i, record in asked["holders"]]
    bases = {
        what: checkpoint_from(asked[what])
        for what in ("base", "beside")
        if asked[what] is not None
    }
    files: dict[str, FileRef] = {
        file.path: file
        for model in (*(model for _, model in held), *bases.values())
        for file in model.files
    }
    key = held[0][1].layers[0][0]
    sources: dict[str, Any] = {
        what: model.layers[0][1] for what, model in bases.items()
    }
    return LayerTask(
        key,
        asked["architecture"],
        tuple((i, model.id, model.layers[0][1]) for i, model in held),
        files,
        **sources,
    )
