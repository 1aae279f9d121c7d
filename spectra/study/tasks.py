"""Which layers of a catalogue are fitted, and from which bytes."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from spectra.core.catalog import (
    Architecture,
    Catalog,
    Checkpoint,
    DenseSource,
    LayerKey,
    LayerSource,
    Quarantined,
)
from spectra.core.errors import UsageError
from spectra.core.settings import RETAINED, FitSettings
from spectra.core.tensors import FileRef
from spectra.core.text import natural
from spectra.hub.files import is_remote
from spectra.study.scan import one_checkpoint
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.recipes.stored import require_recipes
from spectra.subspaces.result import Member

__all__ = ["ZERO", "Work", "fingerprint_of", "place_of_base", "work_of"]

ZERO = "zero"
"""``--base zero``: nothing is subtracted, but the members' mean counts."""


@dataclass(frozen=True, slots=True)
class Work:
    """Everything that `fit` will do, known before it starts.

    Attributes
    ----------
    members
        The population, in the order of the catalogue.
    left_out
        Checkpoints that no other one shares a layer with, the base, layers
        that the base lacks, and those that one checkpoint alone has.
    files
        Paths of everything that will be read.
    settings
        With the base's absolute path.
    base
        The checkpoint that is subtracted.
    """

    members: tuple[Member, ...]
    tasks: tuple[LayerTask, ...]
    left_out: tuple[Quarantined, ...]
    files: frozenset[str]
    settings: FitSettings
    base: Checkpoint | None


def work_of(catalog: Catalog, settings: FitSettings, /) -> Work:
    """Return the members and layer tasks of a catalogue.

    Raises
    ------
    UsageError
        When nothing is left to compare, or the base cannot be used.
    """
    if RETAINED in settings.layers:
        raise UsageError(
            "E_NO_LAYER",
            "which layers are retained is known when all are fitted",
            advice="fit with --metrics, then spectra overlap --layers"
            f" {RETAINED}",
        )
    base = _base(settings.base)
    chosen, left_out = _members(catalog, base)
    read = [*chosen, base] if base else chosen
    files = {file.path: file for model in read for file in model.files}
    wanted = [
        task
        for architecture in catalog.architectures
        for task in _tasks(architecture, chosen, base, settings.layers, files)
    ]
    tasks = [task for task in wanted if len(task.holders) > 1]
    if not tasks:
        raise _nothing_shared(catalog, settings)
    require_recipes(settings.recipe, tasks)
    if base is not None:
        tasks, lacking = _on_base(tasks, base)
        left_out += lacking
        settings = replace(settings, base=_place(base))
    left_out += [_alone(task) for task in wanted if len(task.holders) == 1]
    return Work(
        tuple(map(_member, chosen)),
        tuple(tasks),
        tuple(left_out),
        frozenset(files),
        settings,
        base,
    )


def place_of_base(reference: str | None, /) -> str | None:
    """Return what `Work.settings` will have as the base.

    Raises
    ------
    UsageError
        When it cannot be used.
    """
    base = _base(reference)
    return reference if base is None else _place(base)


def _place(base: Checkpoint) -> str:
    where = base.path
    return where if is_remote(where) else str(Path(where).absolute())


def _nothing_shared(catalog: Catalog, settings: FitSettings) -> UsageError:
    reasons = Counter(record.code for record in catalog.quarantine)
    counts = ", ".join(f"{n} {code}" for code, n in sorted(reasons.items()))
    return UsageError(
        "E_NOTHING_TO_COMPARE",
        f"of {len(catalog.models)} checkpoints no two share a layer"
        + (f" that matches {settings.layers}" if settings.layers else "")
        + (f"; set aside: {counts}" if counts else ""),
        advice="see what was found: spectra scan SOURCE...",
    )


