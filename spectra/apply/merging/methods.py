"""Which ways of merging there are, and what is known of each.

A method takes the updates of one layer and options of its own by name.
"""

from collections.abc import Callable
from dataclasses import dataclass

from spectra.apply.merging.elementwise import dare, ties
from spectra.apply.merging.entries import Entries, entries_of
from spectra.apply.merging.framed import Framed
from spectra.apply.merging.knots import knots, parts_of
from spectra.apply.merging.linear import (
    mean,
    subspace,
    task_arithmetic,
    weighted,
)
from spectra.apply.merging.spectral import cart, iso_c, iso_cts, tsv_m

__all__ = ["METHODS", "Method"]


@dataclass(frozen=True, slots=True)
class Method:
    """One way of merging the updates of a layer.

    Attributes
    ----------
    cite
        Whose it is.
    merge
        Does it: ``merge(space, **options)``.
    takes
        The names of its options.
    needs
        Those of them that have no default.
    is_linear
        Whether it takes any `Summable`; the others take a `CoreSpace`.
    entries
        Of those that keep a share of the entries: which, of a `CoreSpace` and
        by ``space``; `merge` then takes ``least``.
    is_flat
        Whether the singular values of what it makes are equal, so that no
        rank below theirs has a nearest map.
    note
        Where it is linear, or coincides with another.
    """

    name: str
    cite: str
    merge: Callable[..., Framed]
    takes: tuple[str, ...]
    needs: tuple[str, ...] = ()
    is_linear: bool = False
    entries: Callable[..., Entries] | None = None
    is_flat: bool = False
    note: str = ""


METHODS = (
    Method(
        name="mean",
        cite="Wortsman et al. 2022",
        merge=mean,
        is_linear=True,
        takes=(),
        note="linear; task-arithmetic with lambda 1 / N",
    ),
    Method(
        name="weighted",
        cite="Wortsman et al. 2022",
        merge=weighted,
        is_linear=True,
        takes=("weights",),
        needs=("weights",),
        note="linear; the mean where the weights are equal",
    ),
    Method(
        name="task-arithmetic",
        cite="Ilharco et al. 2023",
        merge=task_arithmetic,
        is_linear=True,
        takes=("lam",),
        note="linear; the mean with lambda 1 / N",
    ),
    Method(
        name="ties",
        cite="Yadav et al. 2023",
        merge=ties,
        takes=("density", "lam", "space", "trim"),
        entries=entries_of,
        note=(
            "not linear; the mean at density 1 where no two updates differ in"
            " the sign of an entry; in the cores another method"
        ),
    ),
    Method(
        name="dare",
        cite="Yu et al. 2024",
        merge=dare,
        takes=("density", "lam", "seed", "space"),
        note=(
            "linear once drawn; task-arithmetic at density 1 and in"
            " expectation; depends on the order of the updates"
        ),
    ),
    Method(
        name="knots",
        cite="Stoica et al. 2024",
        merge=knots,
        takes=("density", "lam", "inner", "compare", "space", "trim"),
        entries=parts_of,
        note=(
            "not linear with ties inside, which compares entries along the"
            " layer's inputs; the mean with a mean inside"
        ),
    ),
    Method(
        name="tsv-m",
        cite="Gargiulo et al. 2024",
        merge=tsv_m,
        takes=("keep", "lam"),
        note=(
            "not linear; the sum where nothing is truncated and the updates"
            " are orthogonal on both sides; the update where all are equal"
        ),
    ),
    Method(
        name="iso-c",
        cite="Marczak et al. 2025",
        merge=iso_c,
        takes=("lam",),
        is_flat=True,
        note=(
            "not linear; keeps the singular vectors of the sum and the sum of"
            " its singular values; in the cores, since the singular vectors"
            " that low rank leaves open would be kept too"
        ),
    ),
    Method(
        name="iso-cts",
        cite="Marczak et al. 2025",
        merge=iso_cts,
        takes=("common", "lam"),
        is_flat=True,
        note="not linear; iso-c where all directions are common",
    ),
    Method(
        name="cart",
        cite="Choi et al. 2024",
        merge=cart,
        takes=("keep", "lam"),
        note=(
            "not linear; the mean where nothing is left out of the"
            " differences, and where all is"
        ),
    ),
    Method(
        name="subspace",
        cite="Kaushik et al. 2025",
        merge=subspace,
        takes=("k", "weights"),
        needs=("k",),
        note=(
            "linear once its directions are known; the mean where the weights"
            " are equal, whatever k; weighted at full k; no formula was"
            " published"
        ),
    ),
)
"""All methods; another is another row."""
