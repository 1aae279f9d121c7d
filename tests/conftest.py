"""What all tests have in common: threads, Hypothesis, real populations."""

import os
import tarfile
from pathlib import Path

import pytest

# Before NumPy loads its BLAS: sums in one order, times of one core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("spectra", derandomize=True, deadline=None)
settings.load_profile("spectra")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def populations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of real populations, or skip where there is none.

    They lie beside the checkout, or where ``$SPECTRA_POPULATIONS`` says: the
    archive, or the folder it was unpacked to.
    """
    default = ROOT.parent / "shared" / "data" / "populations.tar.xz"
    source = Path(os.environ.get("SPECTRA_POPULATIONS") or default)
    if source.is_dir():
        return source
    if not source.is_file():
        pytest.skip(
            "the real populations are not here: no shared/data beside the"
            " checkout, and SPECTRA_POPULATIONS names no archive or folder"
        )
    folder = tmp_path_factory.mktemp("populations")
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    return folder
