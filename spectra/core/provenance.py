"""Which versions made a result."""

import platform
from functools import cache

__all__ = ["installed_version", "version", "versions"]

_PACKAGES = (
    "numpy", "scipy", "h5py", "safetensors", "ml_dtypes", "array-api-compat",
    "huggingface_hub", "torch", "cupy-cuda12x", "cupy-cuda13x",
)  # fmt: skip


def installed_version(distribution: str, /) -> str | None:
    """Return the version of an installed distribution, or None."""
    from importlib import metadata

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def version() -> str:
    """Return spectra's own version; looking it up takes 20 ms."""
    return installed_version("hf-spectra") or "0+unknown"


def versions() -> dict[str, str]:
    """Return spectra's, Python's and each installed dependency's version."""
    found = {name: installed_version(name) for name in _PACKAGES}
    return {
        "spectra": version(),
        "python": platform.python_version(),
        **{name: number for name, number in found.items() if number},
    }
