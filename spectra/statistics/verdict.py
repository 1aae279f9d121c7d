"""The verdict of a layer: rules in order, the first that applies decides.

Each rule looks at the evidence and returns why it applies, or None.
"""

from collections.abc import Callable, Sequence

from spectra.core.settings import OverlapSettings
from spectra.statistics.evidence import Evidence

__all__ = ["RULES", "counted", "judge", "percent"]

_FEWEST_GROUPS = 5
_RELATED = 0.25
_MEAN = 0.02
_UNEVEN = 2.0


Rule = Callable[[Evidence, OverlapSettings], str | None]


def percent(share: float, /) -> str:
    """Return a share in per cent, with as many digits as mean something.

    Examples
    --------
    >>> [percent(share) for share in (0.4321, 0.0661, 0.0004, -0.002)]
    ['43 %', '6.6 %', '0.04 %', '-0.2 %']
    """
    value = 100 * share
    if abs(value) >= 10:
        return f"{value:.0f} %"
    return f"{value:.1g} %" if abs(value) < 1 else f"{value:.1f} %"


def _initialisation(found: Evidence, settings: OverlapSettings) -> str | None:
    if 2 * found.largest_start > found.n_members:
        return (
            f"{found.largest_start} of {found.n_members} members share one"
            " random start (cosine of raw lora_A above"
            f" {settings.initialisation_threshold:g})"
        )
    alone = found.one_per_start
    if found.low < settings.weakly_shared or (
        alone and alone.low >= settings.weakly_shared
    ):
        return None
    rest = f"falls to {alone.low:.3f}" if alone else "cannot be measured"
    return (
        f"the effect's lower end is {found.low:.3f} with all members, but"
        f" {rest} with one member per random start"
    )


def _lineage(found: Evidence, settings: OverlapSettings) -> str | None:
    few = found.n_groups < _FEWEST_GROUPS
    if found.n_related < _RELATED * found.n_members or not (
        few or found.low < settings.weakly_shared
    ):
        return None
    rest = (
        f"too few groups are independent ({found.n_groups}; members known to"
        " be unrelated can be told so with --groups)"
        if few
        else f"nothing is shared across groups ({_measured(found)})"
    )
    return (
        f"{found.n_related} of {found.n_members} members are alike as those"
        f" are that descend from one another, and {rest}"
    )


def _too_few(found: Evidence, _: OverlapSettings) -> str | None:
    if found.n_groups >= _FEWEST_GROUPS:
        return None
    return (
        f"{found.n_groups} independent groups are too few; at least"
        f" {_FEWEST_GROUPS} are needed"
    )


def _shared(found: Evidence, settings: OverlapSettings) -> str | None:
    return _above(found, settings.shared, settings.alpha)


def _weakly(found: Evidence, settings: OverlapSettings) -> str | None:
    return _above(found, settings.weakly_shared, settings.alpha)


def _above(found: Evidence, least: float, alpha: float) -> str | None:
    if found.low < least or not found.is_significant(alpha):
        return None
    return f"{_measured(found)}; {_spectrum(found)}"


def _mean_only(found: Evidence, _: OverlapSettings) -> str | None:
    if found.mean is None or found.mean.low <= _MEAN:
        return None
    return (
        "members have one common update, and nothing more is shared around"
        f" it: {_measured(found)}"
    )


def _by_norms(found: Evidence, settings: OverlapSettings) -> str | None:
    if (
        found.p is None
        or found.is_significant(settings.alpha)
        or not found.evr >= _UNEVEN * found.isotropic
    ):
        return None
    return (
        f"{found.evr_k} directions hold {percent(found.evr)} where equal"
        f" members would give {percent(found.isotropic)}, but members of the"
        f" same norms without shared directions give as much (p ="
        f" {found.p:.3g}); {_measured(found)}"
    )


def _not_shared(found: Evidence, _: OverlapSettings) -> str | None:
    return f"{_measured(found)}; {_spectrum(found)}"


RULES: tuple[tuple[str, Rule], ...] = (
    ("shared-initialisation", _initialisation),
    ("shared-lineage", _lineage),
    ("too-few-models", _too_few),
    ("shared", _shared),
    ("weakly-shared", _weakly),
    ("shared-mean-only", _mean_only),
    ("explained-by-norms", _by_norms),
    ("not-shared", _not_shared),
)


def judge(
    found: Evidence, settings: OverlapSettings, /
) -> tuple[str, tuple[str, ...]]:
    """Return the verdict and its reasons: why, and the mean's share."""
    for verdict, rule in RULES:
        why = rule(found, settings)
        if why is not None:
            return verdict, (why, _mean_share(found))
    raise AssertionError("the last rule always applies")


def _measured(found: Evidence) -> str:
    effect = found.effect
    if effect is None:
        return "no effect can be measured"
    noun = "direction" if effect.k == 1 else "directions"
    return (
        f"{effect.k} {noun} of the other groups"
        f" {'holds' if effect.k == 1 else 'hold'}"
        f" {percent(effect.captured)} of a held-out member's deviation,"
        f" random ones {percent(effect.random)} (effect {effect.value:.3f},"
        f" at least {effect.low:.3f})"
    )


def _spectrum(found: Evidence) -> str:
    if found.p is None:
        return "no null could be drawn"
    return f"adjusted p of the spectrum {found.p:.3g}"


def _mean_share(found: Evidence) -> str:
    if not found.learned_mean:
        return (
            "the mean holds the members' common start; its share says nothing"
        )
    if found.mean is None:
        return "the mean's share cannot be measured"
    if found.mean.value <= 0:
        return (
            "the mean of the other groups predicts a member no better than"
            f" zero does (r2 {found.mean.value:.3f})"
        )
    return (
        f"the mean of the other groups explains {percent(found.mean.value)} of"
        f" a member's energy (at least {percent(found.mean.low)})"
    )


def counted(verdicts: Sequence[str], /) -> dict[str, int]:
    """Return how many layers have each verdict, in the order of the rules."""
    return {
        verdict: verdicts.count(verdict)
        for verdict, _ in RULES
        if verdict in verdicts
    }
