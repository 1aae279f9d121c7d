"""Write the tables of docs/verdict.md anew, from populations of known truth.

From the root of a checkout: ``python -m analyses.verdict.tables`` writes those
of planted truths, with a folder of the real populations all of them.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from spectra.statistics.verdict.rule import VERDICTS
from tests.statistics import confusion as measured
from tests.statistics.real import REAL, real_row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "verdict.md"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (titles, ["---"] * len(titles), *rows)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def confusion() -> str:
    """Return how often each truth got each verdict."""
    titles = ("planted", *(f"`{word}`" for word in VERDICTS), "e_lo")
    return table(titles, map(measured.confusion_row, measured.TRUTHS))


def nothing() -> str:
    titles = ("400 populations of", "called shared", "rate below", "verdicts")
    return table(titles, map(measured.nothing_row, measured.NOTHING))


def power() -> str:
    titles = ("share", *(f"N = {n}" for n in measured.SIZES))
    rows = (
        [
            f"{100 * share:g} %",
            *(measured.power_cell(share, n) for n in measured.SIZES),
        ]
        for share in measured.SHARES
    )
    return table(titles, rows)


def real(cases: Sequence[measured.Case]) -> str:
    titles = ("population", "known", "verdicts of layers", "overall", "e_lo")
    return table(titles, map(real_row, REAL, cases))


def sensitivity(cases: Sequence[measured.Case]) -> str:
    planted = list(measured.planted_cases())
    rows = (
        [
            change.title,
            measured.differences(change, planted),
            measured.differences(change, cases),
        ]
        for change in measured.CHANGES
    )
    return table(("with", "planted", "real"), rows)


def main(populations: str | None = None) -> None:
    tables = {
        "confusion": confusion(),
        "nothing": nothing(),
        "power": power(),
    }
    if populations is not None:
        cases = [each.case(Path(populations)) for each in REAL]
        tables["real"] = real(cases)
        tables["sensitivity"] = sensitivity(cases)
    page = PAGE.read_text("utf-8")
    for name, text in tables.items():
        page = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)",
            rf"\1\n{text}\n\n\2",
            page,
            flags=re.DOTALL,
        )
    PAGE.write_text(page, "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
