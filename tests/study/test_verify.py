"""Damage to a run is found, and only what it hit is fitted again."""

import json
import os
import random
import shutil
import subprocess
import sys

import h5py
import pytest

import spectra
from spectra.core.errors import IntegrityError, UsageError
from spectra.store.journal import journal, work_folder
from spectra.store.seal import BLOCK, is_whole
from spectra.study import each
from spectra.study.verify import repair, verify
from spectra.subspaces.result import LayerOutcome
from tests.checkpoints import adapters

NAMES = [f"l{i}" for i in range(5)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run with a report, and its population."""
    folder = tmp_path_factory.mktemp("made")
    population, _ = adapters(
        folder / "p", [2, 3, 2, 4], dict.fromkeys(NAMES, (14, 11))
    )
    run = spectra.fit(spectra.scan(population), folder / "run.h5")
    spectra.overlap(run)
    return folder


@pytest.fixture
def run(made, tmp_path):
    shutil.copy(made / "run.h5", tmp_path / "run.h5")
    return tmp_path / "run.h5"


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


def place_of(path, name):
    with h5py.File(path) as file:
        return file[name].id.get_offset()


def spectra_verify(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "spectra", "verify", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | environment,
    )


def test_every_flipped_byte_of_a_run_is_found(run):
    """Each byte of the block, and 2000 of the rest."""
    content = bytearray(run.read_bytes())
    places = [*range(BLOCK)]
    places += random.Random(0).sample(range(BLOCK, len(content)), 2000)
    assert is_whole(run)
    with run.open("r+b") as file:
        for place in places:
            for byte in (content[place] ^ 1, content[place]):
                file.seek(place)
                file.write(bytes([byte]))
                file.flush()
                assert is_whole(run) == (byte == content[place])
    for changed in (content[:-1], content + b"\0", content[:100], b""):
        run.write_bytes(changed)
        assert not is_whole(run)


def test_a_run_that_is_whole(run):
    done = spectra_verify(run)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{run} is whole: 5 layers\n"


def test_only_what_was_hit_is_fitted_again(run, made, monkeypatch):
    before = run.read_bytes()
    flip(run, place_of(run, "layers/000003/inner") + 5)
    with pytest.raises(IntegrityError, match="is damaged"):
        spectra.load(run)
    state = verify(run)
    assert (state.is_whole, state.n_layers) == (False, 4)
    assert (state.lost, state.report) == (("l3",), "whole")
    fitted, real = [], each.fit_layer
    monkeypatch.setattr(
        each,
        "fit_layer",
        lambda task, how: fitted.append(task.key.name) or real(task, how),
    )
    repair(run)
    assert fitted == ["l3"]
    assert run.read_bytes() == before
    assert not work_folder(run).exists()


def test_at_the_terminal(run):
    before = run.read_bytes()
    flip(run, place_of(run, "layers/000001/output/overlap"))
    done = spectra_verify(run)
    assert (done.returncode, done.stdout) == (7, "")
    assert done.stderr == (
        f"spectra: E_INTEGRITY: layer l1 of {run} is damaged; kept 4/5 layers;"
        f" to mend it: spectra verify {run} --repair\n"
    )
    done = spectra_verify(run, "--repair")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{run} is whole again: 1 of 5 layers")
    assert run.read_bytes() == before


def test_on_another_kind_of_machine_all_are_fitted_and_said_to_be(run):
    """Layers whose last bits would differ are not mixed."""
    flip(run, place_of(run, "layers/000001/output/overlap"))
    done = spectra_verify(run, "--repair", OPENBLAS_CORETYPE="Prescott")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{run} is whole again: 5 of 5 layers")
    assert spectra_verify(run).returncode == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.slow
def test_wherever_a_byte_flips_the_run_is_mended_or_refused(run, seed):
    """Never a crash, never another number; bytes from all over the file."""
    before = run.read_bytes()
    places = random.Random(seed).sample(range(len(before)), 8)
    mended = 0
    for place in places:
        flip(run, place)
        try:
            repair(run)
        except IntegrityError:
            run.write_bytes(before)
            continue
        with h5py.File(run) as file:
            if "report" not in file:
                spectra.overlap(spectra.load(run))
        assert run.read_bytes() == before
        mended += 1
    assert mended >= 6


@pytest.mark.parametrize("place", [0, 8, 20, 100, 160, BLOCK - 1])
def test_the_seal_itself_can_be_mended(run, place):
    before = run.read_bytes()
    flip(run, place)
    assert verify(run).n_layers == 5
    repair(run)
    assert run.read_bytes() == before


def test_a_lost_report_is_said(run):
    flip(run, place_of_report(run))
    state = verify(run)
    assert (state.lost, state.report) == ((), "lost")
    done = spectra_verify(run, "--repair")
    assert done.stdout.endswith(
        f"its report was lost: spectra overlap {run}\n"
    )
    assert spectra_verify(run).returncode == 0


def place_of_report(path):
    with h5py.File(path) as file:
        return file["report"].id.get_chunk_info(0).byte_offset + 100


def test_what_the_population_was_cannot_be_guessed(run):
    before = run.read_bytes()
    with h5py.File(run) as file:
        place = file["catalog"].id.get_chunk_info(0).byte_offset
    flip(run, place + 200)
    damaged = run.read_bytes()
    done = spectra_verify(run, "--repair")
    assert done.returncode == 7
    assert "cannot be relied on" in done.stderr
    assert run.read_bytes() == damaged != before
    assert not work_folder(run).exists()


def test_a_run_is_not_mended_from_other_weights(run, made):
    """The checkpoint of the layer that was hit has changed since."""
    (file,) = (made / "p" / "a02").glob("*.safetensors")
    content = file.read_bytes()
    flip(run, place_of(run, "layers/000002/inner"))
    damaged = run.read_bytes()
    stat = file.stat()
    try:
        file.write_bytes(content[:-1] + b"\7")
        with pytest.raises(UsageError, match="no longer what it was"):
            repair(run)
    finally:
        file.write_bytes(content)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert run.read_bytes() == damaged


def test_work_that_is_not_finished(tmp_path, made):
    run = tmp_path / "run.h5"
    with journal(run) as kept:
        units = [kept.keep(c * 64, LayerOutcome(None, ())) for c in "abc"]
    done = spectra_verify(run)
    assert done.returncode == 0
    assert "is not complete: 3 layers are kept and whole" in done.stdout
    flip(units[1].path, -1)
    done = spectra_verify(run, "--json")
    assert done.returncode == 7
    assert json.loads(done.stdout)["lost"] == [units[1].path.name]
    assert spectra_verify(tmp_path / "no.h5").returncode == 2
