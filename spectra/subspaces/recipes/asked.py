"""What ``--recipe`` asks for: a name, and for hosvd how it is truncated."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

from spectra.core.errors import UsageError
from spectra.subspaces.recipes.table import RECIPES, Centring, Part, Recipe

__all__ = ["Asked", "asked"]

_ADVICE = "docs/recipes.md has the options, as in hosvd:tau=0.9,modes=12,hooi"

_ROUNDS = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """One recipe as it was asked for.

    Attributes
    ----------
    recipe
        A row of the table.
    options
        As they were written; empty for the recipe as it is.
    modes
        Of hosvd, those that are compressed.
    tau, ranks
        Of hosvd, the share of the squared norm that each mode keeps, or the
        directions of each of `modes`; neither where nothing is truncated.
    centring
        In place of the recipe's own.
    rounds
        Most rounds of refinement.
    """

    recipe: Recipe
    options: str = ""
    modes: tuple[int, ...] = (0, 1, 2)
    tau: float | None = None
    ranks: tuple[int, ...] | None = None
    centring: Centring | None = None
    rounds: int = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return the spectra that were asked for."""
        return tuple(
            part
            for part in self.recipe.parts
            if part.mode is None or part.mode in self.modes
        )

    @property
    def truncates(self) -> bool:
        """Return whether a decomposition is asked for besides its spectra."""
        return self.tau is not None or self.ranks is not None


def asked(text: str, /) -> Asked:
    """Return the recipe that a text such as ``hosvd:tau=0.9`` names.

    Raises
    ------
    UsageError
        ``E_RECIPE`` when there is none of that name, or an option is wrong.
    """
    name, _, options = text.partition(":")
    known = {recipe.name: recipe for recipe in RECIPES}
    if name not in known:
        raise UsageError(
            "E_RECIPE",
            f"there is no recipe {name!r}",
            advice=f"choose among {', '.join(known)}",
        )
    found: dict[str, Any] = {}
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if name != "hosvd" or key not in _OPTIONS or _FIELDS[key] in found:
            raise _wrong(text, f"{option!r} is no option of {name}")
        try:
            found[_FIELDS[key]] = _OPTIONS[key](value)
        except ValueError as error:
            raise _wrong(text, f"{option!r}: {error}") from error
    result = Asked(known[name], options, **found)
    if result.tau is not None and result.ranks is not None:
        raise _wrong(text, "tau and ranks exclude each other")
    if result.rounds and not result.truncates:
        raise _wrong(text, "hooi refines what tau or ranks truncate")
    if result.ranks is not None and len(result.ranks) != len(result.modes):
        raise _wrong(
            text, f"{len(result.ranks)} ranks for {len(result.modes)} modes"
        )
    return result


def _wrong(text: str, what: str) -> UsageError:
    return UsageError("E_RECIPE", f"--recipe {text}: {what}", advice=_ADVICE)


def _share(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1:
        raise ValueError("a share above 0, up to 1")
    return value


def _modes(text: str) -> tuple[int, ...]:
    if not text or list(text) != sorted(set(text) & set("012")):
        raise ValueError("some of 0 (models), 1, 2 in this order, such as 12")
    return tuple(map(int, text))


def _ranks(text: str) -> tuple[int, ...]:
    values = tuple(map(int, text.split("x")))
    if min(values) < 1:
        raise ValueError("ranks are counted from 1, such as 4x16x16")
    return values


def _centring(text: str) -> str:
    known = [word for word in get_args(Centring) if word != "columns"]
    if text not in known:
        raise ValueError(f"one of {', '.join(known)}")
    return text


def _rounds(text: str) -> int:
    value = int(text or _ROUNDS)
    if value < 1:
        raise ValueError("rounds are counted from 1")
    return value


_OPTIONS: dict[str, Callable[[str], Any]] = {
    "tau": _share,
    "ranks": _ranks,
    "modes": _modes,
    "centring": _centring,
    "hooi": _rounds,
}
_FIELDS = {key: "rounds" if key == "hooi" else key for key in _OPTIONS}
