"""E1, E2: a layer that takes too much costs itself, and no other.

Rows of the catalogue of faults. The plain design that meets them: layers are
threads of one process, so what kills one kills all; the journal has the others
by then, and a mark at what was under way, which is tried alone.
"""

import json
import os
import resource
import signal
import subprocess
import sys

import pytest

import spectra
from spectra.store.journal import work_folder
from tests.checkpoints import adapters, dense

NAMES = [f"l{i}" for i in range(8)]

DIES = """
import os, signal, sys
from spectra.study import each
from spectra.cli.main import run

real = each.fit_layer


def dies(task, how):
    if task.key.name == os.environ["AT"]:
        os.kill(os.getpid(), int(os.environ["SIGNAL"]))
        signal.pause()
    print("fitted", task.key.name, file=sys.stderr)
    return real(task, how)


each.fit_layer = dies
run()
"""


@pytest.fixture
def population(tmp_path):
    folder, _ = adapters(
        tmp_path / "p", [2, 3, 2, 4], dict.fromkeys(NAMES, (14, 11))
    )
    return folder


def fit(population, run, at="", number=signal.SIGSEGV):
    """Fit in a process that a signal ends at one layer."""
    return subprocess.run(
        [sys.executable, "-c", DIES, "fit", str(population), "-o", str(run),
         "--workers", "2", "--json"],
        env=os.environ | {"AT": at, "SIGNAL": str(int(number))},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


def begun(done):
    lines = done.stderr.splitlines()
    return [line[7:] for line in lines if line.startswith("fitted ")]


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL])
def test_e2_what_kills_four_processes_is_poison(population, tmp_path, number):
    run, once = tmp_path / "run.h5", tmp_path / "once.h5"
    first = fit(population, run, "l3", number)
    assert first.returncode == -number
    twice = set()
    for _ in range(3):
        done = fit(population, run, "l3", number)
        assert done.returncode == -number
        twice |= set(begun(done))
    done = fit(population, run, "l3", number)
    assert done.returncode == 3
    twice |= set(begun(first)) & set(begun(done))
    # What the other worker was at; the rest waited until all was well.
    assert len(twice) <= 1
    (record,) = json.loads(done.stdout)["quarantine"]
    assert (record["layer"], record["code"]) == ("l3", "POISON")
    spectra.fit(spectra.scan(population), once)
    found = {layer.name: layer for layer in spectra.load(run).value.layers}
    assert list(found) == [name for name in NAMES if name != "l3"]
    for layer in spectra.load(once).value.layers:
        if layer.name != "l3":
            assert (found[layer.name].inner == layer.inner).all()
    # Whoever has mended the cause fits again.
    run.unlink()
    assert fit(population, run).returncode == 0
    assert run.read_bytes() == once.read_bytes()


def test_e2_a_death_that_is_not_its_fault_changes_nothing(
    population, tmp_path
):
    run, once = tmp_path / "run.h5", tmp_path / "once.h5"
    for at in ("l1", "l5", "l7"):
        assert fit(population, run, at, signal.SIGKILL).returncode == -9
    assert fit(population, run).returncode == 0
    spectra.fit(spectra.scan(population), once)
    assert run.read_bytes() == once.read_bytes()


def test_e2_whoever_stops_a_fit_blames_no_layer(population, tmp_path):
    run = tmp_path / "run.h5"
    for _ in range(5):
        assert fit(population, run, "l3", signal.SIGINT).returncode == 130
        assert not list(work_folder(run).glob("begun.*"))
    assert fit(population, run).returncode == 0


def test_e1_what_is_refused_memory_is_tried_alone(
    population, tmp_path, monkeypatch
):
    """Twice refused it is set aside; once, it is as if nothing had been."""
    from spectra.study import each

    real, tries = each.fit_layer, []

    def refused(task, how):
        tries.append(task.key.name)
        if task.key.name == "l2" and tries.count("l2") <= times:
            raise MemoryError("no room for 9 GiB")
        return real(task, how)

    monkeypatch.setattr(each, "fit_layer", refused)
    once = tmp_path / "once.h5"
    times = 0
    spectra.fit(spectra.scan(population), once)
    for times, out in ((1, tmp_path / "run.h5"), (2, tmp_path / "lacks.h5")):
        tries.clear()
        run = spectra.fit(spectra.scan(population), out, workers=2)
        assert tries[-1] == "l2"
        assert sorted(tries) == sorted([*NAMES, "l2"])
        assert (out.read_bytes() == once.read_bytes()) == (times == 1)
        codes = [record.code for record in run.value.quarantine]
        assert codes == ["LIMIT_MEMORY"] * (times == 2)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Return a population with one large layer, and its run file's bytes."""
    folder = tmp_path_factory.mktemp("large")
    members, _, _ = dense(folder, 6, {"w": (1500, 1200), "v": (40, 30)})
    spectra.fit(spectra.scan(members), folder / "run.h5")
    return members, (folder / "run.h5").read_bytes()


@pytest.mark.parametrize(
    "mib", [300, 320, 340, 360, 380, 400, 420, 440, 480, 600, 1000, 4096]
)
@pytest.mark.slow
def test_e1_an_address_space_of_any_size(large, tmp_path, mib):
    """The same bits, a layer set aside, or no memory: never a traceback."""
    members, expected = large
    run = tmp_path / "run.h5"
    done = subprocess.run(
        [sys.executable, "-m", "spectra", "fit", str(members), "-o", str(run)],
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
        preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_AS, (mib * 2**20, mib * 2**20)
        ),
    )  # fmt: skip
    assert done.returncode in (0, 3, 8), done.stderr
    assert "Traceback" not in done.stderr
    if done.returncode == 0:
        assert run.read_bytes() == expected
    elif done.returncode == 3:
        layers = spectra.load(run).value.layers
        assert [layer.name for layer in layers] == ["v"]
        assert "spectra: LIMIT_MEMORY: " in done.stderr
    else:
        assert "spectra: E_MEMORY: " in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 0 or mib < 1000
