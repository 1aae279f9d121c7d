"""Items as the arrays that a network takes, by transformers' own readers."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps
from numpy.typing import NDArray
from transformers import AutoImageProcessor, AutoTokenizer

from spectra.apply.extraction.asked import unusable
from spectra.core.errors import UsageError
from spectra.core.text import printable
from spectra.weights.features.vocabulary import TOKENIZERS

__all__ = [
    "BROKEN",
    "SAFELY",
    "ImageReader",
    "TextReader",
    "image_reader",
    "text_reader",
]

Array = NDArray[Any]

SAFELY = {"trust_remote_code": False, "local_files_only": True}
"""How anything is loaded from a checkpoint."""

BROKEN = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError,
    OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
"""What transformers raises at files that do not fit together."""

_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Those of Pillow's that call no other program."""

_UNBOUNDED = 10**9
"""From here on a tokenizer says that it knows of no limit."""


@dataclass(slots=True)
class TextReader:
    """Texts as numbers of tokens.

    Attributes
    ----------
    limit
        Tokens that are kept of one.
    pad
        Stands behind shorter texts, where the mask says that nothing is.
    n_tokens
        That the network knows.
    n_truncated
        Texts that were longer, of those read so far.
    """

    tokenizer: Any
    limit: int
    pad: int
    n_tokens: int
    n_truncated: int = 0

    def read(
        self, contents: Sequence[bytes], ids: Sequence[str], /
    ) -> list[Array]:
        """Return the tokens of some texts.

        Parameters
        ----------
        contents, ids
            The texts, and what to call them.

        Raises
        ------
        UsageError
            E_ITEMS where one has no token, E_EXTRACT where tokenizer and
            network do not fit together.
        """
        texts = [content.decode() for content in contents]
        found = self.tokenizer(texts, truncation=True, max_length=self.limit)
        self.n_truncated += sum(bool(e.overflowing) for e in found.encodings)
        read = [np.array(row, np.int64) for row in found["input_ids"]]
        for item, row in zip(ids, read, strict=True):
            self._check(item, row)
        return read

    def batch(self, items: Sequence[Array], /) -> dict[str, Array]:
        """Return some texts side by side, the shorter filled up behind."""
        longest = max(map(len, items))
        tokens = np.full((len(items), longest), self.pad, np.int64)
        mask = np.zeros_like(tokens)
        for row, item in enumerate(items):
            tokens[row, : len(item)] = item
            mask[row, : len(item)] = 1
        return {"input_ids": tokens, "attention_mask": mask}

    def _check(self, item: str, row: Array) -> None:
        if len(row) == 0:
            raise UsageError(
                "E_ITEMS",
                f"the text of line {item} has no token",
                advice="leave it out, for all models that are compared",
            )
        if len(row) > self.limit:
            raise unusable(
                f"{self.limit} tokens leave no room for a text",
                "raise --max-tokens",
            )
        if row.max() >= self.n_tokens:
            raise unusable(
                f"the tokenizer has a token {row.max()}, the network"
                f" {self.n_tokens} tokens",
                "name a folder whose tokenizer is the network's",
            )


@dataclass(slots=True)
class ImageReader:
    """Images as pixels, scaled as the checkpoint says."""

    processor: Any
    limit: None = None
    n_truncated: int = 0

    def read(
        self, contents: Sequence[bytes], ids: Sequence[str], /
    ) -> list[Array]:
        """Return the pixels of some images.

        Parameters
        ----------
        contents, ids
            The files' bytes, and their names.

        Raises
        ------
        UsageError
            E_ITEMS where one cannot be read.
        """
        return [
            self._pixels(content, item)
            for content, item in zip(contents, ids, strict=True)
        ]

    def batch(self, items: Sequence[Array], /) -> dict[str, Array]:
        """Return some images side by side.

        Raises
        ------
        UsageError
            E_EXTRACT where they are of several sizes.
        """
        if len({item.shape for item in items}) > 1:
            raise unusable(
                "images keep sizes of their own by its preprocessor_config",
                "name a checkpoint that scales them to one",
            )
        return {"pixel_values": np.stack(items)}

    def _pixels(self, content: bytes, item: str) -> Array:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            try:
                image = PIL.Image.open(BytesIO(content), formats=_FORMATS)
                upright = PIL.ImageOps.exif_transpose(image).convert("RGB")
            except (
                *BROKEN,
                SyntaxError,
                PIL.Image.DecompressionBombError,
                PIL.Image.DecompressionBombWarning,
            ) as error:
                raise UsageError(
                    "E_ITEMS",
                    f"{item} is no image that is read: {error}",
                    advice="leave it out, for all models that are compared",
                ) from error  # fmt: skip
        found = self.processor(images=[upright], return_tensors="np")
        pixels: Array = np.asarray(found["pixel_values"])[0]
        return pixels


def text_reader(
    room: Path, config: Any, n_tokens: int, most: int, /
) -> TextReader:
    """Return the reader of texts that a checkpoint comes with.

    Parameters
    ----------
    room
        The checkpoint's folder, as `gathered`.
    config
        Of its network.
    n_tokens
        That the network knows.
    most
        Tokens of a text that are wanted.

    Raises
    ------
    UsageError
        E_EXTRACT where there is none.
    """
    if not any((room / name).is_file() for name in TOKENIZERS):
        # For some networks transformers makes one without a vocabulary then.
        raise _without("tokenizer", f"no {' or '.join(TOKENIZERS)}")
    try:
        tokenizer = AutoTokenizer.from_pretrained(room, **SAFELY)
    except BROKEN as error:
        raise _without("tokenizer", str(error)) from error
    if not tokenizer.is_fast:
        raise unusable(
            "its tokenizer is none of the tokenizers library",
            "save it with a tokenizer.json",
        )
    tokenizer.truncation_side = "right"
    room_for = [
        most, tokenizer.model_max_length,
        getattr(config, "max_position_embeddings", None),
    ]  # fmt: skip
    limit = min(n for n in room_for if type(n) is int and 0 < n < _UNBOUNDED)
    pads = (getattr(config, "pad_token_id", None), tokenizer.pad_token_id, 0)
    pad = next(n for n in pads if type(n) is int and 0 <= n < n_tokens)
    return TextReader(tokenizer, limit, pad, n_tokens)


def image_reader(room: Path, /) -> ImageReader:
    """Return the reader of images that a checkpoint comes with.

    Raises
    ------
    UsageError
        E_EXTRACT where there is none.
    """
    try:
        processor = AutoImageProcessor.from_pretrained(
            room, backend="pil", **SAFELY
        )
    except BROKEN as error:
        raise _without("image processor", str(error)) from error
    return ImageReader(processor)


def _without(what: str, reason: str) -> UsageError:
    first = reason.strip().partition("\n")[0]
    return unusable(
        f"no {what} can be loaded: {printable(first)}",
        "a checkpoint needs its tokenizer.json or vocab.txt for texts, its"
        " preprocessor_config.json for images",
    )
