"""The verdict of a side: rules in order, the first that applies decides.

A side has a verdict only where its null was drawn. What decides is the EVR's
excess over the null's mean, with all members and with one of each group.
"""

from dataclasses import dataclass

from spectra.core.settings import OverlapSettings

__all__ = ["Excess", "SideEvidence", "judge_side"]

_Z = 3.0


@dataclass(frozen=True, slots=True)
class Excess:
    """EVR at one level beside a null.

    Attributes
    ----------
    z
        (observed - mean) / standard deviation of the draws.
    """

    observed: float
    mean: float
    z: float

    @property
    def value(self) -> float:
        """Return observed less mean."""
        return self.observed - self.mean

    def reaches(self, least: float, /) -> bool:
        """Return whether it is as large as that, and no accident."""
        return self.value >= least and self.z > _Z


@dataclass(frozen=True, slots=True)
class SideEvidence:
    """What is known of a side.

    Attributes
    ----------
    k
        The level that decides.
    n_members, n_alone
        Members, and those that stand for a group.
    n_starts
        Initialisation groups among the members.
    every, alone
        With all members, and with one of each group.
    """

    k: int
    n_members: int
    n_alone: int
    n_starts: int
    every: Excess
    alone: Excess


def judge_side(
    found: SideEvidence, settings: OverlapSettings, /
) -> tuple[str, str]:
    """Return the verdict of a side and its reason.

    Parameters
    ----------
    found
        What is known of it.
    settings
        With the thresholds.
    """
    few = found.n_alone < settings.fewest_groups
    least = settings.weakly_shared
    if found.every.reaches(least) and (few or not found.alone.reaches(least)):
        origin = (
            "shared-initialisation"
            if found.n_starts < found.n_members
            else "shared-lineage"
        )
        rest = (
            f"they are of {_groups(found.n_alone)} only"
            if few
            else f"with one member of each group it is {_said(found.alone)}"
        )
        if found.n_alone < found.n_members:
            return origin, f"{_first(found, found.every)}; {rest}"
    if few:
        return "too-few-models", (
            f"members of {_groups(found.n_alone)} are too few"
        )
    for verdict, least in (
        ("shared", settings.shared),
        ("weakly-shared", settings.weakly_shared),
    ):
        if found.alone.reaches(least):
            return verdict, _alone(found)
    return "not-shared", _alone(found)


def _groups(n: int) -> str:
    return "one group" if n == 1 else f"{n} different groups"


def _alone(found: SideEvidence) -> str:
    said = _first(found, found.alone)
    if found.n_alone == found.n_members:
        return said
    return f"of {found.n_alone} members, one a group, {said}"


def _first(found: SideEvidence, excess: Excess) -> str:
    return (
        f"{found.k} directions hold {excess.observed:.3f} of the energy,"
        f" {excess.mean:.3f} where the same singular values lie in random"
        f" directions: {_said(excess)}"
    )


def _said(excess: Excess) -> str:
    return f"an excess of {excess.value:.3f} (z {excess.z:.1f})"
