"""Which versions made a result."""

import platform
from importlib import metadata

__all__ = ["VERSION", "installed_version", "versions"]

_PACKAGES = (
    "numpy", "scipy", "h5py", "safetensors", "ml_dtypes", "array-api-compat",
    "huggingface_hub", "torch", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip


def installed_version(distribution: str, /) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


VERSION = installed_version("hf-spectra") or "0+unknown"


def versions() -> dict[str, str]:
    """Return spectra's, Python's and each installed dependency's version."""
    found = {name: installed_version(name) for name in _PACKAGES}
    return {
        "spectra": VERSION,
        "python": platform.python_version(),
        **{name: number for name, number in found.items() if number},
    }
