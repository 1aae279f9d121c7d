"""What features are extracted of: lines of a file, or images of a folder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from spectra.core.errors import UsageError
from spectra.core.text import natural, printable

__all__ = ["IMAGES", "Items", "images_of", "texts_of"]

IMAGES = {
    ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp",
}  # fmt: skip
"""Endings of files that are taken for images."""


@dataclass(frozen=True, slots=True)
class Items:
    """Items in the order of their rows.

    Attributes
    ----------
    ids
        Numbers of lines, from 1; names of files.
    n_skipped
        Lines with nothing in them; files that are no images by their names.
    contents
        Gives the bytes of each: a text in UTF-8, an image's file.
    """

    kind: Literal["texts", "images"]
    ids: tuple[str, ...]
    n_skipped: int
    contents: Callable[[], Iterator[bytes]]


def texts_of(path: Path, /) -> Items:
    """Return the lines of a file that have something in them.

    Raises
    ------
    UsageError
        E_ITEMS where it cannot be read, is not UTF-8, or has none.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refused(
            f"{printable(str(path))} is not UTF-8 in line {line}",
            "write one text a line, in UTF-8",
        ) from error
    # By "\n" alone: splitlines() would cut a text at a form feed.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()
    kept = {n: line for n, line in enumerate(lines, 1) if line.strip()}
    if not kept:
        raise _refused(
            f"{printable(str(path))} holds no text", "write one text a line"
        )
    return Items(
        "texts",
        tuple(map(str, kept)),
        len(lines) - len(kept),
        lambda: (line.encode() for line in kept.values()),
    )


def images_of(folder: Path, /) -> Items:
    """Return the images of a folder in the natural order of their names.

    Raises
    ------
    UsageError
        E_ITEMS where it cannot be read or has none; `contents` the same, of
        a file.
    """
    try:
        files = [each for each in folder.iterdir() if each.is_file()]
    except OSError as error:
        raise _unreadable(folder, error) from error
    images = [each for each in files if each.suffix.lower() in IMAGES]
    images.sort(key=lambda each: (natural(each.name), each.name))
    if not images:
        raise _refused(
            f"{printable(str(folder))} holds no image",
            f"they are known by their endings: {', '.join(sorted(IMAGES))}",
        )
    return Items(
        "images",
        tuple(each.name for each in images),
        len(files) - len(images),
        lambda: map(_content, images),
    )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> UsageError:
    reason = error.strerror or type(error).__name__
    return _refused(f"{printable(str(path))}: {reason}", "name what is there")


def _refused(what: str, advice: str) -> UsageError:
    return UsageError("E_ITEMS", what, advice=advice)
