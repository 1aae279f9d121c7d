"""A real scheduler and real workers: the run of one process, bit for bit."""

import hashlib
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from distributed import Client

import spectra
from spectra.backend.memory import resident_bytes
from spectra.core.errors import BudgetError, UsageError
from spectra.core.settings import FitSettings
from spectra.store.journal import work_folder
from spectra.study import cluster
from spectra.study.cluster import connected
from spectra.study.remote import fit_unit, told
from spectra.study.tasks import work_of
from tests.checkpoints import adapters, dense
from tests.cluster.machines import finished, fitting, until, wait_for

SLOW = {f"h.{i}.weight": (160, 120) for i in range(24)}
"""Layers that take a while, so that something can happen meanwhile."""


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Return a folder, and the digest of its run by one process."""
    place = tmp_path_factory.mktemp("population")
    folder, _, _ = dense(place / "p", 40, SLOW)
    spectra.fit(spectra.scan(folder), place / "one.h5", workers=1)
    return folder, digest(place / "one.h5")


@pytest.fixture(scope="module")
def many_kinds(tmp_path_factory):
    """Return a catalogue of both kinds of layers, copies and broken ones."""
    place = tmp_path_factory.mktemp("kinds")
    folder, _, _ = dense(place / "d", 5, {"a.weight": (20, 16), "b": (9, 20)})
    first = min(folder.iterdir()) / "model.safetensors"
    copy = folder / "copy"
    copy.mkdir()
    (copy / "model.safetensors").write_bytes(first.read_bytes())
    adapters(place / "a", [3, 2, 4, 3], {"q": (20, 16), "v": (12, 9)})
    return spectra.scan(folder, place / "a")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"precision": "f64", "save_directions": True, "rank": 3},
        {"metrics": True, "recipe": ("model-axis",)},
    ],
)
def test_a_cluster_computes_the_same_bits(
    machines, many_kinds, tmp_path, settings
):
    spectra.fit(many_kinds, tmp_path / "one.h5", **settings)
    spectra.fit(
        many_kinds, tmp_path / "two.h5", scheduler=machines.address, **settings
    )
    assert digest(tmp_path / "two.h5") == digest(tmp_path / "one.h5")


def test_with_a_base_and_in_memory(machines, tmp_path):
    shapes = {"h.0.weight": (14, 12), "h.1.weight": (12, 14)}
    folder, _, _ = dense(tmp_path / "d", 6, shapes)
    base, *others = sorted(path for path in folder.iterdir())
    catalog = spectra.scan(*others)
    one = spectra.fit(catalog, base=base)
    two = spectra.fit(catalog, base=base, scheduler=machines.address)
    for a, b in zip(one.value.layers, two.value.layers, strict=True):
        assert (a.kind, a.base_digest) == ("difference", b.base_digest)
        np.testing.assert_array_equal(a.inner, b.inner)
        np.testing.assert_array_equal(a.base.values, b.base.values)


@pytest.mark.slow
def test_processes_of_this_machine(population, tmp_path):
    folder, expected = population
    with fitting(
        tmp_path / "run.h5", folder, "--scheduler", "local", "--workers", 2,
        after=0,
    ) as driver:  # fmt: skip
        code, said = wait_for(driver)
    assert (code, "Traceback" in said) == (0, False), said
    assert digest(tmp_path / "run.h5") == expected


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(machines, population, tmp_path):
    folder, expected = population
    run = tmp_path / "run.h5"
    before = machines.pids()
    with fitting(run, folder, "--scheduler", machines.address) as driver:
        os.kill(before[0], signal.SIGKILL)
        code, said = wait_for(driver)
    assert code == 0, said
    assert digest(run) == expected
    until(lambda: len(machines.pids()) == 2, "worker in its place")
    assert set(machines.pids()) != set(before)


@pytest.mark.slow
def test_a_driver_that_dies_goes_on_where_it_was(
    machines, population, tmp_path
):
    folder, expected = population
    run = tmp_path / "run.h5"
    with fitting(run, folder, "--scheduler", machines.address) as driver:
        os.killpg(driver.pid, signal.SIGKILL)
    kept = set(run.with_name("run.h5.work").glob("*." + "?" * 64))
    times = {path: path.stat().st_mtime_ns for path in kept}
    assert 3 <= len(kept) < len(SLOW)
    with fitting(
        run, folder, "--scheduler", machines.address, after=len(kept) + 1
    ) as driver:
        assert {path: path.stat().st_mtime_ns for path in kept} == times
        code, said = wait_for(driver)
    assert code == 0, said
    assert digest(run) == expected


@pytest.mark.slow
def test_a_scheduler_that_dies_costs_what_was_under_way(
    own_machines, population, tmp_path
):
    folder, expected = population
    run = tmp_path / "run.h5"
    own_machines.worker()
    words = (run, folder, "--scheduler")
    with fitting(*words, own_machines.address) as driver:
        own_machines.kill()
        code, said = wait_for(driver)
    assert code == 4, said
    assert "E_SCHEDULER" in said
    assert f"/{len(SLOW)} layers" in said
    own_machines.again()
    own_machines.worker()
    with fitting(*words, own_machines.address, after=4) as driver:
        code, said = wait_for(driver)
    assert code == 0, said
    assert digest(run) == expected


POISON = """
import os
import signal

