"""What can be asked for: one frozen value a stage, each field with its help.

The command line and ``study.toml`` are made from these fields; a setting's
name, default and help stand here and nowhere else.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = [
    "RETAINED",
    "FitSettings",
    "HubQuery",
    "OverlapSettings",
    "as_fields",
    "as_json",
    "help_of",
    "settings_of",
]


RETAINED = "retained"
"""In place of a glob: the layers that the layer score keeps."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True, slots=True, kw_only=True)
class HubQuery:
    """Which repositories of a hub: all conditions hold together."""

    author: str | None = _setting(None, "Repositories of this user or group.")
    search: str | None = _setting(None, "Repositories with this in the name.")
    filter: tuple[str, ...] = _setting(
        (), "Repositories with this tag, such as peft; several hold together."
    )
    base_model: str | None = _setting(
        None, "Repositories whose card names this base model: a claim."
    )
    relation: Literal["adapter", "finetune", "merge", "quantized"] | None = (
        _setting(None, "What they are of the base model.")
    )
    num_parameters: str | None = _setting(
        None, "Range of sizes, as min:6B,max:8B."
    )
    sort: str | None = _setting(
        None,
        "Order: downloads, likes, created_at, last_modified, trending_score.",
    )
    revision: str | None = _setting(
        None, "Branch, tag or commit of SOURCEs that name none."
    )

    @property
    def asks(self) -> bool:
        """Return whether there is any condition."""
        return bool(
            self.author
            or self.search
            or self.filter
            or self.base_model
            or self.num_parameters
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """Settings of `fit`."""

    base: str | None = _setting(
        None,
        "Checkpoint to subtract from every member, or 'zero': the members"
        " started from zero, so that their mean was learned.",
    )
    layers: tuple[str, ...] = _setting(
        (), "Analyse only layers whose name matches one of these globs."
    )
    rank: int = _setting(
        16, "Directions a checkpoint and layer, for singular values and sides."
    )
    device: str = _setting(
        "auto", "auto, cpu, cuda (CuPy), or torch:cpu, torch:cuda."
    )
    precision: Literal["f32", "f64"] = _setting(
        "f32",
        "Arithmetic of the blocks; sums are always float64. f64 costs twice"
        " the time and resolves eigenvalues down to 1e-15 of the largest.",
    )
    memory: int = _setting(
        4 * 2**30, "Bytes the whole process may take: 4GiB, 800MiB."
    )
    workers: int = _setting(
        0, "Layers computed at the same time; 0 for one a core."
    )
    scheduler: str | None = _setting(
        None,
        "Dask scheduler whose workers compute, as tcp://HOST:8786; or local:"
        " --workers processes of this machine. --memory is each worker's.",
    )
    max_stream: int = _setting(
        2**30,
        "Longest file of a hub that is read through where its server cannot"
        " serve ranges.",
    )
    save_directions: bool = _setting(
        False, "Keep singular vectors in the run file (large)."
    )
    recipe: tuple[str, ...] = _setting(
        (),
        "Spectra as the code of the Universal Weight Subspace paper has them:"
        " model-axis, rows-pca, lora-rows-pca, lora-cols-svd, lora-eig, hosvd,"
        " conv-cols; hosvd:tau=0.9,hooi and the like truncate. Reads the"
        " weights again.",
    )
    metrics: bool = _setting(
        False,
        "Norms, ranks, spikes and power law of each checkpoint's layers, as"
        " inspect shows them. Reads the weights again.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapSettings:
    """Settings of `overlap`; thresholds as in the verdict rule."""

    layers: tuple[str, ...] = _setting(
        (),
        "Report only layers whose name matches one of these globs; retained"
        " stands for those that the layer score of fit --metrics keeps.",
    )
    k: tuple[int, ...] = _setting(
        (), "Levels of k to report, in addition to 1, 4 and 16."
    )
    null: tuple[str, ...] = _setting(
        (),
        "Nulls to draw, in addition to strength: initialisation, unit-norm,"
        " permuted-entries, permuted-rows, side-strength.",
    )
    draws: int = _setting(199, "Draws from each null, at least 199.")
    seed: int = _setting(0, "Seed of draws and resamples.")
    bootstrap: int = _setting(500, "Resamples of groups for intervals.")
    groups: Mapping[str, str] | None = _setting(
        None, "Group of each member by id, instead of lineage from weights."
    )
    ordered: bool = _setting(
        False,
        "Checkpoints are those of one training run, in the order of the"
        " numbers in their ids: report how directions move.",
    )
    initialisation_threshold: float = _setting(
        0.3, "Cosine of lora_A above which two members share their start."
    )
    lineage_threshold_weights: float = _setting(
        0.9, "Cosine of whole weights above which two members are related."
    )
    lineage_threshold_updates: float = _setting(
        0.5, "Cosine of updates above which two members are related."
    )
    shared: float = _setting(
        0.10, "Lower end of the effect from which a layer counts as shared."
    )
    weakly_shared: float = _setting(
        0.02, "Lower end of the effect from which a layer is weakly shared."
    )
    alpha: float = _setting(0.01, "Adjusted p below which a layer may count.")
    fewest_groups: int = _setting(
        5, "Independent groups below which nothing can be said of a layer."
    )
    related_share: float = _setting(
        0.25, "Share of members with relatives from which descent may be all."
    )
    shared_mean: float = _setting(
        0.02, "Lower end of r2.mean above which members share their mean."
    )
    alpha_low: float = _setting(
        2.0, "Power-law exponent from which a layer is in the band."
    )
    alpha_high: float = _setting(6.0, "Exponent up to which it is.")
    alpha_std: float = _setting(
        1.0, "Deviation over checkpoints up to which a layer is retained."
    )
    alpha_in_range: float = _setting(
        0.5, "Share of checkpoints in the band from which it is."
    )
    alpha_score: float = _setting(0.2, "Layer score from which it is.")
    uneven: float = _setting(
        2.0, "EVR over its isotropic expectation that norms may explain."
    )


def help_of(settings: type, name: str, /) -> str:
    """Return the help text of the field `name` of a settings class."""
    for entry in dataclasses.fields(settings):
        if entry.name == name:
            return str(entry.metadata["help"])
    raise KeyError(name)


def as_fields(settings: Any, /) -> dict[str, Any]:
    """Return a settings value as keyword arguments."""
    return {
        entry.name: getattr(settings, entry.name)
        for entry in dataclasses.fields(settings)
    }


def as_json(settings: Any, /) -> dict[str, Any]:
    """Return a settings value as a dictionary that `json` can write."""
    return {name: _plain(v) for name, v in as_fields(settings).items()}


def settings_of(fields: Mapping[str, Any], /) -> FitSettings:
    """Return the settings of a fit that `as_json` made a dictionary of."""
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in fields.items()
    }
    return FitSettings(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
