"""A population written as what its members share and numbers of their own."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from spectra.apply.compression.account import Account
from spectra.apply.compression.layer import Wish
from spectra.apply.compression.scheme import Scheme
from spectra.backend.memory import parse_bytes
from spectra.core.events import Observer
from spectra.core.provenance import version
from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import Groupings, groupings_of
from spectra.statistics.kinship.relations import relate
from spectra.store.atomic import replacing
from spectra.store.outputs import check_folder
from spectra.study.again import members_again
from spectra.study.basis import is_basis
from spectra.study.compression.compressed_files import (
    BASIS,
    COEFFICIENTS,
    DOCUMENT,
    SCHEMA,
    digest_of,
    sha256_of,
)
from spectra.study.compression.held_layers import (
    HeldLayer,
    Holders,
    base_of,
    held_layers,
    holders_of,
)
from spectra.study.compression.model_axis import write_model_axis
from spectra.study.compression.shared_bases import (
    require_of_peft,
    require_updates,
    write_shared_bases,
)
from spectra.study.compression.stored import Form
from spectra.study.compression.written import Written
from spectra.study.originals import readable
from spectra.study.scan import opening
from spectra.subspaces.result import PopulationFit

__all__ = ["compress_run"]

Document = dict[str, Any]


def compress_run(  # noqa: PLR0913 - one a question
    fit: PopulationFit,
    folder: Path,
    scheme: Scheme,
    wish: Wish,
    /,
    *,
    layers: Sequence[str] = (),
    memory: str | int = "4GiB",
    on_event: Observer | None = None,
) -> Document:
    """Write what a run's members share of each layer, and each one's own.

    Members are read again, and what is no part of a layer for its digest.

    Parameters
    ----------
    fit
        A fitted population whose checkpoints are still where they were.
    folder
        New, empty, or an older result.
    scheme
        In which way.
    wish
        How many directions.
    layers
        Globs of names; all where empty.
    memory
        What the process may take.
    on_event
        Told after each member and each layer.

    Raises
    ------
    UsageError
        When no layer matches, the scheme is none for them, or `folder` holds
        something else.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    BudgetError
        When a layer does not fit `memory`.
    StorageError
        When it cannot be written.
    """
    scheme.check()
    wish.check()
    limit = parse_bytes(memory) if isinstance(memory, str) else memory
    again = members_again(fit, tuple(layers))
    held = held_layers(fit, again)
    if scheme.is_joint:
        require_updates(held, scheme.name)
    inputs = {path for _, task in again.layers for path in task.files}
    check_folder(
        folder, {BASIS, COEFFICIENTS, DOCUMENT},
        mark=BASIS, is_ours=is_basis, inputs=inputs,
    )  # fmt: skip
    groupings = _groupings(fit)
    with (
        readable("the population"),
        opening([*inputs, *(m.path for m in fit.models)]) as opener,
    ):
        holders = holders_of(fit, held, opener, on_event)
        if scheme.is_joint:
            require_of_peft(holders.not_of_peft, scheme.name)
        base, base_forms = base_of(fit, held, opener)
        written = (
            write_shared_bases(
                folder, scheme, wish, held, groupings,
                opener=opener, memory=limit, on_event=on_event,
            )
            if scheme.is_joint
            else write_model_axis(
                fit, folder, wish, held, groupings,
                again=again, memory=limit, on_event=on_event,
            )
        )  # fmt: skip
    account = _account(written, holders, base_forms)
    document = {
        "schema": SCHEMA,
        "version": version(),
        "scheme": scheme.name,
        "settings": {
            "k": wish.k, "energy": wish.energy, "layers": list(layers),
            **scheme.settings(),
        },
        "n_models": account.n_models,
        **account.document(),
        "text": f"{account.text()}; {_loss(written.losses)}",
        "layers": _rows(held, written, holders, base_forms),
        "members": holders.members,
        "base": base,
        "files": {
            name: {
                "nbytes": (folder / name).stat().st_size,
                "sha256": sha256_of(folder / name),
            }
            for name in (BASIS, COEFFICIENTS)
        },
    }  # fmt: skip
    document["sha256"] = digest_of(document)
    with replacing(folder / DOCUMENT) as draft:
        draft.write_text(json.dumps(document, allow_nan=False), "utf-8")
    return document


def _account(
    written: Written, holders: Holders, base: Sequence[Form | None]
) -> Account:
    return Account(
        n_models=holders.count,
        basis=written.basis,
        coefficients=written.coefficients,
        analysed=holders.analysed,
        untouched=holders.untouched,
        base=sum(part.nbytes for form in base if form for part in form.parts),
    )


def _rows(
    layers: Sequence[HeldLayer],
    written: Written,
    holders: Holders,
    base: Sequence[Form | None],
) -> list[Document]:
    """Return one entry a layer: what is lost, and how members keep it."""
    return [
        {
            "name": name,
            "kind": one.layer.kind,
            "shape": list(one.layer.shape),
            "n_models": len(one.layer.members),
            **losses,
            **holders.document(number, one, base[number]),
        }
        for number, (name, one, losses) in enumerate(
            zip(written.names, layers, written.losses, strict=True)
        )
    ]


def _groupings(fit: PopulationFit) -> Groupings:
    """Return the groups of a report that was asked for nothing else."""
    settings = OverlapSettings()
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    return groupings_of(fit.models, relations, settings)


def _loss(layers: Sequence[Document]) -> str:
    """Return what the saving costs, in words."""
    both = [
        median(found)
        if (found := [x for x in errors if x is not None])
        else None
        for errors in (
            [layer["error_in_sample"] for layer in layers],
            [layer["error_held_out"] for layer in layers],
        )
    ]
    said = ["unknown" if x is None else f"{x:.3f}" for x in both]
    return f"the error is {said[0]}, held out {said[1]} (median of the layers)"
