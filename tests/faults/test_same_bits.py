"""D9, C8, F7: the same input and settings are the same bits.

Whatever the number of workers, the order of the sources, the locale, the seed
of Python's hashes, and however often it was stopped in between.
"""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

import spectra
from tests.checkpoints import adapters, write_dense
from tests.faults.fitting import NAMES, Forks, made

RESULTS = ("run.h5", "report.json", "layers.csv", "models.csv", "pairs.csv",
           "report.html", "report.md")  # fmt: skip


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bits")
    adapters(folder / "p", [2, 3, 4, 2, 3, 2],
             {"q": (14, 11), "v": (9, 20)})  # fmt: skip
    return folder / "p"


def run(folder, *sources, workers=1, **environment):
    """Return one hash of every result but the catalogue's list of sources."""
    command = [sys.executable, "-m", "spectra", "run", *map(str, sources),
               "-o", str(folder), "--workers", str(workers)]  # fmt: skip
    subprocess.run(
        command, check=True, capture_output=True, env=os.environ | environment
    )
    digest = hashlib.sha256()
    for name in RESULTS:
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_one_hash_of_the_results(population, tmp_path):
    members = sorted(population.iterdir())
    plain = {"LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"}
    hashes = {
        f"{workers} workers": run(
            tmp_path / f"w{workers}", population, workers=workers, **plain
        )
        for workers in (1, 2, 4)
    }
    orders = (members, members[::-1], members[3:] + members[:3])
    hashes |= {
        f"order {number}": run(tmp_path / f"o{number}", *order, **plain)
        for number, order in enumerate(orders)
    }
    for locale in ("C", "tr_TR.UTF-8"):
        for seed in ("1", "77"):
            name = f"{locale} {seed}"
            hashes[name] = run(
                tmp_path / name, population, workers=2,
                LC_ALL=locale, PYTHONHASHSEED=seed,
            )  # fmt: skip
    assert len(set(hashes.values())) == 1, hashes


@pytest.mark.slow
@pytest.mark.parametrize("n_kept", [1, 3, 6, 9, 11])
def test_stopped_after_so_many_layers(tmp_path, n_kept):
    """Killed as soon as it says that a layer is kept, then run again."""
    (tmp_path / "made").mkdir()
    fitting = made(tmp_path / "made")
    forks, path = Forks(fitting), tmp_path / "run" / "run.h5"
    path.parent.mkdir()
    lines = forks.killed_at(path, n_kept, workers=1)
    forks.close()
    assert lines[:n_kept] == NAMES[:n_kept]
    fitting.check_resumed(path, lines)


def test_the_sizes_of_blocks_do_not_matter(tmp_path, monkeypatch):
    """Full weights, with much memory and with little."""
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    draw = np.random.default_rng(0)
    for i in range(6):
        write_dense(
            tmp_path / "p" / f"m{i}",
            {f"l{j}": draw.standard_normal((160, 300)) for j in range(3)},
        )
    catalog = spectra.scan(tmp_path / "p")
    found = set()
    for workers in (1, 2, 4):
        for memory in (2**32, 2**29):
            path = tmp_path / f"{workers}-{memory}.h5"
            spectra.fit(catalog, path, workers=workers, memory=memory)
            found.add(path.read_bytes())
    assert len(found) == 1
