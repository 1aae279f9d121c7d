"""How often the rule is right: populations of known truth, and its verdicts.

docs/verdict.md shows these tables; analyses/verdict/tables.py writes them.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
from scipy.stats import binomtest

from spectra.core.settings import OverlapSettings
from spectra.statistics.kinship.groups import start_thresholds
from spectra.statistics.kinship.population import groupings_of
from spectra.statistics.kinship.relations import relate
from spectra.statistics.model_axis import effect
from spectra.statistics.model_axis.findings import study
from spectra.statistics.nulls.table import NULLS, adjusted_p
from spectra.statistics.streams import generator
from spectra.statistics.verdict.evidence import Evidence, evidence
from spectra.statistics.verdict.rule import VERDICTS, counted, judge
from spectra.subspaces.result import PopulationFit
from tests.statistics.planted import axis_fit, factors, planted, runs, strong

__all__ = [
    "AFTERWARDS",
    "CHANGES",
    "DEFAULT",
    "NOTHING",
    "SHARES",
    "SHARING",
    "SIZES",
    "TRUTHS",
    "Case",
    "Change",
    "confusion_row",
    "differences",
    "effect_range",
    "evidence_of",
    "nothing_row",
    "planted_cases",
    "population",
    "power_cell",
    "tally",
    "told",
    "verdicts_of",
]

SHARING = ("shared", "weakly-shared")
SEEDS, FEWER_SEEDS = 20, 10
DEFAULT = OverlapSettings()


@dataclass(frozen=True, slots=True)
class Truth:
    """A kind of population.

    Attributes
    ----------
    draw
        Returns the fit of one, given a stream of random numbers.
    is_shared
        Whether it has shared directions, which no confound made.
    groups_given
        Whether the rule is told that the members are unrelated.
    """

    name: str
    draw: Callable[[np.random.Generator], PopulationFit]
    is_shared: bool = False
    groups_given: bool = False


def updates(make: Callable[[np.random.Generator], np.ndarray]):
    return lambda rng: axis_fit(make(rng))


def adapters(n: int, **options):
    def draw(rng: np.random.Generator) -> PopulationFit:
        maps, A = factors(rng, n, **options)
        return axis_fit(maps, kind="low-rank", A=A)

    return draw


def directions(share: float):
    return updates(lambda rng: planted(rng, share))


def sweeps(cosine: float):
    moved = np.sqrt(1 / cosine - 1)
    return updates(lambda rng: runs(rng, 10, 4, moved))


def log_normal(rng: np.random.Generator, n: int, shape) -> np.ndarray:
    lengths = np.exp(rng.standard_normal(n))
    return lengths[:, None, None] * strong(rng, n, shape)


def fine_tunes(rng: np.random.Generator) -> PopulationFit:
    return axis_fit(strong(rng, 1) + 0.1 * strong(rng, 40), kind="dense")


TRUTHS = (
    Truth("independent updates", updates(lambda rng: strong(rng, 40))),
    Truth("independent adapters", adapters(40, one_start=1)),
    *(
        Truth(
            f"4 directions hold {100 * share:.0f} %", directions(share), True
        )
        for share in (0.05, 0.1, 0.2, 0.4, 0.8)
    ),
    Truth("the same 80 %, groups given", directions(0.8), True, True),
    Truth(
        "log-normal norms",
        updates(lambda rng: log_normal(rng, 40, (64, 64))),
    ),
    Truth(
        "one common update",
        updates(lambda rng: strong(rng, 40) + 0.5 * strong(rng, 1)),
    ),
    Truth("40 adapters of one start", adapters(40, one_start=40)),
    Truth("20 of 40 of one start", adapters(40, one_start=20)),
    Truth(
        "20 of 40 of one start, 8 x 64",
        adapters(40, one_start=20, rank=2, moved=0.25, shape=(8, 64)),
    ),
    *(
        Truth(f"10 runs in 4 copies, cosine {cosine:g}", sweeps(cosine))
        for cosine in (0.99, 0.6, 0.4, 0.2)
    ),
    Truth(
        "10 runs in 4 exact copies",
        updates(lambda rng: np.repeat(strong(rng, 10), 4, axis=0)),
    ),
    Truth("one base, not given", fine_tunes),
    Truth("one base, given", updates(lambda rng: 0.1 * strong(rng, 40))),
    Truth("4 members", updates(lambda rng: planted(rng, 0.4, n=4)), True),
)


def evidence_of(
    fit: PopulationFit, settings: OverlapSettings = DEFAULT
) -> list[Evidence]:
    """Return what each layer shows, p adjusted for their number.

    The same as `measure`, without the rest of the report.
    """
    relations = relate(fit.layers, len(fit.models), start_thresholds(settings))
    groupings = groupings_of(fit.models, relations, settings)
    found = [
        study(
            layer, groupings, settings,
            started_from_zero=fit.started_from_zero,
        )
        for layer in fit.layers
    ]  # fmt: skip
    nulls = [each.nulls[NULLS[0].name] for each in found]
    known = [evidence(each, groupings) for each in found]
    return [
        replace(each, p=adjusted_p(nulls, each.effect.k)[i])
        if each.effect is not None and nulls[i] is not None
        else each
        for i, each in enumerate(known)
    ]


def verdicts_of(
    fit: PopulationFit, settings: OverlapSettings = DEFAULT
) -> list[str]:
    """Return the verdict on each layer."""
    return [judge(each, settings)[0] for each in evidence_of(fit, settings)]


def population(truth: Truth, seed: int) -> PopulationFit:
    return truth.draw(generator(seed, truth.name))


def told(truth: Truth, fit: PopulationFit) -> OverlapSettings:
    """Return the settings with which a population is judged."""
    alone = {member.id: member.id for member in fit.models}
    return OverlapSettings(groups=alone if truth.groups_given else None)


def tally(verdicts: Sequence[str]) -> str:
    """Return counts in words, the most frequent first."""
    ordered = sorted(counted(verdicts).items(), key=lambda row: -row[1])
    return ", ".join(f"{n} {word}" for word, n in ordered)


def effect_range(found: Sequence[Evidence]) -> str:
    """Return the least and the greatest lower end of the effect."""
    # Adding zero takes the sign off a zero.
    lows = [round(each.low, 3) + 0.0 for each in found if each.effect]
    return f"{min(lows):.3f} to {max(lows):.3f}" if lows else "none"


@dataclass(frozen=True, slots=True)
class Case:
    """A population under its settings, and what each layer shows."""

    name: str
    fit: PopulationFit
    settings: OverlapSettings
    found: Sequence[Evidence]

    @property
    def verdicts(self) -> list[str]:
        """Return the verdicts as things stand."""
        return [judge(each, self.settings)[0] for each in self.found]


@cache
def planted_case(truth: Truth, seed: int) -> Case:
    """Return one population of a truth."""
    fit = population(truth, seed)
    settings = told(truth, fit)
    return Case(truth.name, fit, settings, evidence_of(fit, settings))


def planted_cases(names: Container[str] | None = None) -> Iterator[Case]:
    """Yield ten populations of each truth, or of those named."""
    for truth in TRUTHS:
        if names is None or truth.name in names:
            for seed in range(FEWER_SEEDS):
                yield planted_case(truth, seed)


def confusion_row(truth: Truth) -> list[str]:
    """Return a truth, how often each verdict was given, and e_lo."""
    cases = [planted_case(truth, seed) for seed in range(SEEDS)]
    verdicts = [word for each in cases for word in each.verdicts]
    found = [known for each in cases for known in each.found]
    counts = (verdicts.count(word) for word in VERDICTS)
    return [truth.name, *(str(n or "") for n in counts), effect_range(found)]


SMALL = (16, 16)
NOTHING = (
    Truth("updates", updates(lambda rng: strong(rng, 20, SMALL))),
    Truth("adapters", adapters(20, one_start=1, rank=4, shape=SMALL)),
    Truth("log-normal norms", updates(lambda rng: log_normal(rng, 20, SMALL))),
)
"""20 members of 16 x 16 that have nothing in common."""

N_NOTHING = 400


def nothing_row(truth: Truth) -> list[str]:
    """Return how many of 400 are called shared, and what that bounds."""
    verdicts = [
        verdict
        for seed in range(N_NOTHING)
        for verdict in verdicts_of(population(truth, seed))
    ]
    wrong = sum(verdict in SHARING for verdict in verdicts)
    # Clopper and Pearson 1934: the rate is below this, at 95 % confidence.
    found = binomtest(wrong, N_NOTHING, alternative="less")
    bound = found.proportion_ci(0.95).high
    return [truth.name, str(wrong), f"{100 * bound:.2f} %", tally(verdicts)]


SHARES = (0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4)
SIZES = (20, 40, 80)


def power_cell(share: float, n: int) -> str:
    """Return how many of 20 are called shared, and weakly shared."""
    verdicts = [
        verdict
        for seed in range(SEEDS)
        for verdict in verdicts_of(
            axis_fit(planted(generator(seed, f"power {n}"), share, n=n))
        )
    ]
    return " + ".join(str(verdicts.count(word)) for word in SHARING)


@dataclass(frozen=True, slots=True)
class Change:
    """A threshold with another value, or other levels of k."""

    name: str
    value: Any

    @property
    def title(self) -> str:
        """Return it as a row of the table is called."""
        if self.name == "k":
            return f"k of {', '.join(map(str, self.value))}"
        return f"`{self.name}` {self.value:g}"

    def verdicts_of(self, case: Case) -> list[str]:
        """Return the verdicts under it."""
        changed = replace(case.settings, **{self.name: self.value})
        if self.name == "k":
            with mock.patch.object(effect, "LEVELS", self.value):
                return verdicts_of(case.fit, changed)
        if changed.alpha < DEFAULT.alpha:
            # So many draws that a p below alpha is possible.
            draws = round(2 / changed.alpha) - 1
            return verdicts_of(case.fit, replace(changed, draws=draws))
        if self.name in AFTERWARDS:
            return [judge(each, changed)[0] for each in case.found]
        return verdicts_of(case.fit, changed)


AFTERWARDS = {
    "related_share", "fewest_groups", "shared", "alpha", "shared_mean",
    "uneven",
}  # fmt: skip
"""Thresholds that evidence is held against and not made with."""

CHANGES = tuple(
    Change(name, value)
    for name, values in (
        ("initialisation_threshold", (0.15, 0.6)),
        ("lineage_threshold_updates", (0.25, 0.7)),
        ("lineage_threshold_weights", (0.45, 0.95)),
        ("related_share", (0.125, 0.5)),
        ("fewest_groups", (3, 8)),
        ("shared", (0.05, 0.2)),
        ("weakly_shared", (0.01, 0.04)),
        ("alpha", (0.001, 0.05)),
        ("shared_mean", (0.01, 0.04)),
        ("uneven", (1.0, 4.0)),
        ("k", ((1,), (4,), (16,), (1, 2, 4, 8, 16))),
    )
    for value in values
)


def differences(change: Change, cases: Iterable[Case]) -> str:
    """Return what a change does to verdicts, population by population."""
    before: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for case in cases:
        before.setdefault(case.name, []).extend(case.verdicts)
        after.setdefault(case.name, []).extend(change.verdicts_of(case))
    moved = [
        f"**{name}**: {tally(before[name])} → {tally(after[name])}"
        for name in before
        if tally(before[name]) != tally(after[name])
    ]
    return "; ".join(moved) or "none"
