"""The same merge as a configuration of mergekit, where it has it.

mergekit (Goddard et al. 2024) merges tensor by tensor. What is written asks
for float32, since it computes in the dtype that it is told.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from spectra.apply.merging.choice import Choice
from spectra.core.errors import UsageError

__all__ = ["MARK", "Model", "Place", "mergekit_config"]

MARK = "# Written by spectra merge"
"""What a configuration of ours begins with."""

Options = Mapping[str, Any]

_DTYPES = MappingProxyType(
    {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a model lies, for mergekit.

    Attributes
    ----------
    path
        A folder, or ``org/name``.
    revision
        A commit of the latter.
    """

    path: str
    revision: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return it as mergekit reads it, whatever is in its name."""
        found = {"path": self.path}
        return found | ({"revision": self.revision} if self.revision else {})


Model = Place | tuple[Place, Place]
"""A full checkpoint; of an adapter its base before it."""


@dataclass(frozen=True, slots=True)
class _Same:
    """A method of mergekit that does the same.

    Attributes
    ----------
    name
        There.
    weights
        Of N models, by the options.
    more
        Its parameters: of each model, and of all.
    differs
        In what, a sentence; None for nothing.
    """

    name: str
    weights: Callable[[Options, int], list[float]]
    each: Callable[[Options], dict[str, Any]] = lambda _: {}
    whole: Callable[[Options], dict[str, Any]] = lambda _: {}
    differs: str | None = None


def _ones(_: Options, n: int) -> list[float]:
    return [1.0] * n


_SAME: Mapping[str, _Same] = MappingProxyType(
    {
        "mean": _Same("linear", _ones, whole=lambda _: {"normalize": True}),
        "weighted": _Same(
            "linear",
            lambda options, _: list(options["weights"]),
            whole=lambda _: {"normalize": True},
        ),
        "task-arithmetic": _Same(
            "task_arithmetic",
            lambda options, n: [options["lam"]] * n,
            whole=lambda _: {"normalize": False},
        ),
        "ties": _Same(
            "ties",
            _ones,
            each=lambda options: {"density": options["density"]},
            whole=lambda options: {
                "normalize": True, "lambda": options["lam"],
            },
            differs=(
                "it keeps the share of entries rounded down, here to the"
                " nearest, and takes entries that cancel out for positive"
            ),
        ),
        "dare": _Same(
            "dare_linear",
            # It would scale by the sum of magnitudes instead of the density.
            lambda options, n: [options["lam"] / options["density"]] * n,
            each=lambda options: {"density": options["density"]},
            whole=lambda _: {"normalize": False, "rescale": False},
            differs="it draws other entries",
        ),
    }
)  # fmt: skip


def mergekit_config(
    choice: Choice,
    models: Sequence[Model],
    base: Place | None,
    dtype: str | None,
    /,
) -> str:
    """Return the YAML by which mergekit does what a method does.

    Parameters
    ----------
    choice
        The method.
    models
        What is merged.
    base
        What all were made from.
    dtype
        Of what is written; None for each tensor's own.

    Raises
    ------
    UsageError
        E_METHOD where mergekit has no such method.
    """
    _require_same(choice)
    return "\n".join(_lines(choice, models, base, dtype)) + "\n"


def _require_same(choice: Choice) -> None:
    name, options = choice.method.name, choice.options
    if name not in _SAME:
        raise UsageError(
            "E_METHOD",
            f"mergekit has no {name}",
            advice=f"--mergekit is for {', '.join(_SAME)}",
        )
    if options.get("space") == "core":
        raise UsageError(
            "E_METHOD",
            "mergekit knows no cores: it compares the entries of full weights",
            advice="leave --space core out",
        )
    if options.get("trim") == "model":
        raise UsageError(
            "E_METHOD",
            "mergekit trims each tensor alone, and not the model as the code"
            " of TIES does",
            advice="give --trim layer, and both do the same",
        )


def _lines(
    choice: Choice,
    models: Sequence[Model],
    base: Place | None,
    dtype: str | None,
) -> Iterator[str]:
    same, options = _SAME[choice.method.name], choice.options
    yield f"{MARK}: {choice.method.name} ({choice.method.cite})."
    if same.differs:
        yield f"# mergekit differs: {same.differs}."
    yield f"merge_method: {same.name}"
    if base is not None and same.name != "linear":
        yield f"base_model: {_flow({'model': base.as_json()})}"
    yield "models:"
    weights = same.weights(options, len(models))
    for model, weight in zip(models, weights, strict=True):
        parameters = {"weight": weight, **same.each(options)}
        yield f"  - model: {_flow(_reference(model))}"
        yield f"    parameters: {_flow(parameters)}"
    yield f"parameters: {_flow(same.whole(options))}"
    yield "dtype: float32"
    if dtype is not None and dtype in _DTYPES:
        yield f"out_dtype: {_DTYPES[dtype]}"


def _reference(model: Model) -> dict[str, Any]:
    if isinstance(model, Place):
        return {"model": model.as_json()}
    base, adapter = model
    return {"model": base.as_json(), "lora": adapter.as_json()}


def _flow(value: Any) -> str:
    """Return JSON, which is YAML."""
    return json.dumps(value)