def _on_base(
    tasks: list[LayerTask], base: Checkpoint
) -> tuple[list[LayerTask], list[Quarantined]]:
    """Return the tasks that mean something beside a base, and the others.

    Full weights without a counterpart in the base would be compared whole
    beside differences: they are left out. Adapters are differences already.
    """
    known = {(key.name, key.shape) for key, _ in base.layers}
    covered = [t for t in tasks if (t.key.name, t.key.shape) in known]
    if not covered:
        raise UsageError(
            "E_BASE",
            f"--base {base.path} has none of the {len(tasks)} layers of the"
            " population, by name and shape",
            advice="name the model that the members were made from",
        )
    kept = [t for t in tasks if t.base is not None or _is_update(t)]
    lacking = [
        Quarantined(
            "", t.key.name, "NOT_IN_BASE", "the base has no such layer"
        )
        for t in tasks
        if t not in kept
    ]
    return kept, lacking


def _is_update(task: LayerTask) -> bool:
    return task.key.kind == "low-rank"


def _base(reference: str | None) -> Checkpoint | None:
    if reference is None or reference == ZERO:
        return None
    return one_checkpoint(reference, code="E_BASE", what="--base")


def _members(
    catalog: Catalog, base: Checkpoint | None
) -> tuple[list[Checkpoint], list[Quarantined]]:
    alone = {a.members[0] for a in catalog.architectures if len(a.members) < 2}
    is_base = {file.path for file in base.files} if base else set()
    chosen, left_out = [], []
    for model in catalog.models:
        if is_base & {file.path for file in model.files}:
            reason = "IS_BASE", "it is the base that is subtracted"
        elif model.id in alone:
            reason = "ALONE", "no other checkpoint has its layers"
        else:
            chosen.append(model)
            continue
        left_out.append(Quarantined(model.id, None, *reason))
    return chosen, left_out


def _tasks(
    architecture: Architecture,
    members: Sequence[Checkpoint],
    base: Checkpoint | None,
    globs: Sequence[str],
    files: Mapping[str, FileRef],
) -> list[LayerTask]:
    holders: dict[LayerKey, list[tuple[int, str, LayerSource]]] = {}
    for index, model in enumerate(members):
        if model.architecture == architecture.id:
            for key, source in model.layers:
                holders.setdefault(key, []).append((index, model.id, source))
    return [
        LayerTask(
            key, architecture.id, tuple(held), files,
            base=_base_of(base, key), beside=_beside(base, key),
        )
        for key, held in sorted(holders.items(), key=_position)
        if _wanted(key, held, globs)
    ]  # fmt: skip


def _alone(task: LayerTask) -> Quarantined:
    """Return why a layer of one checkpoint is not compared."""
    ((_, model, _),) = task.holders
    rows, columns = task.key.shape
    return Quarantined(
        model,
        task.key.name,
        "ALONE",
        f"no other checkpoint has a {rows} x {columns} layer of that name",
    )


def _position(item: tuple[LayerKey, object]) -> tuple[object, ...]:
    return natural(item[0].name), item[0].shape


def _wanted(
    key: LayerKey,
    held: Sequence[tuple[int, str, LayerSource]],
    globs: Sequence[str],
) -> bool:
    """Return whether a glob matches the layer's name or a tensor's."""
    names = {key.name}
    names |= {ref.name for _, _, source in held for ref in source.tensors}
    return not globs or any(
        fnmatchcase(name, glob) for glob in globs for name in names
    )


def _base_of(base: Checkpoint | None, key: LayerKey) -> DenseSource | None:
    source = base.source(key) if base else None
    return source if isinstance(source, DenseSource) else None


def _beside(base: Checkpoint | None, key: LayerKey) -> DenseSource | None:
    """Return the whole weights that adapters of a layer are updates of."""
    if key.kind != "low-rank":
        return None
    return _base_of(base, replace(key, kind="dense"))


def fingerprint_of(files: Iterable[FileRef], /) -> str:
    """Return the `~spectra.subspaces.result.Member.fingerprint` of files."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.nbytes} {file.header_sha256}\n".encode())
    return digest.hexdigest()


def _member(model: Checkpoint) -> Member:
    return Member(
        id=model.id,
        revision=model.revision,
        path=model.path,
        architecture=model.architecture,
        license=model.license,
        base_claim=model.base_claim,
        nbytes=model.nbytes,
        fingerprint=fingerprint_of(model.files),
    )
