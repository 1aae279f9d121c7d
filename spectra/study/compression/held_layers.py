"""The members' files, and how they keep the layers that are compressed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from spectra.core.catalog import LayerSource
from spectra.core.events import Observer, Progress
from spectra.study.again import Again
from spectra.study.compression.stored import Form, form_of
from spectra.study.originals import original
from spectra.subspaces.layer import LayerTask
from spectra.subspaces.result import LayerFit, PopulationFit
from spectra.weights.bytes import Opener

__all__ = ["HeldLayer", "Holders", "base_of", "held_layers", "holders_of"]

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class HeldLayer:
    """A layer as it was fitted, and who has it.

    Attributes
    ----------
    task
        Where its distinct members keep it.
    holders
        These, then those with another's bytes.
    """

    layer: LayerFit
    task: LayerTask
    holders: tuple[tuple[int, str, LayerSource], ...]

    @property
    def base(self) -> LayerSource | None:
        """Return where the base keeps it that was subtracted."""
        return self.task.base


def held_layers(fit: PopulationFit, again: Again, /) -> list[HeldLayer]:
    """Return a run's layers as they were found again."""
    return [
        HeldLayer(fit.layers[place], task, (*task.holders, *copies))
        for (place, task), copies in zip(
            again.layers, again.copies, strict=True
        )
    ]


@dataclass(frozen=True, slots=True)
class Holders:
    """What the members' own files are, and how they keep the layers.

    Attributes
    ----------
    members
        One entry a member of the run.
    forms
        For each layer of each member, by index.
    analysed, untouched
        Bytes, as of `~spectra.apply.compression.account.Account`.
    not_of_peft
        Ids of those without an adapter_config.json.
    """

    members: list[Document]
    forms: dict[tuple[int, int], Form]
    analysed: int
    untouched: int
    not_of_peft: tuple[str, ...]

    @property
    def count(self) -> int:
        """Return how many members hold one of the layers."""
        return sum(member["n_layers"] > 0 for member in self.members)

    def document(
        self, number: int, held: HeldLayer, base: Form | None, /
    ) -> Document:
        """Return how members keep a layer, as ``compressed.json`` holds it.

        Parameters
        ----------
        number
            Of the layer.
        held
            The same.
        base
            How the base keeps it.
        """
        holders = [i for i, _, _ in held.holders]
        own = [self.forms[number, i] for i in holders]
        forms = list(dict.fromkeys(own))
        return {
            "rows": list(held.layer.members),
            "copies": [list(pair) for pair in held.layer.duplicates],
            "forms": [form.document() for form in forms],
            "kept_as": {
                str(i): forms.index(form)
                for i, form in zip(holders, own, strict=True)
            },
            "base": base and base.document(),
            "base_digest": held.layer.base_digest if base else None,
        }


def holders_of(
    fit: PopulationFit,
    layers: Sequence[HeldLayer],
    opener: Opener,
    on_event: Observer | None,
    /,
) -> Holders:
    """Return the members of a run, what is no part of a layer read.

    Parameters
    ----------
    fit
        The run.
    layers
        Of it.
    opener
        Opens the members' files.
    on_event
        Told after each member.
    """
    held: dict[int, list[tuple[int, LayerSource]]] = {}
    for number, one in enumerate(layers):
        for i, _, source in one.holders:
            held.setdefault(i, []).append((number, source))
    members: list[Document] = []
    forms: dict[tuple[int, int], Form] = {}
    analysed = untouched = 0
    others: list[str] = []
    for i, member in enumerate(fit.models):
        members.append(
            {
                "id": member.id, "revision": member.revision,
                "path": member.path, "fingerprint": member.fingerprint,
                "n_layers": len(held.get(i, ())),
            }
        )  # fmt: skip
        if i not in held:
            continue
        own = original(member.path, opener, fingerprint=member.fingerprint)
        if own.adapter is None:
            others.append(member.id)
        refs = [ref for _, source in held[i] for ref in source.tensors]
        spans = own.rest(refs)
        left = sum(stop - start for _, start, stop in spans)
        members[-1] |= {
            "analysed_bytes": own.nbytes - left,
            "untouched_bytes": left,
            "untouched_sha256": own.digest(spans, opener),
            "papers_sha256": own.papers_digest(opener),
        }
        analysed, untouched = analysed + own.nbytes - left, untouched + left
        for number, source in held[i]:
            forms[number, i] = form_of(source, own.tensors)
        if on_event is not None:
            on_event(Progress("members", i + 1, len(fit.models), member.id))
    return Holders(members, forms, analysed, untouched, tuple(others))


def base_of(
    fit: PopulationFit, layers: Sequence[HeldLayer], opener: Opener, /
) -> tuple[Document | None, list[Form | None]]:
    """Return where the base lies that was subtracted, and its layers.

    Parameters
    ----------
    fit
        The run.
    layers
        Of it.
    opener
        Opens the base's files.
    """
    if not any(one.base for one in layers):
        return None, [None] * len(layers)
    own = original(fit.settings["base"], opener)
    forms = [
        form_of(one.base, own.tensors) if one.base else None for one in layers
    ]
    return {"path": own.path, "fingerprint": own.fingerprint}, forms
