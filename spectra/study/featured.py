"""What features are of: a network's checkpoint, or an adapter on its base."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from spectra.apply.extraction.adapter import Adapter, read_adapter
from spectra.apply.extraction.asked import unusable
from spectra.core.errors import Quarantine, UsageError
from spectra.core.text import printable
from spectra.hub.places import is_reference, places_of
from spectra.hub.session import open_hub
from spectra.weights.folders import Folder
from spectra.weights.formats import RawCheckpoint, read_checkpoint
from spectra.weights.limits import Limits
from spectra.weights.sources import Place, places

__all__ = ["Featured", "featured", "told"]

Document = dict[str, Any]
Described = tuple[Place, RawCheckpoint]


@dataclass(frozen=True, slots=True)
class Featured:
    """A network as it was asked for.

    Attributes
    ----------
    own
        The checkpoint that was named.
    base
        What it was trained on; None where it is no adapter.
    adapter
        What it changes in the base; None likewise.
    """

    own: Described
    base: Described | None = None
    adapter: Adapter | None = None

    @property
    def network(self) -> tuple[Folder, RawCheckpoint]:
        """Return the folder of the whole network, and what it holds."""
        place, raw = self.base or self.own
        return place.folder, raw

    def about(self) -> Document:
        """Return which checkpoint it is, and which base."""
        return {**_about(*self.own), "base": self.base and _about(*self.base)}


@contextmanager
def featured(
    model: str, base: str | None, /, *, limits: Limits
) -> Iterator[Featured]:
    """Give what features are of, for a ``with`` block.

    Parameters
    ----------
    model
        A SOURCE that is one checkpoint of transformers, or one adapter.
    base
        Of an adapter: the SOURCE that it was trained on.
    limits
        Caps on their files.

    Raises
    ------
    UsageError
        E_MODEL where one of them is none or several checkpoints, E_EXTRACT
        where it cannot be used, or is not what the other asks for.
    """
    with _checkpoint(model, limits) as own:
        place, raw = own
        if raw.adapter is None:
            if base is not None:
                raise unusable(
                    f"{printable(model)} is no adapter of PEFT, and --base is"
                    " what an adapter was trained on",
                    "leave --base out, or name an adapter",
                )
            _require_whole(model, own)
            yield Featured(own)
            return
        if base is None:
            raise _without_base(model, raw.adapter.base_model)
        with told(model):
            adapter = read_adapter(raw, place.folder.opener, limits=limits)
        with _checkpoint(base, limits) as below:
            _require_whole(base, below)
            yield Featured(own, below, adapter)


@contextmanager
def told(model: str, /) -> Iterator[None]:
    """Let a fault of a checkpoint end the command, in one line."""
    try:
        yield
    except Quarantine as fault:
        raise unusable(
            f"{printable(model)}: {fault.code}: {fault.detail}",
            "docs/codes.md says what to do about it",
        ) from fault


@contextmanager
def _checkpoint(model: str, limits: Limits) -> Iterator[Described]:
    """Give where the one checkpoint lies that a SOURCE is, for a block."""
    if not is_reference(model):
        yield _one(model, *places(model), limits)
        return
    with open_hub() as hub:
        found = _one(model, *places_of(hub, model, revision=None), limits)
        hub.fetch(found[1].files)
        yield found


def _one(
    model: str, found: tuple[Place, ...], faults: Any, limits: Limits
) -> Described:
    if len(found) != 1:
        reasons = "; ".join(f"{q.code}: {q.detail}" for q in faults)
        raise UsageError(
            "E_MODEL",
            f"{printable(model)} is {len(found)} checkpoints, not one"
            + (f" ({reasons})" if reasons else ""),
            advice="name one checkpoint's folder",
        )
    with told(model):
        raw = read_checkpoint(found[0].folder, limits=limits)
        for fault in raw.faults:
            raise Quarantine(fault.code, fault.detail)
    return found[0], raw


def _require_whole(model: str, found: Described) -> None:
    place, raw = found
    for is_so, what in (
        (raw.adapter is not None, "is an adapter itself"),
        ("config.json" not in place.folder.files, "has no config.json"),
        ("quantization_config" in raw.config, "is quantised"),
    ):
        if is_so:
            raise unusable(
                f"{printable(model)} {what}",
                "name a whole network of transformers in plain weights",
            )


def _without_base(model: str, claim: str | None) -> UsageError:
    says = "" if claim is None else f"; it says {printable(claim, 80)}"
    return unusable(
        f"{printable(model)} is an adapter",
        f"name what it was trained on with --base{says}",
    )


def _about(place: Place, raw: RawCheckpoint) -> Document:
    headers = sorted(file.header_sha256 for file in raw.files)
    return {
        "model": place.ids[0],
        "path": place.path,
        "revision": place.revision,
        "fingerprint": sha256("\n".join(headers).encode()).hexdigest(),
    }
