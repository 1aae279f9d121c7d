"""Why a verdict was given: each number beside the threshold it met."""

from spectra.core.settings import OverlapSettings
from spectra.statistics.plain import percent
from spectra.statistics.verdict.evidence import Evidence

__all__ = [
    "beyond_the_mean",
    "by_descent",
    "by_norms",
    "by_one_start",
    "by_starts",
    "mean_share",
    "nothing",
    "shared",
    "too_few",
    "weakly_shared",
]


def by_one_start(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return how many members share one random start."""
    return (
        f"{found.largest_start} of {found.n_members} members share one random"
        " start (cosine of raw lora_A above"
        f" {limits.initialisation_threshold:g})"
    )


def by_starts(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return what is left of the effect with one member per start."""
    alone = found.one_per_start
    rest = f"falls to {alone.low:.3f}" if alone else "cannot be measured"
    return (
        f"the effect's lower end is {found.low:.3f} with all members, but"
        f" {rest} with one member per random start (threshold"
        f" {limits.weakly_shared:g})"
    )


def by_descent(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return how many members are related, and what the groups show."""
    rest = (
        f"too few groups are independent ({found.n_groups}, at least"
        f" {limits.fewest_groups} are needed; members known to be unrelated"
        " can be told so with --groups)"
        if found.n_groups < limits.fewest_groups
        else "nothing is shared across groups"
        f" ({_effect(found, limits.weakly_shared)})"
    )
    return (
        f"{found.n_related} of {found.n_members} members (threshold"
        f" {percent(limits.related_share)}) are alike as those are that"
        f" descend from one another, and {rest}"
    )


def too_few(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return how many groups there are, and how many are needed."""
    return (
        f"{found.n_groups} independent groups are too few; at least"
        f" {limits.fewest_groups} are needed"
    )


def shared(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return the effect and p beside what a shared layer needs."""
    return f"{_effect(found, limits.shared)}; {_spectrum(found, limits)}"


def weakly_shared(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return the effect and p beside what a weakly shared layer needs."""
    effect = _effect(found, limits.weakly_shared)
    return f"{effect}; {_spectrum(found, limits)}"


def beyond_the_mean(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return that the mean alone is shared."""
    least = f"{found.mean.low:.3f}" if found.mean else "unknown"
    return (
        f"members have one common update (r2.mean at least {least}, threshold"
        f" {limits.shared_mean:g}), and nothing more is shared around it:"
        f" {_effect(found, limits.weakly_shared)};"
        f" {_spectrum(found, limits)}"
    )


def by_norms(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return how uneven the spectrum is, and what its null says."""
    return (
        f"{found.evr_k} directions hold {percent(found.evr)} where equal"
        f" members would give {percent(found.isotropic)} (threshold"
        f" {limits.uneven:g} times as much), but members of the same norms"
        f" without shared directions give as much: {_spectrum(found, limits)};"
        f" {_effect(found, limits.weakly_shared)}"
    )


def nothing(found: Evidence, limits: OverlapSettings, /) -> str:
    """Return the effect and p, of which one at least falls short."""
    return weakly_shared(found, limits)


def mean_share(found: Evidence, /) -> str:
    """Return what the mean alone is worth."""
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


def _effect(found: Evidence, threshold: float) -> str:
    effect = found.effect
    if effect is None:
        return "no effect can be measured"
    noun, hold = (
        ("direction", "holds") if effect.k == 1 else ("directions", "hold")
    )
    return (
        f"{effect.k} {noun} of the other groups {hold}"
        f" {percent(effect.captured)} of a held-out member's deviation,"
        f" random ones {percent(effect.random)} (effect {effect.value:.3f},"
        f" at least {effect.low:.3f}, threshold {threshold:g})"
    )


def _spectrum(found: Evidence, limits: OverlapSettings) -> str:
    if found.p is None:
        return "no null could be drawn"
    return (
        f"adjusted p of the spectrum {found.p:.3g} (threshold"
        f" {limits.alpha:g})"
    )
