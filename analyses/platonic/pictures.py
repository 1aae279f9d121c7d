"""Emoji as pictures with names, and what networks make of them."""

import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from analyses.platonic.efficientnet import Lite0, trained, untrained
from analyses.platonic.materials import package

Matrix = NDArray[np.float64]
Images = Callable[[Sequence[str]], Matrix]

SIZE, CELL, SIDE = 109, 136, 224
WEIGHTS = "efficientnet-lite0-57934424.pth"


def drawn(character: str, file: Path) -> Image.Image | None:
    """Return an emoji on white, or None where the font has none."""
    face = ImageFont.truetype(file, SIZE)
    picture = Image.new("RGB", (CELL, CELL), "white")
    pen = ImageDraw.Draw(picture)
    pen.text((0, 0), character, font=face, embedded_color=True)
    colours = picture.getcolors(2)
    return None if colours and len(colours) == 1 else picture


def captioned(file: Path) -> dict[str, Image.Image]:
    """Return emoji by what Unicode calls them, without faces and clocks."""
    ranges = (range(0x1F300, 0x1F550), range(0x1F570, 0x1F600),
              range(0x1F680, 0x1F700), range(0x1F900, 0x1FB00))  # fmt: skip
    found = {}
    for code in (code for each in ranges for code in each):
        name = unicodedata.name(chr(code), "").lower()
        is_tone = 0x1F3FB <= code <= 0x1F3FF
        picture = drawn(chr(code), file) if name and not is_tone else None
        if picture is not None:
            found[name] = picture
    return found


def pixels(pictures: Sequence[Image.Image], side: int) -> NDArray[np.float32]:
    """Return images (n, side, side, 3) of numbers from 0 to 255."""
    small = [each.resize((side, side)) for each in pictures]
    return np.stack([np.asarray(each, np.float32) for each in small])


def features(model: Lite0, pictures: Sequence[Image.Image]) -> Matrix:
    found = []
    for start in range(0, len(pictures), 32):
        part = pixels(pictures[start : start + 32], SIDE)
        with torch.no_grad():
            x = torch.tensor(part).permute(0, 3, 1, 2)
            found.append(model.features(x).double().numpy())
    return np.concatenate(found)


def networks() -> dict[str, Lite0]:
    return {
        "EfficientNet": trained(package("EfficientNet") / WEIGHTS),
        "the same, untrained": untrained(),
    }


def seen(pictures: Sequence[Image.Image]) -> dict[str, Matrix]:
    """Return what each network makes of pictures, and 8 x 8 thumbnails."""
    parts = {
        name: features(model, pictures) for name, model in networks().items()
    }
    return parts | {"thumbnails": thumbnails(pictures)}


def thumbnails(pictures: Sequence[Image.Image]) -> Matrix:
    flat = pixels(pictures, 8).reshape(len(pictures), -1)
    return (255 - flat).astype(np.float64)
