"""Which folders of a tree are checkpoints: one rule for disks and hubs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spectra.core.errors import Quarantine
from spectra.weights.folders import LEADS_OUTSIDE, Folder
from spectra.weights.formats.full import SHARD_NAME
from spectra.weights.formats.refused import FOREIGN, PICKLES

__all__ = ["CONFIGS", "STANDARD", "WEIGHTS", "Found", "Spot", "search"]

WEIGHTS = ".safetensors"
STANDARD = (
    "model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "adapter_model.safetensors",
    "pytorch_lora_weights.safetensors",
)
CONFIGS = ("config.json", "adapter_config.json")

_INDEX = ".safetensors.index.json"
_DEEPEST = 64

Steps = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one checkpoint lies in a tree.

    Attributes
    ----------
    steps
        Folder names from the root.
    file
        Name of the file where the folder holds others too, else "".
    folder
        Its files, and no file of another checkpoint.
    """

    steps: Steps
    file: str
    folder: Folder

    @property
    def stem(self) -> str:
        """Return what tells it from others in its folder."""
        shard = SHARD_NAME.fullmatch(self.file)
        return shard["stem"] if shard else self.file.removesuffix(WEIGHTS)


@dataclass(frozen=True, slots=True)
class Found:
    """Checkpoints in order of path, and folders that were set aside."""

    spots: tuple[Spot, ...] = ()
    faults: tuple[tuple[Steps, Quarantine], ...] = ()


def search(listed: Callable[[Steps], Folder], steps: Steps = (), /) -> Found:
    """Return the checkpoints in and below a folder.

    A checkpoint's folder is not searched further.

    Parameters
    ----------
    listed
        Gives the folder at some steps from the root, or raises Quarantine.
    steps
        Where to begin.
    """
    try:
        folder = listed(steps)
    except Quarantine as fault:
        return Found(faults=((steps, fault),))
    if len(steps) >= _DEEPEST:
        deep = Quarantine("SOURCE_UNREADABLE", f"over {_DEEPEST} folders deep")
        return Found(faults=((steps, deep),))
    below = [search(listed, (*steps, name)) for name in folder.folders]
    spots = tuple(spot for found in below for spot in found.spots)
    faults = tuple(fault for found in below for fault in found.faults)
    if _is_checkpoint(folder, has_below=bool(spots)):
        return Found((Spot(steps, "", folder),))
    outside = tuple(
        ((*steps, name), Quarantine("SOURCE_OUTSIDE", LEADS_OUTSIDE))
        for name in folder.outside
    )
    return Found((*_strays(folder, steps), *spots), outside + faults)


def _is_checkpoint(folder: Folder, *, has_below: bool) -> bool:
    """Return whether the files of a folder are one checkpoint.

    Beside folders with weights, weights without a configuration are members
    of a population like those; with one, the folders below are its parts.
    """
    weights = folder.ending(WEIGHTS)
    described = any(name in folder.files for name in CONFIGS)
    if described or folder.ending(_INDEX):
        return bool(weights) or not has_below
    if has_below:
        return False
    if weights:
        return any(name in folder.files for name in STANDARD)
    return bool(folder.ending(*PICKLES, *FOREIGN))


def _strays(folder: Folder, steps: Steps) -> Iterator[Spot]:
    """Return each file of weights, numbered shards together, as a spot."""
    weights = folder.ending(WEIGHTS)
    shards = {name: SHARD_NAME.fullmatch(name) for name in weights}
    together: dict[tuple[bool, str], list[str]] = {}
    for name, shard in shards.items():
        stem = shard["stem"] if shard else name
        together.setdefault((shard is not None, stem), []).append(name)
    for names in together.values():
        yield Spot(steps, names[0], folder.only(*names))
