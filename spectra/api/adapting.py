"""A new task trained in a population's directions, as a user holds it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectra.api.documented import Documented
from spectra.api.run import Run, load
from spectra.apply.adaptation.forms import FORMS, Form, Wish
from spectra.apply.adaptation.written import written
from spectra.core.errors import UsageError
from spectra.core.provenance import version
from spectra.core.text import printable
from spectra.report.wording import n_of
from spectra.study.adaptation import (
    SCHEMA,
    Site,
    sites_of,
    updates_of,
    write_adapter,
)
from spectra.subspaces.joint import joint_subspace

if TYPE_CHECKING:
    from spectra.apply.adaptation.hooks import Hooked

__all__ = ["Adaptation", "adapt"]


@dataclass(frozen=True, slots=True, repr=False)
class Adaptation(Documented):
    """A model of which a few numbers a layer are trained, and nothing else.

    Attributes
    ----------
    document
        What was asked for, and the layers.
    hooked
        The layers, where they are in the model.
    base
        Of which model the members say to be, where they agree.
    """

    document: dict[str, Any]
    hooked: tuple["Hooked", ...]
    base: str | None

    @property
    def text(self) -> str:
        """Return what is trained, a sentence."""
        found = self.document
        return (
            f"{found['n_trained']} numbers trained in"
            f" {n_of(len(self.layers), 'layer')} ({found['form']}, start"
            f" {printable(found['init'])}"
            f"{', in a random position' if found['random'] else ''})"
        )

    @property
    def coefficients(self) -> dict[str, NDArray[Any]]:
        """Return what is trained, by layer, as it is now.

        Of the form ``model-axis`` k numbers: coordinates in directions of
        unit norm.
        """
        names = [layer["name"] for layer in self.layers]
        return {
            name: one.numbers()
            for name, one in zip(names, self.hooked, strict=True)
        }

    def parameters(self) -> Iterator[Any]:
        """Yield the trained parameters, one a layer, for an optimiser."""
        return (one.trained for one in self.hooked)

    def remove(self) -> None:
        """Take the updates away: the model is what it was, still frozen."""
        for one in self.hooked:
            one.handle.remove()

    def save(
        self, folder: str | Path, /, *, rank: int | None = None
    ) -> dict[str, Any]:
        """Write the updates as a LoRA adapter, and return what that costs.

        Parameters
        ----------
        folder
            New, empty, or an older result. Beside the two files that PEFT
            reads it gets ``adaptation.json``, with the trained numbers.
        rank
            Of the adapter; None for as many as the updates need.

        Returns
        -------
        dict
            What ``adaptation.json`` holds.

        Raises
        ------
        UsageError
            When `folder` holds something else, `rank` is below 1, or what was
            trained is not finite.
        StorageError
            When it cannot be written.
        """
        if rank is not None:
            _require_positive("rank", rank)
        for name, numbers in self.coefficients.items():
            if not np.isfinite(numbers).all():
                raise UsageError(
                    "E_ADAPT",
                    f"what was trained of {printable(name)} is not finite",
                    advice="train with a smaller learning rate",
                )
        found = [written(one.update(), rank) for one in self.hooked]
        missed, norm = (
            float(np.linalg.norm([getattr(each, name) for each in found]))
            for name in ("missed", "norm")
        )
        document = self.document | {
            "rank": max(1, *(len(each.A) for each in found)),
            "error": missed / norm if norm else 0.0,
            "layers": [
                row
                | {
                    "norm": each.norm,
                    "rank": each.needed,
                    "error": each.error,
                    "coefficients": one.numbers().tolist(),
                }
                for row, one, each in zip(
                    self.layers, self.hooked, found, strict=True
                )
            ],
        }
        write_adapter(
            Path(folder),
            {
                one.module: each
                for one, each in zip(self.hooked, found, strict=True)
            },
            document,
            base=self.base,
            is_turned=any(one.is_turned for one in self.hooked),
        )
        return document


def adapt(  # noqa: PLR0913 - one a question
    model: Any,
    run: Run | str | Path,
    /,
    *,
    k: int = 16,
    form: str = "model-axis",
    rank: int = 8,
    init: str | Path = "zero",
    random: bool = False,
    seed: int = 0,
    layers: Sequence[str] = (),
) -> Adaptation:
    """Freeze a torch model, and add updates of few numbers that are trained.

    Parameters
    ----------
    model
        Of torch, already where it is to be trained: the base model of the
        population, or one that holds it. All its parameters are frozen;
        unfreeze what is to be trained beside, such as a head.
    run
        From `fit` or `load`, or the path of a run file, of LoRA adapters;
        they have to be where they were, and are read once more.
    k
        Directions of every layer; the members leave at most N - 1.
    form
        ``"model-axis"``, ``"jd-full"`` or ``"subspace-adapter"``: see
        ``docs/adapt.md``.
    rank
        Of ``"subspace-adapter"``.
    init
        ``"zero"``, with which the model puts out what it did; ``"mean"``, the
        members' average; or an adapter, which is projected.
    random
        Whether the directions are put into a random position: the control.
    seed
        Of what is drawn.
    layers
        Globs of layer names; all where empty.

    Raises
    ------
    UsageError
        When the model has not the run's layers, or an option is out of range.
    IntegrityError
        When a checkpoint is not what it was when it was fitted.
    """
    chosen = _form(form)
    for name, value in (("k", k), ("rank", rank)):
        _require_positive(name, value)
    hooks = _torch_part()
    fit = (run if isinstance(run, Run) else load(run)).value
    sites = sites_of(fit, layers)
    places = [_place(hooks, model, site) for site in sites]
    starts = {} if init in {"zero", "mean"} else updates_of(str(init), sites)
    model.requires_grad_(False)
    hooked = []
    for number, (site, (name, module)) in enumerate(
        zip(sites, places, strict=True)
    ):
        rng = np.random.default_rng([seed, number])
        stack = site.stack.turned(rng) if random else site.stack
        wish = Wish(k, rank, starts.get(site.target, str(init)), rng)
        layer = chosen.layer(stack, joint_subspace(site.layer, k), wish)
        hooked.append(hooks.attach(module, name, layer))
    document = {
        "schema": SCHEMA,
        "version": version(),
        "form": chosen.name,
        "cite": chosen.cite,
        "k": k,
        "init": str(init),
        "random": random,
        "seed": seed,
        "n_models": len(fit.models),
        "n_trained": sum(one.trained.numel() for one in hooked),
        "layers": list(map(_row, sites, hooked)),
    }
    claims = {member.base_claim for member in fit.models}
    base = claims.pop() if len(claims) == 1 else None
    return Adaptation(document, tuple(hooked), base)


def _row(site: Site, one: "Hooked") -> dict[str, Any]:
    return {
        "name": site.layer.name,
        "module": one.module,
        "shape": list(site.layer.shape),
        "n_models": site.stack.n,
        "n_trained": one.trained.numel(),
    }


def _form(name: str) -> Form:
    for form in FORMS:
        if form.name == name:
            return form
    raise UsageError(
        "E_ADAPT",
        f"there is no form {printable(name, 40)!r}",
        advice=f"use {', '.join(form.name for form in FORMS)}",
    )


def _require_positive(name: str, value: int) -> None:
    if value < 1:
        raise UsageError("E_ADAPT", f"{name} {value} is not 1 or more")


def _torch_part() -> Any:
    try:
        from spectra.apply.adaptation import hooks
    except ImportError as error:
        raise UsageError(
            "E_EXTRA",
            "adapt needs torch",
            advice="pip install 'hf-spectra[torch]'",
        ) from error
    return hooks


def _place(hooks: Any, model: Any, site: Site) -> tuple[str, Any]:
    """Return the layer's module, and its name in the model."""
    name, module = hooks.module_of(model, site.target)
    shape = hooks.shape_of(module)
    if shape != site.layer.shape:
        what = f"of shape {shape}" if shape else f"a {type(module).__name__}"
        raise UsageError(
            "E_ADAPT",
            f"the model's {printable(name)} is {what}, the run's layer a map"
            f" of shape {site.layer.shape}",
            advice="hand over the base model of the population",
        )
    return name, module
