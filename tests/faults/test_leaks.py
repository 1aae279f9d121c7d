"""E8: two thousand checkpoints leave no files open, no threads, no memory."""

import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from tests.checkpoints import adapters

N_POPULATIONS, N_MODELS = 100, 20
MOST = 25 * 1024
"""Bytes a checkpoint."""

SOAK = """
    import gc, json, os, sys, threading
    from pathlib import Path
    import spectra
    from spectra.backend.memory import resident_bytes

    def state():
        gc.collect()
        names = [thread.name for thread in threading.enumerate()]
        return len(os.listdir("/proc/self/fd")), names, resident_bytes()

    populations = sorted(Path(sys.argv[1]).iterdir())
    run = Path(sys.argv[2])
    states = []
    for population in populations:
        fitted = spectra.fit(spectra.scan(population), run)
        spectra.overlap(fitted, bootstrap=100).save(run.parent / "report")
        run.unlink()
        del fitted
        states.append(state())
    print(json.dumps(states))
"""

SCAN = """
    import json, sys
    import spectra
    from spectra.backend.memory import resident_bytes
    spectra.scan(sys.argv[1] + "/p000")
    before = resident_bytes()
    catalog = spectra.scan(sys.argv[1])
    print(json.dumps([len(catalog), resident_bytes() - before]))
"""


@pytest.fixture(scope="module")
def populations(tmp_path_factory):
    """A hundred, of twenty adapters of 20 KiB."""
    folder = tmp_path_factory.mktemp("soak")
    for number in range(N_POPULATIONS):
        where = folder / f"p{number:03d}"
        if number < 5:
            adapters(where, [2] * N_MODELS, {"q": (600, 500), "v": (500, 700)},
                     seed=number)  # fmt: skip
        else:
            shutil.copytree(folder / f"p{number % 5:03d}", where)
    return folder


def found_by(code, *words):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_process_that_fits_two_thousand(populations, tmp_path):
    states = found_by(SOAK, populations, tmp_path / "run.h5")
    assert len(states) == N_POPULATIONS
    early, last = states[9], states[-1]
    assert last[:2] == early[:2]
    grown = last[2] - early[2]
    assert grown < MOST * N_MODELS * (N_POPULATIONS - 10)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"report"}


@pytest.mark.slow
def test_a_catalogue_of_two_thousand(populations):
    n_models, nbytes = found_by(SCAN, populations)
    assert n_models == N_POPULATIONS * N_MODELS
    assert nbytes < MOST * n_models
