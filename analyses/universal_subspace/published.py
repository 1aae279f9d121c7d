"""Published figures, and what N, k and the shapes alone say of them.

Which are quoted from where is said on this folder's page; the sources stand in
docs/references.md.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from spectra.subspaces.recipes.chance import expected_shares

TITLES = ("population", "by", "published", "from N, k and shapes alone")

TENTHS = (0.6, 0.7, 0.8, 0.9)
FIVE = (1, 4, 16, 32, 64)


def share(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}".removeprefix("0")


def by_chance(k: int, samples: int, features: int) -> str:
    """Return the share of k directions of isotropic samples.

    Features are the entries of a model, or those of a row.
    """
    shares = expected_shares(samples, features)
    return share(float(shares[min(k, len(shares)) - 1]))


def ranks(samples: int, features: int, shares: Sequence[float]) -> str:
    """Return how many directions of isotropic samples hold such shares."""
    found = expected_shares(samples, features)
    return ", ".join(str(np.searchsorted(found, each) + 1) for each in shares)


def across(k: int, n: int) -> str:
    """Return k / (N - 1): k directions of n models that share nothing."""
    return share(min(1.0, k / (n - 1)))


def published() -> Iterator[tuple[str, str, str, str]]:
    """Yield a row a published figure, its last cell computed."""
    yield from of_adapters()
    yield from of_whole_weights()
    yield from of_few()


def of_adapters() -> Iterator[tuple[str, str, str, str]]:
    own = "of starts of their own"
    A, B = by_chance(16, 499 * 16, 4096), by_chance(16, 499 * 4096, 16)
    yield (
        "500 LoRAs of Mistral-7B, rank 16",
        "paper",
        "16 or fewer directions in every layer",
        (
            f"16 hold {across(16, 500)} of models, {A} of rows of A, and {B}"
            " of rows of B, which have 16 entries"
        ),
    )
    yield (
        "the same, 497",
        "draft",
        (
            "16 hold .44 to .46 of rows of A; of the same starts without any"
            " training .51"
        ),
        f"{by_chance(16, 496 * 16, 4096)}, {own}",
    )
    yield (
        "242 of the 255 of one start",
        "draft",
        "16 hold .86 to .90 of rows of A",
        f"{by_chance(16, 241 * 16, 4096)}, {own}",
    )
    yield (
        "242 of starts of their own",
        "draft",
        "16 hold .021 to .052 of rows of A, 1980 to 2003 hold 90 %",
        (f"{by_chance(16, 241 * 16, 4096)}; {ranks(241 * 16, 4096, (0.9,))}"),
    )
    yield (
        "100 LoRAs of Mistral-7B",
        "stress test",
        (
            "1, 4, 16, 32, 64 hold .0417, .1504, .4308, .6598, .9523 of models"
            " (medians); of ten held out none is nearer to 16 than to zero"
        ),
        (
            f"{', '.join(across(k, 100) for k in FIVE)} if norms are equal;"
            " theirs are not published"
        ),
    )


def of_whole_weights() -> Iterator[tuple[str, str, str, str]]:
    yield (
        "100 random ViT-B/16",
        "stress test",
        "16 hold .1649 of models (768 x 768)",
        by_chance(16, 99, 768 * 768),
    )
    rows, models = by_chance(16, 499 * 768, 768), across(16, 500)
    yield (
        "about 500 ViTs",
        "paper",
        (
            "accuracy on 16 directions 94.1 (whole 94.4), of unseen ones 87.8"
            " (91.3)"
        ),
        (
            f"16 hold {rows} of rows, {models} of models; of accuracy nothing"
            " can be said"
        ),
    )
    yield (
        "the same, 470",
        "released",
        "46, 92, 176, 286 hold 60, 70, 80, 90 % of rows (the last cut off)",
        ranks(469 * 768, 768, TENTHS),
    )
    yield (
        "50 LLaMA-3-8B",
        "released",
        "1011, 1217, 1248 hold 60, 70, 80 % of rows (the last cut off)",
        (
            f"{ranks(49 * 4096, 4096, TENTHS[:3])} (4096 x 4096); 16 hold"
            f" {across(16, 50)} of models"
        ),
    )
    yield (
        "177 GPT-2",
        "released",
        (
            "315, 414, 457, 461 hold 60, 70, 80, 90 % of rows (the last cut"
            " off); rebuilt so, .083 of next tokens agree"
        ),
        (
            f"{ranks(176 * 768, 768, TENTHS)} (768 x 768, other layers are"
            f" wider); 16 hold {across(16, 177)} of models"
        ),
    )


def of_few() -> Iterator[tuple[str, str, str, str]]:
    unknown = "not computed: by which recipe is not known here"
    yield (
        "8 Flan-T5, GLUE",
        "paper",
        "a scree plot",
        f"8 models have 7 directions: 16 hold {across(16, 8)} of any",
    )
    yield (
        "196 LoRAs of Flan-T5-large",
        "released",
        "38 (median 7) hold 60 %, 158 hold 90 %",
        unknown,
    )
    yield (
        "5 ResNet-50 from scratch",
        "paper",
        "accuracy on 64 directions 87.58 (whole 90.89)",
        (
            f"5 models have 4 directions: 64 hold {across(64, 5)} of any; of"
            " columns they are all where a layer has 64 outputs"
        ),
    )
    yield (
        "9 ResNet-50 from scratch",
        "released",
        "at 80, 90, 95 % of the variance 8.42, 5.23, 2.78 % are saved",
        "not computed: these are bytes",
    )
    yield (
        "2 LoRAs of RoBERTa, rank 8, as a basis for a third",
        "released",
        "32 directions of columns, and 32 random ones",
        (
            f"16 columns, centred, have 15: 32 hold {by_chance(32, 15, 768)}"
            " of any"
        ),
    )
