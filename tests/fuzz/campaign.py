"""Mutants by number: which reader, which seed, and what came of each."""

from collections import Counter
from random import Random
from typing import Protocol

__all__ = ["Finding", "Target", "campaign", "tally"]

_APART = 2**40
"""Mutants of one seed."""


class Target(Protocol):
    """A reader, what is fed to it, and what must be so after."""

    @property
    def name(self) -> str:
        """Return what the command line calls it."""
        ...

    def mutant(self, random: Random, /) -> bytes:
        """Return the next thing to read."""
        ...

    def check(self, mutant: bytes, /) -> str:
        """Return "accepted" or the code; any exception is a finding."""
        ...


class Finding(AssertionError):  # noqa: N818 - it is what is looked for
    """A mutant of which a reader says what it must not."""

    def __init__(self, target, seed, number, mutant):
        self.target, self.number, self.mutant = target, number, mutant
        super().__init__(
            f"{target.name}: mutant {number} of seed {seed}: {mutant[:400]!r}"
        )


def campaign(target, *, seed, start=0, count=None):
    """Yield the outcome of each mutant, by its number.

    A mutant depends on the seed and on its number alone.

    Raises
    ------
    Finding
        At the first for which a check raises, from what it raises.
    """
    random = Random()
    number = start
    while count is None or number < start + count:
        random.seed(seed * _APART + number)
        mutant = target.mutant(random)
        try:
            outcome = target.check(mutant)
        except Exception as error:
            raise Finding(target, seed, number, mutant) from error
        yield outcome
        number += 1


def tally(target, *, seed, count):
    """Return how often each outcome comes."""
    return Counter(campaign(target, seed=seed, count=count))
