"""Where spectra may keep files between runs."""

import os
from pathlib import Path

from spectra.core.errors import UsageError

__all__ = ["cache_folder"]

_CHECKOUT = Path(__file__).resolve().parents[2]


def cache_folder() -> Path:
    """Return the folder of the cache, which need not be there yet.

    ``$SPECTRA_CACHE``; else ``cache/`` of the checkout that the package runs
    from; else ``$XDG_CACHE_HOME/spectra``; else ``~/.cache/spectra``.

    Raises
    ------
    UsageError
        E_CACHE where none is named and there is no home folder.
    """
    if named := os.environ.get("SPECTRA_CACHE"):
        return _absolute(named)
    if _is_ours(_CHECKOUT):
        return _CHECKOUT / "cache"
    # A relative path is to be ignored, says the XDG specification.
    shared = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if shared.is_absolute():
        return shared / "spectra"
    return _absolute("~/.cache/spectra")


def _is_ours(checkout: Path) -> bool:
    """Return whether a folder is a checkout of spectra we may write in."""
    return (
        (checkout / "pyproject.toml").is_file()
        and (checkout / "cache" / "README.md").is_file()
        and os.access(checkout / "cache", os.W_OK)
    )


def _absolute(text: str) -> Path:
    # The system's own expanduser leaves a ~ that it knows no home for.
    path = os.path.expanduser(text)  # noqa: PTH111 - as said
    if path.startswith("~"):
        raise UsageError(
            "E_CACHE",
            f"there is no home folder for the cache {text}",
            advice="set SPECTRA_CACHE to a folder for it",
        )
    return Path(os.path.abspath(path))  # noqa: PTH100 - links stay
