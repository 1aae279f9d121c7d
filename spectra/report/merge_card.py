"""The model card of a merged adapter, or of a merged checkpoint."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from spectra.apply.merging.choice import OPTIONS
from spectra.core.text import printable
from spectra.report.marks import table, text
from spectra.report.wording import n_of

__all__ = ["interference_text", "merge_card"]

_MOST = 20
"""A card lists this many layers, those that lost most; the JSON lists all."""

_SPACES = {
    "core": (
        "- entries were compared in the core space (Panariello et al. 2025),"
        " along the axes of the factors"
    ),
    "dense": "- entries were compared in the layers' own coordinates",
}

_TRIMS = {
    "layer": (
        "- the share of entries was kept in each layer, as in the code of"
        " Panariello et al. (2025)"
    ),
    "model": (
        "- the share of entries was kept over all layers together, as in the"
        " code of the method's authors"
    ),
}

Document = Mapping[str, Any]


def merge_card(document: Document, base: str | None, /) -> str:
    """Return the README.md of what was merged.

    Parameters
    ----------
    document
        What ``spectra merge --json`` prints.
    base
        The base model, where all parents name one.
    """
    return "\n".join(_lines(document, base)) + "\n"


def _lines(found: Document, base: str | None) -> Iterator[str]:
    yield from ("---", *_front(found, base), "---", "")
    n = len(found["models"])
    yield from (
        f"# {n} {_kind(found)} merged by {text(found['method'])}",
        "",
        f"{text(found['cite'])}. The method is {text(found['note'])}.",
        "",
        *(f"- {text(note)}" for note in found["notes"]),
        *([""] if found["notes"] else []),
        "## Parents",
        "",
    )
    rows = (
        (
            text(model["id"]), text(model["revision"]),
            text(model["license"]), text(model["base_claim"]),
            "–" if model["weight"] is None else f"{model['weight']:g}",
        )
        for model in found["models"]
    )  # fmt: skip
    titles = ("Parent", "Revision", "Licence", "Base model", "Weight")
    yield from table(titles, rows, n_text=4)
    yield from ("", "Licences and base models are what the parents say.", "")
    settings = list(_settings(found))
    if settings:
        yield from ("## Settings", "", *settings, "")
    if _is_full(found):
        yield from ("## What is in it", "", *_full(found), "")
    else:
        yield from ("## What the rank cost", "", *_errors(found), "")
    if found["interference"] is not None:
        yield from ("## Interference", "", text(
            interference_text(found["interference"])
        ), "")  # fmt: skip
    left_out = [*found["left_out"], *found["quarantine"]]
    if left_out:
        yield from ("## Left out", "", *_left_out(left_out), "")
    yield f"Made by spectra {text(found['version'])}."


def _front(found: Document, base: str | None) -> Iterator[str]:
    """Yield the front matter; JSON strings are YAML too."""
    if base is not None:
        yield f"base_model: {_quoted(base)}"
    licenses = {model["license"] for model in found["models"]}
    (license_, *others) = licenses
    if license_ is not None and not others:
        yield f"license: {_quoted(license_)}"
    is_full = _is_full(found)
    yield f"library_name: {'transformers' if is_full else 'peft'}"
    yield from ("tags:", *([] if is_full else ["- lora"]))
    yield from ("- merge", "- spectra")


def _is_full(found: Document) -> bool:
    """Return whether full weights were merged: they have no rank."""
    return found["rank"] is None


def _kind(found: Document) -> str:
    return "checkpoints" if _is_full(found) else "LoRA adapters"


def _quoted(value: str) -> str:
    return json.dumps(printable(value, 1000), ensure_ascii=False)


def _settings(found: Document) -> Iterator[str]:
    for option in OPTIONS:
        if option.name in found["options"] and option.name != "weights":
            yield f"- `{option.flag} {found['options'][option.name]}`"
    if not _is_full(found):
        yield f"- `--rank {found['rank']}`, which is `lora_alpha` too: scale 1"
    if found["dtype"] is not None:
        yield f"- stored as {text(found['dtype'])}"
    yield from _choices(found["options"], is_full=_is_full(found))


def _choices(options: Document, *, is_full: bool) -> Iterator[str]:
    """Yield which of the published ways it was."""
    if "space" in options and not is_full:
        yield _SPACES[options["space"]]
    if "trim" in options:
        yield _TRIMS[options["trim"]]


def _full(found: Document) -> Iterator[str]:
    """Yield what was merged into a checkpoint, and what was not."""
    first, base = text(found["models"][0]["id"]), found["base"]
    yield (
        f"- {n_of(len(found['layers']), 'tensor')} of all parents"
        + (f", less {text(base['id'])}, which was added again" if base else "")
        + f"; names, dtypes, configuration and vocabulary are those of {first}"
    )
    if found["averages_vectors"]:
        yield "- what is no matrix was averaged"
    if base:
        rows = (
            (text(m["id"]), "–" if m["moved"] is None else f"{m['moved']:.2e}")
            for m in found["models"]
        )
        titles = ("Parent", "Distance from the base, relative to its norm")
        yield from ("", *table(titles, rows, n_text=1))
    kept = found["kept"]
    if kept:
        yield from ("", f"{n_of(len(kept), 'tensor')} not merged:", "")
        rows = ((text(k["tensor"]), text(k["id"])) for k in kept[:_MOST])
        yield from table(("Tensor", "Kept as in"), rows, n_text=2)
        if len(kept) > _MOST:
            yield f"\n{len(kept) - _MOST} more; the JSON lists all."


def _errors(found: Document) -> Iterator[str]:
    layers = sorted(found["layers"], key=lambda row: -row["error"])
    yield (
        f"Error relative to the merge before its rank was reduced:"
        f" {found['error']:.2e} over {n_of(len(layers), 'layer')}."
    )
    yield ""
    rows = (
        (text(row["name"]), f"{row['norm']:.3g}", f"{row['error']:.2e}")
        for row in layers[:_MOST]
    )
    yield from table(("Layer", "Norm", "Error"), rows, n_text=1)
    if len(layers) > _MOST:
        yield f"\n{len(layers) - _MOST} more have no larger error."


def _left_out(records: list[Document]) -> Iterator[str]:
    rows = (
        (text(each["id"]), text(each["layer"]), text(each["code"]),
         text(each["detail"]))
        for each in records[:_MOST]
    )  # fmt: skip
    titles = ("Parent", "Layer", "Code", "Why")
    yield from table(titles, rows, n_text=4)
    if len(records) > _MOST:
        yield f"\n{len(records) - _MOST} more were left out."


def interference_text(found: Document, /) -> str:
    """Return a summary of what `spectra merge --interference` measured."""
    said = f"singular task interference {found['sti']:.3g}"
    if found["most"] is not None:
        one, other = (printable(each) for each in found["most"])
        most = max(max(row) for row in found["pairs"])
        said += f", most of a pair {most:.3g} between {one} and {other}"
    if found["sar_mean"] is not None:
        said += f"; mean subspace alignment ratio {found['sar_mean']:.2f}"
    return f"{said} ({found['cite']})"
