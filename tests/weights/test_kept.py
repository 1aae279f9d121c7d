"""Maps kept between two uses, in memory and on a disk."""

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from spectra.core.errors import StorageError
from spectra.weights.kept import KeptMaps, keeping
from tests import checkpoints

RNG = np.random.default_rng(5)
DTYPES = checkpoints.DTYPES | {"F8_E4M3": ml_dtypes.float8_e4m3fn}


@pytest.fixture(params=["memory", "disk"])
def folder(request, tmp_path) -> Path | None:
    return tmp_path / "spill" if request.param == "disk" else None


def test_entries_are_those_that_were_added(folder):
    half = RNG.standard_normal(50).astype(np.float16)
    single = RNG.standard_normal(50).astype(np.float32)
    base = RNG.standard_normal(50)
    with keeping(300, folder=folder) as store:
        maps = KeptMaps(store, np.float64, base)
        maps.add(half.view(np.uint8), "F16", 50)
        maps.add(single.view(np.uint8), "F32", 50)
        assert len(maps) == 2
        for row, stored in enumerate((half, single)):
            expected = stored.astype(np.float64) - base
            assert (maps.entries(row, 0, 50) == expected).all()
            assert (maps.entries(row, 7, 31) == expected[7:31]).all()


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "base"])
@pytest.mark.parametrize(
    "stored",
    ["F32 F32 F32", "F32 F16 F16 F32", "F64 F8_E4M3 F8_E4M3", "BF16"],
)
def test_a_block_has_the_entries_of_every_map(folder, stored, beside):
    base = RNG.standard_normal(50).astype(np.float32) if beside else None
    with keeping(2000, folder=folder) as store:
        maps = KeptMaps(store, np.float32, base)
        for dtype in stored.split():
            row = RNG.standard_normal(50).astype(DTYPES[dtype])
            maps.add(row.view(np.uint8), dtype, 50)
        out = np.full((len(maps) + 1, 40), -1, np.float32)
        for start, stop in ((0, 40), (7, 31)):
            block = out[:-1, : stop - start]
            maps.fill(start, stop, block)
            for i, row in enumerate(block):
                assert (row == maps.entries(i, start, stop)).all()
        assert (out[-1] == -1).all()


def test_words_are_given_as_they_are_stored(folder):
    words = RNG.integers(0, 2**16, (3, 50), np.uint16)
    with keeping(300, folder=folder) as store:
        maps = KeptMaps(store, np.float32, np.ones(50, np.float32))
        for row in words:
            maps.add(row.view(np.uint8), "BF16", 50)
        out = np.zeros((3, 24), np.uint16)
        maps.fill_stored(7, 31, out)
        assert (out == words[:, 7:31]).all()


def test_blocks_do_not_share_their_memory(folder):
    stored = RNG.standard_normal(40).astype(np.float32)
    with keeping(160, folder=folder) as store:
        maps = KeptMaps(store, np.float32, None)
        maps.add(stored.view(np.uint8), "F32", 40)
        first = maps.entries(0, 0, 20)
        maps.entries(0, 20, 40)[:] = 0
        assert (first == stored[:20]).all()
        assert (maps.entries(0, 20, 40) == stored[20:]).all()


def test_the_file_has_no_name(tmp_path):
    with keeping(100, folder=tmp_path / "spill") as store:
        store.write(0, np.arange(100, dtype=np.uint8))
        assert not list((tmp_path / "spill").iterdir())
        assert store.read(10, 3).tolist() == [10, 11, 12]


def small_disk(path: Path, size: str) -> Callable[[], None]:
    """Mount a small disk and return how to take it away."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    done = subprocess.run(mount, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted: {done.stderr.decode()}")
    return lambda: subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_is_told_before_and_while_writing(tmp_path, monkeypatch):
    unmount = small_disk(tmp_path / "disk", "1m")
    try:
        spill = tmp_path / "disk" / "spill"
        with (
            pytest.raises(StorageError, match=r"are needed.*SPECTRA_CACHE"),
            keeping(1000, folder=spill),
        ):
            pytest.fail("there is no room")
        monkeypatch.setattr("spectra.weights.kept._SPARE", 0)
        with (
            pytest.raises(StorageError) as caught,
            keeping(1000, folder=spill) as store,
        ):
            store.write(0, np.zeros(2**21, np.uint8))
        assert caught.value.code == "E_DISK_FULL"
    finally:
        unmount()


KILLED = """
    import os, signal, sys
    from pathlib import Path
    import numpy as np
    from spectra.weights.kept import keeping
    with keeping(2**20, folder=Path(sys.argv[1])) as store:
        store.write(0, np.ones(2**20, np.uint8))
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path)],
        check=False,
    )
    assert done.returncode < 0
    assert not list(tmp_path.iterdir())