import spectra.study.remote as remote
from spectra.study.each import fitted


def dies(task, how):
    if task.key.name == "h.5":
        os.kill(os.getpid(), signal.SIGKILL)
    return fitted(task, how)


remote.fitted = dies
"""


@pytest.mark.slow
def test_a_layer_that_kills_workers_is_set_aside(
    own_machines, population, tmp_path
):
    folder, _ = population
    (tmp_path / "poison.py").write_text(POISON)
    for _ in range(2):
        own_machines.worker("--preload", str(tmp_path / "poison.py"))
    catalog = spectra.scan(folder)
    layers = [f"h.{i}" for i in range(4, 8)]
    run = spectra.fit(
        catalog, tmp_path / "run.h5", layers=layers,
        scheduler=own_machines.address,
    )  # fmt: skip
    assert [(q.layer, q.code) for q in run.value.quarantine] == [
        ("h.5", "POISON")
    ]
    assert [layer.name for layer in run.value.layers] == ["h.4", "h.6", "h.7"]


def test_a_layer_that_does_not_fit_the_workers(machines, population, tmp_path):
    with pytest.raises(BudgetError, match=r"needs \d+ MiB but"):
        spectra.fit(
            spectra.scan(population[0]), tmp_path / "run.h5",
            scheduler=machines.address, memory=2**20,
        )  # fmt: skip
    assert not (tmp_path / "run.h5").exists()


def test_workers_that_would_compute_other_bits(
    own_machines, population, tmp_path
):
    own_machines.worker()
    own_machines.worker(OPENBLAS_CORETYPE="Prescott")
    with Client(own_machines.address) as client:
        client.wait_for_workers(2, timeout=30)
    with pytest.raises(UsageError, match="have other versions") as caught:
        spectra.fit(
            spectra.scan(population[0]), scheduler=own_machines.address
        )
    assert caught.value.code == "E_WORKERS"


def test_a_worker_that_comes_later_and_would(machines, population):
    """It refuses the layer, since it was not there to be asked."""
    settings = FitSettings(scheduler=machines.address)
    work = work_of(spectra.scan(population[0]).value, settings)
    other = {"versions": {"numpy": "1"}}
    text = told(work.tasks[0], settings, other, ())
    with (
        Client(machines.address) as client,
        pytest.raises(UsageError, match="came later") as caught,
    ):
        client.submit(fit_unit, text).result()
    assert caught.value.code == "E_WORKERS"


@pytest.mark.slow
def test_a_foreign_worker_loses_nothing_of_what_others_have_finished(
    own_machines, population, tmp_path
):
    folder, expected = population
    run = tmp_path / "run.h5"
    own_machines.worker()
    words = (run, folder, "--scheduler", own_machines.address)
    with fitting(*words) as driver:
        own_machines.worker(OPENBLAS_CORETYPE="Prescott")
        code, said = wait_for(driver)
    assert code == 4, said
    assert "E_WORKERS: a worker that came later" in said
    kept = len(list(run.with_name("run.h5.work").glob("*." + "?" * 64)))
    assert f"kept {kept}/{len(SLOW)} layers" in said
    assert kept >= 3
    spectra.fit(spectra.scan(folder), run)
    assert digest(run) == expected


@pytest.mark.slow
def test_without_any_worker_for_long(own_machines, population, tmp_path):
    folder, _ = population
    own_machines.worker("--no-nanny")
    quick = "import spectra.study.cluster as c; c._PATIENCE = 3"
    run = tmp_path / "run.h5"
    driver = subprocess.Popen(
        [sys.executable, "-c",
         f"{quick}; import spectra.cli; spectra.cli.main()", "fit",
         str(folder), "-o", str(run), "--scheduler", own_machines.address],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: finished(run) >= 2, "layer")
    (worker,) = own_machines.workers
    os.killpg(worker.pid, signal.SIGKILL)
    code, said = wait_for(driver)
    assert code == 4, said
    assert "E_SCHEDULER: there has been no worker for 3 s" in said


@pytest.mark.slow
def test_a_worker_that_does_not_answer(own_machines, population, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 3)
    own_machines.worker("--no-nanny")
    own_machines.worker("--no-nanny")
    with Client(own_machines.address) as client:
        client.wait_for_workers(2, timeout=30)
    own_machines.workers[0].send_signal(signal.SIGSTOP)
    with pytest.raises(UsageError, match="does not answer") as caught:
        spectra.fit(
            spectra.scan(population[0]), scheduler=own_machines.address
        )
    assert caught.value.code == "E_WORKERS"


def test_a_worker_without_spectra(own_machines, population, tmp_path):
    (tmp_path / "lacks.py").write_text(
        'import sys\nsys.modules["spectra.study.remote"] = None\n'
    )
    own_machines.worker("--preload", str(tmp_path / "lacks.py"))
    with pytest.raises(UsageError, match="cannot run spectra") as caught:
        spectra.fit(
            spectra.scan(population[0]), scheduler=own_machines.address
        )
    assert caught.value.code == "E_WORKERS"


def test_more_threads_than_there_is_memory_for(
    own_machines, population, tmp_path
):
    own_machines.worker("--nthreads", "64")
    with pytest.raises(UsageError, match=r"--nthreads \d+") as caught:
        spectra.fit(
            spectra.scan(population[0]), tmp_path / "run.h5",
            scheduler=own_machines.address, memory=resident_bytes() * 2,
        )  # fmt: skip
    assert caught.value.code == "E_WORKERS"
    assert not work_folder(tmp_path / "run.h5").exists()


@pytest.mark.parametrize(
    "address", ["tls://127.0.0.1:9", "nonsense", "foo://127.0.0.1:1", ""]
)
def test_an_address_that_is_none(population, address, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    with pytest.raises(UsageError) as caught:
        spectra.fit(spectra.scan(population[0]), scheduler=address)
    assert caught.value.code == "E_SCHEDULER"


@pytest.mark.slow
def test_ctrl_c_is_quiet_and_keeps_what_is_finished(population, tmp_path):
    folder, expected = population
    run = tmp_path / "run.h5"
    words = (run, folder, "--scheduler", "local", "--workers", 2)
    with fitting(*words) as driver:
        os.killpg(driver.pid, signal.SIGINT)
        code, said = wait_for(driver)
    assert code == 130, said
    assert said.startswith("spectra: E_INTERRUPTED")
    assert len(said.splitlines()) == 1, said
    spectra.fit(spectra.scan(folder), run)
    assert digest(run) == expected


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_of_it(population, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import spectra\n"
        f"spectra.fit(spectra.scan({str(population[0])!r}),"
        " scheduler='local', workers=1)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert '__name__ == "__main__"' in done.stderr.splitlines()[-1]


def test_a_worker_that_sees_no_files(machines, population, tmp_path):
    settings = FitSettings(scheduler=machines.address)
    work = work_of(spectra.scan(population[0]).value, settings)
    gone = tmp_path / "elsewhere"
    population[0].rename(gone)
    try:
        with (
            connected(settings) as there,
            pytest.raises(UsageError, match="does not see") as caught,
            there.engine(work),
        ):
            pytest.fail("workers see files that are gone")
    finally:
        gone.rename(population[0])
    assert caught.value.code == "E_WORKERS"


def test_nobody_at_the_address(population, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_PATIENCE", 1)
    with pytest.raises(UsageError, match="no worker can be had") as caught:
        spectra.fit(
            spectra.scan(population[0]), tmp_path / "run.h5",
            scheduler="tcp://127.0.0.1:9",
        )  # fmt: skip
    assert caught.value.code == "E_SCHEDULER"


def test_without_the_extra(population, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UsageError, match=r"hf-spectra\[dist\]") as caught:
        spectra.fit(spectra.scan(population[0]), scheduler="local")
    assert caught.value.code == "E_EXTRA"
