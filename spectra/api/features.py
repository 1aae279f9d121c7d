"""Features of texts and images by a network, as a user holds them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectra.api.documented import Documented
from spectra.apply.extraction.asked import Asked
from spectra.core.events import Observer
from spectra.study.features import extract_features

__all__ = ["Features", "features"]


@dataclass(frozen=True, slots=True, repr=False)
class Features(Documented):
    """A file of features, which `alignment` compares with others.

    Attributes
    ----------
    path
        The file.
    document
        What ``spectra features --json`` prints.
    """

    path: Path
    document: dict[str, Any]


def features(  # noqa: PLR0913 - one a question
    model: str | Path,
    out: str | Path,
    /,
    *,
    base: str | Path | None = None,
    texts: str | Path | None = None,
    images: str | Path | None = None,
    pool: Sequence[str] = ("mean",),
    layers: Sequence[str] = (),
    batch: int = 16,
    max_tokens: int = 512,
    device: str = "auto",
    dtype: str = "float32",
    half: bool = False,
    on_event: Observer | None = None,
) -> Features:
    """Write the hidden states that a network has of texts or images.

    Parameters
    ----------
    model
        A checkpoint of transformers, or an adapter of PEFT: its folder, or
        ``ORG/NAME[@REV]`` of a hub.
    out
        The HDF5 file to write.
    base
        Of an adapter: the checkpoint that it was trained on.
    texts, images
        One of them: a file in UTF-8 with a text a line, or a folder.
    pool
        ``"mean"`` over an item's tokens, its ``"last"`` or ``"first"``.
    layers
        Globs of layers' numbers; all where empty. 0 is what enters the first
        block.
    batch
        Items at a time; features are the same for any, but for rounding.
    max_tokens
        Tokens of a text that are read; fewer where the model has room for
        fewer.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    dtype
        What the network computes in: ``"float32"``, ``"bfloat16"`` or
        ``"float16"``.
    half
        Whether features are kept as float16.
    on_event
        Told after each batch.

    Raises
    ------
    UsageError
        When the checkpoint, the items or an option cannot be used, or a
        package is not installed.
    StorageError
        When it cannot be written; what was there before is as it was.
    """
    asked = Asked(
        pool=tuple(pool) or ("mean",), layers=tuple(layers), batch=batch,
        max_tokens=max_tokens, device=device, dtype=dtype, half=half,
    )  # fmt: skip
    document = extract_features(
        str(model), Path(out), asked,
        base=None if base is None else str(base),
        texts=None if texts is None else Path(texts),
        images=None if images is None else Path(images),
        on_event=on_event,
    )  # fmt: skip
    return Features(Path(out), document)
