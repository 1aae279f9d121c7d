"""Features of items by a network: from a checkpoint to a file."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectra.apply.extraction.asked import Asked, unusable
from spectra.apply.extraction.gathered import gathered
from spectra.apply.extraction.items import Items, images_of, texts_of
from spectra.core.errors import UsageError
from spectra.core.events import Observer, Progress
from spectra.core.provenance import installed_version, versions
from spectra.core.settings import as_json
from spectra.core.text import printable
from spectra.report.wording import n_of
from spectra.store.atomic import replacing
from spectra.store.featurefile import SCHEMA, FeatureFile, is_features
from spectra.store.outputs import check_output
from spectra.study.featured import Featured, featured, told
from spectra.weights.limits import limits_of_environment

__all__ = ["extract_features"]

_WINDOW = 16
"""Batches among which texts of like length are put together."""

_ENDINGS = (".h5", ".hdf5")

Document = dict[str, Any]


def extract_features(  # noqa: PLR0913 - one a question
    model: str,
    out: Path,
    asked: Asked,
    /,
    *,
    base: str | None = None,
    texts: Path | None = None,
    images: Path | None = None,
    on_event: Observer | None = None,
) -> Document:
    """Write what a network makes of items; return what was written.

    Parameters
    ----------
    model
        A SOURCE that is one checkpoint of transformers, or one adapter.
    out
        The file to write.
    asked
        Layers and poolings.
    base
        Of an adapter: the SOURCE that it was trained on.
    texts, images
        One of them: a file with a text a line, or a folder.
    on_event
        Told after each batch.

    Raises
    ------
    UsageError
        E_EXTRACT where the checkpoint cannot be used, E_ITEMS where the items
        cannot, E_EXTRA where a package is missing, E_OUTPUT.
    StorageError
        When it cannot be written; what was there before is as it was.
    """
    items = _items(texts, images)
    if out.suffix.lower() not in _ENDINGS:
        raise UsageError(
            "E_OUTPUT",
            f"{printable(str(out))} is no name of an HDF5 file",
            advice=f"end it with {_ENDINGS[0]}: align knows files by that",
        )
    check_output(out, is_ours=is_features)
    inputs, network = _parts()
    limits = limits_of_environment()
    with (
        featured(model, base, limits=limits) as source,
        network.quiet(),
        told(model if base is None else f"{model} on {base}"),
        gathered(*source.network, limits=limits) as room,
    ):
        net = network.open_network(room, items.kind, asked, source.adapter)
        reader = (
            inputs.text_reader(
                room, net.model.config, net.n_tokens, asked.max_tokens
            )
            if items.kind == "texts"
            else inputs.image_reader(room)
        )
        work = _Work(net, reader, items, asked.batch, on_event)
        return _written(out, work, asked, _about(source))


def _items(texts: Path | None, images: Path | None) -> Items:
    if texts is not None and images is None:
        return texts_of(texts)
    if images is not None and texts is None:
        return images_of(images)
    raise UsageError(
        "E_ITEMS",
        "features are either of texts or of images",
        advice="name --texts FILE or --images DIR",
    )


@dataclass(slots=True)
class _Work:
    """The items, by windows of some batches, and what became of them."""

    network: Any
    reader: Any
    items: Items
    batch: int
    on_event: Observer | None
    widths: dict[str, int] = field(default_factory=dict)
    digest: Any = None

    def windows(self) -> Iterator[tuple[int, dict[str, NDArray[Any]]]]:
        """Yield where rows begin, and the rows by dataset."""
        self.digest = sha256(self.items.kind.encode())
        ids, contents = self.items.ids, self.items.contents()
        size = self.batch * _WINDOW
        for start in range(0, len(ids), size):
            window = list(islice(contents, size))
            for content in window:
                self.digest.update(len(content).to_bytes(8, "little"))
                self.digest.update(content)
            read = self.reader.read(window, ids[start : start + size])
            if start == 0:
                self.network.require_repeatable(self.reader.batch(read[:2]))
            yield start, self._rows(start, read)

    def _rows(
        self, start: int, read: list[NDArray[Any]]
    ) -> dict[str, NDArray[Any]]:
        """Return the features of a window; the longest texts come first."""
        order = sorted(range(len(read)), key=lambda i: -len(read[i]))
        rows: dict[str, NDArray[Any]] = {}
        for first in range(0, len(order), self.batch):
            part = order[first : first + self.batch]
            found = self.network.pooled(
                self.reader.batch([read[i] for i in part])
            )
            for name, values in found.items():
                if name not in rows:
                    self.widths[name] = values.shape[1]
                    rows[name] = np.empty((len(read), values.shape[1]), "f4")
                rows[name][part] = values
            if self.on_event is not None:
                done = start + first + len(part)
                self.on_event(Progress("features", done, len(self.items.ids)))
        return rows

    def document(self, asked: Asked) -> Document:
        """Return what was asked for, and what was done."""
        network = type(self.network.model).__name__
        n, updated = len(self.items.ids), self.network.updated
        adapted = f", {n_of(len(updated), 'weight')} adapted" * bool(updated)
        layers = list(
            dict.fromkeys(name.split("/")[1] for name in self.widths)
        )
        return {
            "settings": as_json(asked),
            "network": network,
            "updated": list(updated),
            "unused": list(self.network.unused),
            "device": str(self.network.device),
            "kind": self.items.kind,
            "n_items": n,
            "n_skipped": self.items.n_skipped,
            "n_truncated": self.reader.n_truncated,
            "max_tokens": self.reader.limit,
            "items_sha256": self.digest.hexdigest(),
            "layers": [
                {"name": name, "width": width}
                for name, width in self.widths.items()
            ],
            "text": f"{network}{adapted}: {n_of(len(layers), 'layer')} of"
            f" {n_of(n, 'item')}",
        }


def _written(
    out: Path, work: _Work, asked: Asked, about: Document
) -> Document:
    """Write the file; return what is said of it."""
    ids = work.items.ids
    dtype = "float16" if asked.half else "float32"
    with replacing(out) as path, FeatureFile(path, len(ids), dtype) as file:
        for start, rows in work.windows():
            try:
                file.write(start, rows)
            except ValueError as error:
                raise unusable(
                    f"features of {error} are no finite numbers of {dtype}",
                    "compute in --dtype float32, without --half; or look at"
                    " the weights: spectra inspect MODEL",
                ) from error
        document = {**about, **work.document(asked)}
        file.describe({**document, "items": list(ids)})
    return document


def _about(source: Featured) -> Document:
    also = ("transformers", "tokenizers", "pillow")
    return {
        "schema": SCHEMA,
        **source.about(),
        "versions": versions()
        | {name: installed_version(name) or "" for name in also},
    }


def _parts() -> tuple[Any, Any]:
    try:
        from spectra.apply.extraction import inputs, network
    except ImportError as error:
        raise UsageError(
            "E_EXTRA",
            f"features needs torch, transformers and Pillow ({error})",
            advice="pip install 'hf-spectra[features]'",
        ) from error
    return inputs, network
