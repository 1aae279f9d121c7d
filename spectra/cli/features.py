"""``spectra features``: what a network makes of texts or images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import spectra
from spectra.apply.extraction.asked import Asked
from spectra.cli import console, options
from spectra.core.settings import help_of

__all__ = ["command"]

_TOLD = {
    "n_truncated": "texts that were cut",
    "n_skipped": "skipped, empty lines or files that are no images",
}


def _asked(field: str, **more: Any) -> Any:
    name = f"--{field.replace('_', '-')}"
    return typer.Option(name, help=help_of(Asked, field), **more)


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A checkpoint of transformers, or an adapter of PEFT: its"
            " folder, or ORG/NAME[@REV] of a hub.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The HDF5 file to write.")
    ],
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REF",
            help="Of an adapter: the checkpoint that it was trained on.",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option("--texts", help="A file in UTF-8 with a text a line."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="A folder of images.")
    ] = None,
    pool: Annotated[list[str], _asked("pool", metavar="mean|last|first")] = [],
    layers: Annotated[list[str], _asked("layers", metavar="GLOB")] = [],
    batch: Annotated[int, _asked("batch", min=1)] = 16,
    max_tokens: Annotated[int, _asked("max_tokens", min=1)] = 512,
    device: Annotated[str, _asked("device")] = "auto",
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"], _asked("dtype")
    ] = "float32",
    half: Annotated[bool, _asked("half")] = False,
    token: options.Token = None,
    cap: options.Cap = [],
    json: options.Json = False,
) -> None:
    """Write every layer's hidden states of texts or images, for align.

    A network whose weights are not all in the checkpoint is refused, and no
    code that comes with one is run.

    Example: spectra features model/ --texts lines.txt -o model.h5
    """
    with console.observer("extracting") as watch:
        found = spectra.features(
            model, out, base=base, texts=texts, images=images, pool=pool,
            layers=layers, batch=batch, max_tokens=max_tokens, device=device,
            dtype=dtype, half=half, on_event=watch,
        )  # fmt: skip
    if json:
        console.document(found.document)
        return
    console.table(
        ("layer", "width"),
        [(layer["name"], str(layer["width"])) for layer in found.layers],
    )
    for key, what in _TOLD.items():
        if found.document[key]:
            console.say(f"{what}: {found.document[key]}")
    console.say(f"{found.text} -> {found.path}")
