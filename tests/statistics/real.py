"""Real populations, what is known of them, and their verdicts."""

from dataclasses import dataclass
from pathlib import Path

import spectra
from spectra.statistics.verdict.rule import overall
from tests.statistics.confusion import (
    DEFAULT,
    Case,
    effect_range,
    evidence_of,
    tally,
)

__all__ = ["DEMO", "REAL", "Real", "real_row"]


@dataclass(frozen=True, slots=True)
class Real:
    """Real checkpoints: where they lie, and what is known of them."""

    name: str
    folder: Path
    truth: str
    base: str | None = None
    limit: int | None = None

    def case(self, populations: Path) -> Case:
        """Return it as it is fitted from its files."""
        catalog = spectra.scan(populations / self.folder, limit=self.limit)
        fit = spectra.fit(catalog, base=self.base).value
        return Case(self.name, fit, DEFAULT, evidence_of(fit))


DEMO = Path(spectra.__file__).parent / "demo_population"
REAL = (
    Real("ani", Path("ani"), "8 pairs, each a net and its fine-tune"),
    Real("chgnet", Path("chgnet"), "3, of which one comes from another"),
    Real("sceptr", Path("sceptr"), "one fine-tune, the others independent"),
    Real(
        "jeffy",
        Path("jeffy-massive"),
        "heads of 51 languages for the same labels",
        base="zero",
    ),
    Real("minilm", Path("minilm-lora"), "8 adapters of 8 tasks, 8 starts"),
    Real(
        "minilm, same seed",
        Path("minilm-lora-same-seed"),
        "6 adapters of 6 tasks, one start",
    ),
    Real(
        "demo, independent",
        DEMO / "independent",
        "32 adapters of 32 tasks, 32 starts",
    ),
    Real(
        "demo, half of these",
        DEMO / "independent",
        "16 of them, of the tasks in the next line",
        limit=16,
    ),
    Real(
        "demo, same seed",
        DEMO / "same-seed",
        "16 adapters of 16 tasks, one start",
    ),
    Real("demo", DEMO, "all 48, of one start and of their own"),
)


def real_row(real: Real, case: Case) -> list[str]:
    """Return a real population, what is known of it, and its verdicts."""
    return [
        real.name, real.truth, tally(case.verdicts), overall(case.verdicts),
        effect_range(case.found),
    ]  # fmt: skip
