"""Which method, and with which options: checked before anything is read."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spectra.apply.merging.core_space import CoreSpace, core_space
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.linear import Summable
from spectra.apply.merging.methods import METHODS, Method
from spectra.apply.merging.stacked import Stacked
from spectra.apply.merging.trimming import Counts, Digits, Vector, counted
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.subspaces.recipes.table import Factors

__all__ = ["OPTIONS", "Choice", "Option", "chosen"]

_EQUAL = 1e-12


@dataclass(frozen=True, slots=True)
class Option:
    """One option that methods take.

    Attributes
    ----------
    name
        Of the argument.
    flag
        As it is typed.
    is_sound
        Whether a value can be one.
    range
        What a value has to be, in words.
    """

    name: str
    flag: str
    is_sound: Callable[[Any], bool]
    range: str


def _is_real(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _is_count(value: Any, least: int) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and value >= least


def _are_shares(values: Any) -> bool:
    total = math.fsum(values) if all(map(_is_real, values)) else 0.0
    return abs(total) > _EQUAL * math.fsum(map(abs, values))


OPTIONS = (
    Option("lam", "--lambda", _is_real, "a finite number"),
    Option(
        "density",
        "--density",
        lambda value: _is_real(value) and 0 < value <= 1,
        "above 0 and at most 1",
    ),
    Option(
        "weights",
        "--weights",
        _are_shares,
        "finite numbers whose sum is not 0",
    ),
    Option("seed", "--seed", lambda value: _is_count(value, 0), "0 or more"),
    Option("k", "-k", lambda value: _is_count(value, 1), "1 or more"),
    Option(
        "space",
        "--space",
        lambda value: value in {"core", "dense"},
        "core or dense",
    ),
    Option(
        "trim",
        "--trim",
        lambda value: value in {"layer", "model"},
        "layer or model",
    ),
)
"""What `spectra merge` lets be chosen; the rest of a method's options keep
their defaults."""

_TRIM = "model"
"""Unless told otherwise, as in the code of TIES and of KnOTS."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A method and its options.

    Attributes
    ----------
    options
        By name, those that were not given with their defaults.
    """

    method: Method
    options: Mapping[str, Any]

    @property
    def is_of_model(self) -> bool:
        """Return whether entries are trimmed over all layers together."""
        return self.options.get("trim") == "model"

    @property
    def axes(self) -> str | None:
        """Return along what the entries lie that the result depends on."""
        return "factors" if self.options.get("space") == "core" else None

    def gathered(self, updates: Sequence[Factors], /) -> Summable:
        """Return the updates of a layer as the method takes them."""
        linear = self.method.is_linear
        return Stacked(updates) if linear else core_space(updates)

    def merge(
        self,
        updates: Summable,
        number: int,
        /,
        *,
        least: Vector | None = None,
    ) -> Framed:
        """Return the merged update of a layer.

        Parameters
        ----------
        updates
            As gathered.
        number
            Goes with the seed, so that layers of one shape lose different
            entries.
        least
            Magnitude of each update's entries below which they are trimmed,
            where all layers are trimmed together.
        """
        options = dict(self.options)
        if "seed" in options:
            options["seed"] = (options["seed"], number)
        if options.pop("trim", None) is not None:
            options["least"] = least
        return self.method.merge(updates, **options)

    def counted(self, updates: CoreSpace, digits: Digits, /) -> Counts:
        """Return what `least_kept` asks for, of a layer's entries."""
        if self.method.entries is None:
            raise TypeError(f"{self.method.name} trims nothing")
        entries = self.method.entries(updates, space=self.options["space"])
        return counted(entries, digits)

    def coincides(self, n: int, /) -> str | None:
        """Return which simpler merge of n updates it is, in words, if any."""
        options, name = self.options, self.method.name
        weights = options.get("weights")
        is_even = weights is None or max(weights) - min(weights) <= (
            _EQUAL * max(map(abs, weights))
        )
        if name == "subspace" and is_even:
            return "weights are equal: this subspace merge is the mean"
        if name == "weighted" and is_even:
            return "weights are equal: this is the mean"
        if name == "task-arithmetic" and abs(n * options["lam"] - 1) <= _EQUAL:
            return "lambda is 1 / N: this is the mean"
        if name == "dare" and options["density"] == 1:
            return "nothing is left out: this is task-arithmetic"
        return None


def chosen(
    name: str, given: Mapping[str, Any], ids: Sequence[str], /
) -> Choice:
    """Return a method with the options that were given for it.

    Parameters
    ----------
    name
        Of one of `METHODS`.
    given
        Values by name; None for one that was not given. ``weights`` are in
        the order of `ids`, or by id.
    ids
        Of what is merged.

    Raises
    ------
    UsageError
        E_METHOD, where there is no such method, it does not take an option or
        lacks one, or a value is out of range.
    """
    method = _method(name)
    given = {key: value for key, value in given.items() if value is not None}
    taken = [option for option in OPTIONS if option.name in method.takes]
    flags = ", ".join(option.flag for option in taken) or "no option"
    others = [
        option.flag
        for option in OPTIONS
        if option.name in given and option not in taken
    ]
    if others:
        raise _refused(f"{name} does not take {', '.join(others)}", flags)
    missing = [
        option.flag
        for option in taken
        if option.name in method.needs and option.name not in given
    ]
    if missing:
        raise _refused(f"{name} needs {', '.join(missing)}", flags)
    if "weights" in given:
        given["weights"] = _weights(given["weights"], ids)
    for option in taken:
        value = given.get(option.name)
        if value is not None and not option.is_sound(value):
            raise UsageError(
                "E_METHOD",
                f"{option.flag} {printable(str(value), 80)} is not"
                f" {option.range}",
            )
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(
            method.merge
        ).parameters.items()
    } | {"trim": _TRIM}
    return Choice(
        method, {o.name: given.get(o.name, defaults[o.name]) for o in taken}
    )


def _method(name: str) -> Method:
    for method in METHODS:
        if method.name == name:
            return method
    raise UsageError(
        "E_METHOD",
        f"there is no way of merging {printable(name, 40)!r}",
        advice=f"use {', '.join(method.name for method in METHODS)}",
    )


def _refused(what: str, flags: str) -> UsageError:
    return UsageError("E_METHOD", what, advice=f"it takes {flags}")


def _weights(
    given: Sequence[float] | Mapping[str, float], ids: Sequence[str]
) -> tuple[float, ...]:
    """Return the weights in the order of the ids."""
    if isinstance(given, Mapping):
        if set(given) != set(ids):
            odd = sorted(set(given) ^ set(ids))
            raise UsageError(
                "E_METHOD",
                f"--weights do not name the {len(ids)} adapters one by one:"
                f" {printable(', '.join(odd))}",
                advice=f"their ids are {printable(', '.join(ids), 1000)}",
            )
        return tuple(given[each] for each in ids)
    if len(given) != len(ids):
        raise UsageError(
            "E_METHOD",
            f"{len(given)} --weights for {len(ids)} adapters",
            advice=f"one for each of {printable(', '.join(ids), 1000)}",
        )
    return tuple(given)
