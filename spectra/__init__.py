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
    from spectra.api.adapting import Adaptation, adapt
    from spectra.api.alignment import Alignment, alignment
    from spectra.api.catalog import Catalog, scan
    from spectra.api.compare import Comparison, compare
    from spectra.api.compression import (
        Compressed,
        Reconstructed,
        compress,
        reconstruct,
    )
    from spectra.api.difference import Difference, diff
    from spectra.api.features import Features, features
    from spectra.api.inspection import Inspection, inspect
    from spectra.api.lineage import Lineage, lineage
    from spectra.api.matching import Match, match
    from spectra.api.merging import Merged, merge
    from spectra.api.overlap import OverlapReport, overlap
    from spectra.api.projection import Projection, project
    from spectra.api.run import Run, fit, load
    from spectra.api.stitching import Stitched, stitch
    from spectra.api.units import MatchedUnits, units

    __version__: str

__all__ = [
    "Adaptation",
    "Alignment",
    "Catalog",
    "Comparison",
    "Compressed",
    "Difference",
    "Features",
    "Inspection",
    "Lineage",
    "Match",
    "MatchedUnits",
    "Merged",
    "OverlapReport",
    "Projection",
    "Reconstructed",
    "Run",
    "Stitched",
    "__version__",
    "adapt",
    "alignment",
    "compare",
    "compress",
    "diff",
    "features",
    "fit",
    "inspect",
    "lineage",
    "load",
    "match",
    "merge",
    "overlap",
    "project",
    "reconstruct",
    "scan",
    "stitch",
    "units",
]

_WHERE = {
    "Adaptation": "adapting", "adapt": "adapting",
    "Alignment": "alignment", "alignment": "alignment",
    "Catalog": "catalog", "scan": "catalog",
    "Comparison": "compare", "compare": "compare",
    "Compressed": "compression", "compress": "compression",
    "Difference": "difference", "diff": "difference",
    "Features": "features", "features": "features",
    "Inspection": "inspection", "inspect": "inspection",
    "Lineage": "lineage", "lineage": "lineage",
    "Match": "matching", "match": "matching",
    "Merged": "merging", "merge": "merging",
    "OverlapReport": "overlap", "overlap": "overlap",
    "Projection": "projection", "project": "projection",
    "Reconstructed": "compression", "reconstruct": "compression",
    "Run": "run", "fit": "run", "load": "run",
    "Stitched": "stitching", "stitch": "stitching",
    "MatchedUnits": "units", "units": "units",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: NumPy takes time."""
    if name == "__version__":
        from spectra.core.provenance import version

        return version()
    if name in _WHERE:
        return getattr(import_module(f"spectra.api.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'spectra' has no attribute {name!r}")
