"""How much a population of checkpoints shares in weight space, honestly.

>>> import spectra
>>> catalog = spectra.scan("checkpoints/")          # doctest: +SKIP
>>> run = spectra.fit(catalog, "run.h5")            # doctest: +SKIP
>>> report = spectra.overlap(run)                   # doctest: +SKIP
>>> report.save("report/")                          # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectra.api.catalog import Catalog, scan
    from spectra.api.compare import Comparison, compare
    from spectra.api.lineage import Lineage, lineage
    from spectra.api.matching import Match, match
    from spectra.api.overlap import OverlapReport, overlap
    from spectra.api.run import Run, fit, load

    __version__: str

__all__ = [
    "Catalog",
    "Comparison",
    "Lineage",
    "Match",
    "OverlapReport",
    "Run",
    "__version__",
    "compare",
    "fit",
    "lineage",
    "load",
    "match",
    "overlap",
    "scan",
]

_WHERE = {
    "Catalog": "catalog", "scan": "catalog",
    "Comparison": "compare", "compare": "compare",
    "Lineage": "lineage", "lineage": "lineage",
    "Match": "matching", "match": "matching",
    "OverlapReport": "overlap", "overlap": "overlap",
    "Run": "run", "fit": "run", "load": "run",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: NumPy takes time."""
    if name == "__version__":
        from spectra.core.provenance import version

        return version()
    if name in _WHERE:
        return getattr(import_module(f"spectra.api.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'spectra' has no attribute {name!r}")
