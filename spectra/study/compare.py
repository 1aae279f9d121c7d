"""Two runs as one population: their members are read once more, together.

A run holds the inner products of its own members. Those between the members
of two runs are in neither.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from spectra.core.catalog import Architecture, Catalog, LayerKey
from spectra.core.errors import IntegrityError, SpectraError, UsageError
from spectra.core.events import Observer
from spectra.core.settings import FitSettings
from spectra.core.text import printable
from spectra.store.atomic import replacing
from spectra.store.outputs import check_output
from spectra.store.runfile import is_run, read
from spectra.study.fit import fit_population
from spectra.study.scan import scan_sources
from spectra.study.tasks import work_of
from spectra.subspaces.result import LayerFit, PopulationFit

__all__ = ["Joint", "joint_fit"]

Layer = tuple[str, tuple[int, int], bool]
"""Name, shape, and whether it is an update of low rank."""

_JOINT = "joint"


@dataclass(frozen=True, slots=True)
class Joint:
    """Two runs as one population.

    Attributes
    ----------
    fit
        Of the layers that both have.
    a, b
        Indices of the members of each.
    in_both
        Ids in the second run of checkpoints that the first has too: they
        count there alone.
    """

    fit: PopulationFit
    a: tuple[int, ...]
    b: tuple[int, ...]
    in_both: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Held:
    """The bytes that a fit was made of.

    Attributes
    ----------
    members
        For each layer the digest of each member's, copies included, by the
        member's path.
    bases
        For each layer the digest of the base's, None for none.
    """

    members: Mapping[Layer, Mapping[str, str]]
    bases: Mapping[Layer, str | None]

    @classmethod
    def by(cls, fit: PopulationFit) -> "_Held":
        """Return what a fit holds; a layer of two architectures is none."""
        members: dict[Layer, Mapping[str, str]] = {}
        bases: dict[Layer, str | None] = {}
        times: Counter[Layer] = Counter()
        for layer in fit.layers:
            key = layer.name, layer.shape, layer.kind == "low-rank"
            members[key], bases[key] = _digests(layer, fit), layer.base_digest
            times[key] += 1
        for key in [key for key, n in times.items() if n > 1]:
            del members[key], bases[key]
        return cls(members, bases)


def _digests(layer: LayerFit, fit: PopulationFit) -> dict[str, str]:
    found = dict(zip(layer.members, layer.digests, strict=True))
    found |= {copy: found[kept] for copy, kept in layer.duplicates}
    return {fit.models[i].path: digest for i, digest in found.items()}


@dataclass(frozen=True, slots=True)
class _Asked:
    """The joint fit before anything is read.

    Attributes
    ----------
    held
        What it has to be made of.
    names, fingerprints
        Of its members, by path, those of the first run first.
    """

    held: _Held
    names: Mapping[str, str]
    fingerprints: Mapping[str, str]
    settings: FitSettings


def joint_fit(
    a: PopulationFit,
    b: PopulationFit,
    /,
    *,
    out: Path | None = None,
    runs: Iterable[Path] = (),
    on_event: Observer | None = None,
) -> Joint:
    """Return two fitted populations as one.

    Parameters
    ----------
    a, b
        Their checkpoints have to be where they were.
    out
        Where to keep the fit. Where this very fit lies there already, no
        weights are read.
    runs
        Files that `out` must not be.
    on_event
        Told after each layer.

    Raises
    ------
    UsageError
        When the two cannot be compared, before anything is read.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    """
    if out is not None:
        check_output(out, is_ours=is_run, inputs=[str(run) for run in runs])
    paths = {member.path for member in a.models}
    in_both = tuple(m.id for m in b.models if m.path in paths)
    asked = _asked(a, b)
    fit = _kept(out, asked) or _made(asked, out, on_event)
    sides = [member.path in paths for member in fit.models]
    return Joint(
        fit=fit,
        a=tuple(i for i, is_a in enumerate(sides) if is_a),
        b=tuple(i for i, is_a in enumerate(sides) if not is_a),
        in_both=in_both,
    )


def _asked(a: PopulationFit, b: PopulationFit) -> _Asked:
    paths = {member.path for member in a.models}
    others = [member for member in b.models if member.path not in paths]
    if not others:
        raise _incomparable(
            f"all {len(b.models)} checkpoints of the second run are in the"
            " first",
            "compare runs of different checkpoints",
        )
    held = _common(a, b, {member.path for member in others})
    present = {path for found in held.members.values() for path in found}
    members = [m for m in (*a.models, *others) if m.path in present]
    # One name in both runs: then every name says whose it is.
    clash = {m.id for m in a.models} & {m.id for m in others}
    prefixes = ("A/", "B/") if clash else ("", "")
    return _Asked(
        held,
        {m.path: prefixes[m.path not in paths] + m.id for m in members},
        {m.path: m.fingerprint for m in members},
        FitSettings(
            base=a.settings["base"],
            rank=min(a.settings["rank"], b.settings["rank"]),
            precision=max(a.settings["precision"], b.settings["precision"]),
        ),
    )


def _common(a: PopulationFit, b: PopulationFit, others: set[str]) -> _Held:
    """Return what the layers of both are made of."""
    first, second = _Held.by(a), _Held.by(b)
    members = {
        key: {**found, **rest}
        for key, found in first.members.items()
        if (
            rest := {
                path: digest
                for path, digest in second.members.get(key, {}).items()
                if path in others
            }
        )
    }
    if not members:
        raise _incomparable(
            "the two runs have no layer in common, by name, shape and kind",
            "compare populations of one architecture",
        )
    bases = [fit.settings["base"] for fit in (a, b)]
    if bases[0] != bases[1] or any(
        first.bases[key] != second.bases[key] for key in members
    ):
        raise _incomparable(
            "the two runs are differences from different bases"
            f" ({bases[0]}, {bases[1]})",
            "fit both with one --base",
        )
    return _Held(members, {key: first.bases[key] for key in members})


def _incomparable(what: str, advice: str) -> UsageError:
    return UsageError("E_COMPARE", what, advice=advice)


def _kept(out: Path | None, asked: _Asked) -> PopulationFit | None:
    """Return what was kept of the same members before, None for nothing."""
    if out is None or not out.exists():
        return None
    try:
        fit = read(out)
        held = _Held.by(fit)
    except SpectraError:
        return None
    names = {member.path: member.id for member in fit.models}
    wanted = asked.settings
    same = (held, names) == (asked.held, asked.names) and all(
        fit.settings[name] == getattr(wanted, name)
        for name in ("base", "rank", "precision")
    )
    return fit if same else None


def _made(
    asked: _Asked, out: Path | None, on_event: Observer | None
) -> PopulationFit:
    catalog = _restricted(
        scan_sources(list(asked.names), on_event=on_event), asked
    )
    found = {
        member.path: member.fingerprint
        for member in work_of(catalog, asked.settings).members
    }
    for path, fingerprint in asked.fingerprints.items():
        if found.get(path) != fingerprint:
            raise IntegrityError(path, "is not the checkpoint that was fitted")
    if out is None:
        fit = fit_population(catalog, asked.settings, on_event=on_event)
        _require_same(fit, asked)
        return fit
    with replacing(out) as temporary:
        fit = fit_population(
            catalog, asked.settings, out=temporary, on_event=on_event
        )
        _require_same(fit, asked)
    return read(out)


def _require_same(fit: PopulationFit, asked: _Asked) -> None:
    """Refuse other bytes than those of the two runs."""
    held, wanted = _Held.by(fit), asked.held
    for key, members in wanted.members.items():
        found = held.members.get(key), held.bases.get(key)
        if found != (members, wanted.bases[key]):
            raise IntegrityError(
                printable(key[0]), "is not made of the bytes that were fitted"
            )


def _restricted(catalog: Catalog, asked: _Asked) -> Catalog:
    """Return the members with the layers they are compared in, no others."""

    def is_wanted(path: str, key: LayerKey) -> bool:
        layer = key.name, key.shape, key.kind == "low-rank"
        return path in asked.held.members.get(layer, {})

    models = tuple(
        replace(
            model,
            id=asked.names[model.path],
            layers=tuple(
                (key, source)
                for key, source in model.layers
                if is_wanted(model.path, key)
            ),
            architecture=_JOINT,
            duplicate_of=None,
        )
        for model in catalog.models
        if model.path in asked.names
    )
    keys = sorted({key for model in models for key, _ in model.layers})
    ids = tuple(model.id for model in models)
    architecture = Architecture(_JOINT, tuple(keys), ids)
    return Catalog(models, (architecture,))
