"""Folders without weights that we read, and what to do about them."""

from spectra.core.errors import Quarantine
from spectra.core.text import printable
from spectra.weights.folders import Folder
from spectra.weights.formats.raw import Format, RawCheckpoint
from spectra.weights.limits import Limits

__all__ = ["FOREIGN", "PICKLES", "REFUSED"]

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
FOREIGN = (".gguf", ".h5", ".hdf5", ".onnx", ".msgpack", ".npz", ".keras")

# The others keep their names: adapter_model, pytorch_lora_weights.
_STEMS = {"pytorch_model": "model"}


def _claims(_: Folder) -> bool:
    return True


def _read(folder: Folder, _: Limits) -> RawCheckpoint:
    pickles, foreign = folder.ending(*PICKLES), folder.ending(*FOREIGN)
    if pickles:
        first = printable(pickles[0], 80)
        raise Quarantine(
            "PICKLE_REFUSED",
            f"{first} may hold code and is not opened; convert it where you"
            " trust it: weights = torch.load(path, weights_only=True), then"
            " safetensors.torch.save_file(weights,"
            f" '{_converted(first)}')",
        )
    if foreign:
        raise Quarantine(
            "UNSUPPORTED_FORMAT",
            f"{printable(foreign[0], 80)} is not read; export the weights to"
            " safetensors",
        )
    raise Quarantine("NO_WEIGHTS", "holds no weights")


def _converted(pickle: str) -> str:
    """Return the name by which the formats know a file when it is safe."""
    stem = pickle.rpartition(".")[0]
    return f"{_STEMS.get(stem, stem or 'model')}.safetensors"


REFUSED = Format("not read", _claims, _read)
