"""Which of several ways a population is kept in."""

from dataclasses import dataclass

from spectra.core.errors import UsageError

__all__ = ["SCHEMES", "Scheme"]

SCHEMES = ("model-axis", "jd-full", "jd-diag")
"""How a population is kept."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a population is kept.

    Attributes
    ----------
    name
        One of `SCHEMES`.
    clusters
        Of each layer's members, by joint diagonalisation.
    seed
        Of their start.
    """

    name: str = "model-axis"
    clusters: int = 1
    seed: int = 0

    @property
    def is_joint(self) -> bool:
        """Return whether it is one of joint diagonalisation."""
        return self.name != "model-axis"

    def settings(self) -> dict[str, int]:
        """Return what was asked for beside the name."""
        if not self.is_joint:
            return {}
        return {"clusters": self.clusters, "seed": self.seed}

    def check(self) -> None:
        """Refuse what is none.

        Raises
        ------
        UsageError
            E_SCHEME.
        """
        if self.name not in SCHEMES:
            raise UsageError(
                "E_SCHEME",
                f"{self.name!r:.40} is no scheme",
                advice=f"use {', '.join(SCHEMES)}",
            )
        if self.clusters < 1 or self.seed < 0:
            raise UsageError(
                "E_SCHEME", "--clusters is 1 or more, --seed 0 or more"
            )
        if self.clusters > 1 and not self.is_joint:
            raise UsageError(
                "E_SCHEME",
                f"--clusters {self.clusters} is of joint diagonalisation",
                advice="add --scheme jd-full or jd-diag",
            )
