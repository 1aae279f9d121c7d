"""The verdict of a layer and of a population: the whole rule.

A layer gets the word of the first row of `RULES` that holds. A row compares
evidence with thresholds, which are settings; docs/verdict.md says why they lie
where they do, and how often the rule errs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from spectra.core.settings import OverlapSettings
from spectra.statistics.verdict import reasons
from spectra.statistics.verdict.evidence import Evidence

__all__ = [
    "RULES",
    "VERDICTS",
    "Overall",
    "Rule",
    "Verdict",
    "counted",
    "judge",
    "of_layer",
    "overall",
]

Document = dict[str, Any]

Verdict = Literal[
    "shared-initialisation",
    "shared-lineage",
    "too-few-models",
    "shared",
    "weakly-shared",
    "shared-mean-only",
    "explained-by-norms",
    "not-shared",
]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
Overall = Verdict | Literal["mixed"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the rule.

    Attributes
    ----------
    word
        The verdict.
    holds
        Whether the evidence asks for it, given the thresholds.
    why
        The reason, with the numbers that decided.
    """

    word: Verdict
    holds: Callable[[Evidence, OverlapSettings], bool]
    why: Callable[[Evidence, OverlapSettings], str]


def _one_start_prevails(found: Evidence, _: OverlapSettings) -> bool:
    return 2 * found.largest_start > found.n_members


def _effect_rests_on_starts(found: Evidence, limits: OverlapSettings) -> bool:
    alone = found.one_per_start
    return found.low >= limits.weakly_shared and (
        alone is None or alone.low < limits.weakly_shared
    )


def _descent_explains_all(found: Evidence, limits: OverlapSettings) -> bool:
    many = found.n_related >= limits.related_share * found.n_members
    return many and (
        _groups_are_few(found, limits) or found.low < limits.weakly_shared
    )


def _groups_are_few(found: Evidence, limits: OverlapSettings) -> bool:
    return found.n_groups < limits.fewest_groups


def _effect_is_large(found: Evidence, limits: OverlapSettings) -> bool:
    return found.low >= limits.shared and found.is_significant(limits.alpha)


def _effect_is_there(found: Evidence, limits: OverlapSettings) -> bool:
    return found.low >= limits.weakly_shared and found.is_significant(
        limits.alpha
    )


def _mean_is_common(found: Evidence, limits: OverlapSettings) -> bool:
    return found.mean is not None and found.mean.low > limits.shared_mean


def _norms_explain_it(found: Evidence, limits: OverlapSettings) -> bool:
    return (
        found.p is not None
        and not found.is_significant(limits.alpha)
        and found.evr >= limits.uneven * found.isotropic
    )


def _nothing_else(_: Evidence, __: OverlapSettings) -> bool:
    return True


RULES = (
    Rule("shared-initialisation", _one_start_prevails, reasons.by_one_start),
    Rule("shared-initialisation", _effect_rests_on_starts, reasons.by_starts),
    Rule("shared-lineage", _descent_explains_all, reasons.by_descent),
    Rule("too-few-models", _groups_are_few, reasons.too_few),
    Rule("shared", _effect_is_large, reasons.shared),
    Rule("weakly-shared", _effect_is_there, reasons.weakly_shared),
    Rule("shared-mean-only", _mean_is_common, reasons.beyond_the_mean),
    Rule("explained-by-norms", _norms_explain_it, reasons.by_norms),
    Rule("not-shared", _nothing_else, reasons.nothing),
)


def judge(
    found: Evidence, limits: OverlapSettings, /
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons: why, and the mean's share."""
    rule = next(rule for rule in RULES if rule.holds(found, limits))
    return rule.word, (rule.why(found, limits), reasons.mean_share(found))


def of_layer(
    axis: tuple[Verdict, tuple[str, ...]], sides: Mapping[Any, Document], /
) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict of a layer and its reasons.

    It is the model axis's, except where a side shares a random start: members
    whose updates have nothing in common as vectors may still read from the
    same random directions.

    Parameters
    ----------
    axis
        What `judge` said.
    sides
        Each side as the report has it, by its name.
    """
    word: Verdict = "shared-initialisation"
    verdict, why = axis
    for name, side in sides.items():
        if side["verdict"] == word != verdict:
            return word, (f"{name} side: {side['reasons'][0]}", *why)
    return axis


def counted(verdicts: Sequence[str], /) -> dict[str, int]:
    """Return how many layers have each verdict, in the order of the rules."""
    return {
        word: verdicts.count(word) for word in VERDICTS if word in verdicts
    }


_ARTEFACTS: tuple[Verdict, ...] = ("shared-initialisation", "shared-lineage")
_MILDER: tuple[tuple[Verdict, tuple[Verdict, ...]], ...] = (
    ("weakly-shared", ("shared", "weakly-shared")),
    ("not-shared", ("explained-by-norms", "not-shared")),
)


def overall(verdicts: Sequence[str], /) -> Overall | None:
    """Return one word for all layers, None for no layers.

    Parameters
    ----------
    verdicts
        Of the layers; each weighs the same.

    Notes
    -----
    The word of more than half of the layers. Failing that, words that say
    much the same are counted together: the two artefacts under the more
    frequent, two strengths or two denials under the one that claims less.
    """
    if not verdicts:
        return None
    n_of = {word: verdicts.count(word) for word in VERDICTS}

    def prevail(words: Sequence[Verdict]) -> bool:
        return 2 * sum(n_of[word] for word in words) > len(verdicts)

    for word in VERDICTS:
        if prevail([word]):
            return word
    artefact = max(_ARTEFACTS, key=n_of.__getitem__)
    for word, words in ((artefact, _ARTEFACTS), *_MILDER):
        if prevail(words):
            return word
    return "mixed"
