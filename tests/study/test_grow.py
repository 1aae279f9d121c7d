"""Adding to a finished run: the run that a fit of all of them writes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import h5py
import numpy as np
import pytest

import spectra
from spectra.core.errors import UsageError
from spectra.weights.stream import TensorReader
from tests.checkpoints import adapters, dense, write_dense

SHAPES = {"a.weight": (30, 40), "b.weight": (40, 30)}


@pytest.fixture
def read(monkeypatch):
    """How many bytes were read of each tensor."""
    counts = Counter()
    real = TensorReader.read

    def counted(self, ref, start, stop, /):
        raw = real(self, ref, start, stop)
        counts[ref] += raw.size
        return raw

    monkeypatch.setattr(TensorReader, "read", counted)
    return counts


def population(kind, folder, n):
    """Write n members, each into a folder of its own; return the settings."""
    if kind == "adapters":
        adapters(folder, [2, 4, 3] * n, {"q": (24, 16), "v": (9, 16)})
        for extra in sorted(folder.iterdir())[n:]:
            shutil.rmtree(extra)
        return {"save_directions": True}
    folder.mkdir()
    members, _, _ = dense(folder, n, SHAPES, spread=0.1, dtype="BF16")
    base = folder.with_name("base")
    (folder / "base").rename(base)
    for member in list(members.iterdir()):
        member.rename(folder / member.name)
    members.rmdir()
    return {"base": str(base)} if kind == "differences" else {}


def split(folder, n_new):
    """Move the last members elsewhere; return both folders."""
    new = folder.with_name("new")
    new.mkdir()
    for member in sorted(folder.iterdir())[-n_new:]:
        member.rename(new / member.name)
    return folder, new


@pytest.mark.parametrize("n_new", [1, 3])
@pytest.mark.parametrize("kind", ["dense", "differences", "adapters"])
def test_what_is_added_to_is_the_fresh_fit_to_the_last_bit(
    tmp_path, read, kind, n_new
):
    settings = population(kind, tmp_path / "p", 9)
    old, new = split(tmp_path / "p", n_new)
    run, fresh = tmp_path / "run.h5", tmp_path / "fresh.h5"
    first = spectra.fit(spectra.scan(old), run, **settings)
    assert (len(first.models), first.n_new) == (9 - n_new, None)
    read.clear()
    grown = spectra.fit(spectra.scan(new), run)
    assert (len(grown.models), grown.n_new) == (9, n_new)
    files = {ref.file for ref in read} - {
        str(path) for path in (tmp_path / "base").glob("*")
    }
    assert len(files) == 9
    assert all(count == ref.nbytes for ref, count in read.items())
    spectra.fit(spectra.scan(old, new), fresh, **settings)
    assert run.read_bytes() == fresh.read_bytes()
    assert "report" not in h5py.File(run)


def test_a_folder_that_has_grown_is_added_to(tmp_path):
    """Named again: what was fitted is not counted twice."""
    population("adapters", tmp_path / "p", 8)
    old, new = split(tmp_path / "p", 2)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(old), run)
    for member in new.iterdir():
        member.rename(old / member.name)
    grown = spectra.fit(spectra.scan(old), run)
    assert (len(grown.models), grown.n_new) == (8, 2)
    spectra.fit(spectra.scan(old), tmp_path / "fresh.h5")
    assert run.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


def test_where_nothing_is_new_nothing_is_read(tmp_path, read):
    population("dense", tmp_path / "p", 5)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(tmp_path / "p"), run)
    spectra.overlap(spectra.load(run))
    before, _ = run.read_bytes(), read.clear()
    again = spectra.fit(spectra.scan(tmp_path / "p" / "m03"), run)
    assert (len(again.models), again.n_new) == (5, 0)
    assert not read
    assert run.read_bytes() == before


def test_settings_are_those_of_the_run(tmp_path):
    population("adapters", tmp_path / "p", 6)
    old, new = split(tmp_path / "p", 1)
    run = tmp_path / "run.h5"
    settings = {"rank": 2, "precision": "f64", "layers": ("q*",)}
    spectra.fit(spectra.scan(old), run, **settings)
    grown = spectra.fit(
        spectra.scan(new), run, workers=1, memory=2**32, device="cpu", rank=2
    )
    spectra.fit(spectra.scan(old, new), run2 := tmp_path / "fresh.h5",
                device="cpu", **settings)  # fmt: skip
    assert grown.layers == ("q",)
    assert run.read_bytes() == run2.read_bytes()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"rank": 8}, "rank 2, not 8"),
        ({"precision": "f64"}, "precision f32, not f64"),
        ({"layers": ("q",)}, r"layers \(all\), not q"),
        ({"save_directions": True}, "save_directions False, not True"),
        ({"base": "zero"}, r"base \(none\), not zero"),
    ],
)
def test_another_setting_is_refused(tmp_path, given, words):
    population("adapters", tmp_path / "p", 4)
    run = tmp_path / "run.h5"
    catalog = spectra.scan(tmp_path / "p")
    spectra.fit(catalog, run, rank=2)
    before = run.read_bytes()
    with pytest.raises(UsageError, match=f"with {words}; .*remove .*run.h5"):
        spectra.fit(catalog, run, **given)
    assert run.read_bytes() == before


def test_a_base_may_be_named_in_another_way(tmp_path, monkeypatch):
    settings = population("differences", tmp_path / "p", 5)
    old, new = split(tmp_path / "p", 1)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(old), run, **settings)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="/base, not new; "):
        spectra.fit(spectra.scan(new), run, base="new")
    grown = spectra.fit(spectra.scan(new), run, base="base")
    assert grown.n_new == 1


@pytest.mark.parametrize("what", ["changed", "gone", "base"])
def test_a_file_that_is_not_what_it_was_is_named(tmp_path, what):
    settings = population("differences", tmp_path / "p", 5)
    old, new = split(tmp_path / "p", 1)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(old), run, **settings)
    before = run.read_bytes()
    place = tmp_path / "base" if what == "base" else old / "m02"
    file = place / "model.safetensors"
    content = file.read_bytes()
    file.unlink()
    if what != "gone":
        file.write_bytes(content[:-2] + b"\x01\x02")
    with pytest.raises(UsageError, match=rf"{file}") as caught:
        spectra.fit(spectra.scan(new), run)
    assert caught.value.code == "E_CHANGED"
    assert run.read_bytes() == before


def test_a_member_that_is_lost_on_the_way_leaves_the_run(
    tmp_path, monkeypatch
):
    """It was there when adding began."""
    population("dense", tmp_path / "p", 5)
    old, new = split(tmp_path / "p", 1)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(old), run)
    before = run.read_bytes()
    real = spectra.study.grow._require_unchanged

    def then_remove(*words):
        real(*words)
        shutil.rmtree(old / "m02")

    monkeypatch.setattr("spectra.study.grow._require_unchanged", then_remove)
    with pytest.raises(UsageError, match=str(old / "m02")):
        spectra.fit(spectra.scan(new), run)
    assert run.read_bytes() == before


def test_faults_of_the_weights_stop_nothing(tmp_path):
    """Not those that were found before, and not those that come to light."""
    folder, members, _ = dense(tmp_path, 5, SHAPES)
    broken = {name: W * np.nan for name, W in members["m01"].items()}
    for name, tensors in (("m01", broken), ("m04", members["m04"])):
        shutil.rmtree(folder / name)
        both = tensors | {"only": np.full((6, 7), tensors["a.weight"][0, 0])}
        write_dense(folder / name, both)
    old, new = split(folder, 1)
    run = tmp_path / "run.h5"
    first = spectra.fit(spectra.scan(old), run)
    assert {q.layer for q in first.value.quarantine} == {"a", "b"}
    grown = spectra.fit(spectra.scan(new), run)
    assert {q.id for q in grown.value.quarantine} == {"m01"}
    assert {q.layer for q in grown.value.quarantine} == {"a", "b", "only"}
    assert [layer.members for layer in grown.value.layers] == [
        (0, 2, 3, 4)
    ] * 2


def test_who_was_alone_may_get_company(tmp_path):
    population("dense", tmp_path / "p", 3)
    population("adapters", tmp_path / "q", 3)
    shutil.move(tmp_path / "q" / "a00", tmp_path / "p" / "a00")
    run, fresh = tmp_path / "run.h5", tmp_path / "fresh.h5"
    first = spectra.fit(spectra.scan(tmp_path / "p"), run)
    assert [q.code for q in first.value.left_out] == ["ALONE"]
    spectra.fit(spectra.scan(tmp_path / "q"), run)
    spectra.fit(spectra.scan(tmp_path / "p", tmp_path / "q"), fresh)
    assert run.read_bytes() == fresh.read_bytes()


def test_an_id_that_is_taken_is_made_longer(tmp_path):
    for name in ("one", "two"):
        seed = len(name) + (name == "two")
        adapters(tmp_path / name, [3] * 4, {"q": (8, 9)}, seed=seed)
    run = tmp_path / "run.h5"
    for name, broken in (("one", "a01"), ("two", "a02")):
        file = tmp_path / name / broken / "adapter_model.safetensors"
        file.write_bytes(b"")
        grown = spectra.fit(spectra.scan(tmp_path / name), run)
    assert [m.id for m in grown.models] == [
        "a00", "a02", "a03", "two/a00", "two/a01", "two/a03",
    ]  # fmt: skip
    assert [q.id for q in grown.value.quarantine] == ["a01", "a02~2"]
    assert grown.value.n_scanned == 8


def test_what_was_broken_may_be_mended(tmp_path):
    population("adapters", tmp_path / "p", 5)
    file = tmp_path / "p" / "a04" / "adapter_model.safetensors"
    content = file.read_bytes()
    file.write_bytes(b"<html>")
    run = tmp_path / "run.h5"
    first = spectra.fit(spectra.scan(tmp_path / "p"), run)
    assert len(first.value.quarantine) == 1
    file.write_bytes(content)
    spectra.fit(spectra.scan(tmp_path / "p"), run)
    spectra.fit(spectra.scan(tmp_path / "p"), tmp_path / "fresh.h5")
    assert run.read_bytes() == (tmp_path / "fresh.h5").read_bytes()


@pytest.mark.parametrize("what", ["no catalogue", "damaged"])
def test_a_run_that_cannot_be_added_to_says_so(tmp_path, what):
    population("adapters", tmp_path / "p", 3)
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(tmp_path / "p"), run)
    if what == "damaged":
        with h5py.File(run) as file:
            start = file["catalog"].id.get_chunk_info(0).byte_offset
        content = bytearray(run.read_bytes())
        content[start + 9] ^= 1
        run.write_bytes(content)
    else:
        with h5py.File(run, "r+") as file:
            del file["catalog"]
    with pytest.raises(UsageError, match=r"nothing can be added to .* remove"):
        spectra.fit(spectra.scan(tmp_path / "p"), run)


def test_a_plan_is_that_of_all(tmp_path):
    population("dense", tmp_path / "p", 5)
    old, new = split(tmp_path / "p", 1)
    run = tmp_path / "run.h5"
    assert spectra.scan(old).plan(run).n_models == 4
    spectra.fit(spectra.scan(old), run, rank=2)
    plan = spectra.scan(new).plan(run)
    assert (plan.n_models, plan.bytes_to_read) == (5, 5 * 2 * 30 * 40 * 2)
    nothing = spectra.scan(old).plan(run)
    assert (nothing.n_models, nothing.n_layers) == (4, 2)
    assert nothing.bytes_to_read == nothing.memory_bytes == 0
    with pytest.raises(UsageError, match="rank 2, not 3"):
        spectra.scan(new).plan(run, rank=3)


def typed(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "spectra", *map(str, words)],
        cwd=cwd,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_the_command_says_what_it_added(tmp_path):
    population("adapters", tmp_path / "p", 6)
    split(tmp_path / "p", 2)
    fit = ("fit", "p", "-o", "run.h5", "--rank", 3)
    assert typed(*fit, cwd=tmp_path).returncode == 0
    more = ("new", "-o", "run.h5")
    planned = typed("plan", *more, cwd=tmp_path)
    assert planned.stdout.startswith("6 checkpoints, 2 layers: ")
    added = typed("fit", *more, cwd=tmp_path)
    assert (added.returncode, added.stderr) == (0, "")
    assert added.stdout.startswith("6 checkpoints (2 new), 2 layers -> run.h5")
    assert spectra.load(tmp_path / "run.h5").value.settings["rank"] == 3
    for words in (more, ("p", "new", "-o", "run.h5")):
        again = typed("fit", *words, cwd=tmp_path)
        assert (again.returncode, again.stderr) == (0, "")
        assert again.stdout.startswith("nothing new for run.h5, which has 6 ")
    planned = typed("plan", *more, cwd=tmp_path)
    assert planned.stdout == "6 checkpoints, 2 layers: 0.0 MiB to read\n"
    summary = json.loads(typed("fit", *more, "--json", cwd=tmp_path).stdout)
    assert (summary["n_models"], summary["n_new"]) == (6, 0)


def test_a_setting_counts_where_it_was_typed_or_set(tmp_path):
    population("adapters", tmp_path / "p", 4)
    fit = ("fit", "p", "-o", "run.h5")
    assert typed(*fit, "--rank", 3, cwd=tmp_path).returncode == 0
    for words, env in ((("--rank", 16), {}), ((), {"SPECTRA_RANK": "16"})):
        done = typed(*fit, *words, cwd=tmp_path, **env)
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith(
            "spectra: E_SETTINGS: run.h5 was fitted with rank 3, not 16;"
        )


def test_what_is_broken_is_told_though_nothing_is_new(tmp_path):
    population("adapters", tmp_path / "p", 4)
    assert typed("fit", "p", "-o", "run.h5", cwd=tmp_path).returncode == 0
    shutil.copytree(tmp_path / "p" / "a00", tmp_path / "p" / "bad")
    file = tmp_path / "p" / "bad" / "adapter_model.safetensors"
    file.write_bytes(b"<html>")
    done = typed("fit", "p", "-o", "run.h5", cwd=tmp_path)
    assert done.returncode == 3
    assert done.stderr.startswith("spectra: NOT_SAFETENSORS: ")


def test_a_study_is_written_anew(tmp_path):
    """Its sources and settings are all there is to it."""
    population("adapters", tmp_path / "p", 6)
    split(tmp_path / "p", 2)
    for folder, rank, n in (("p", 4, 4), ("new", 2, 2)):
        words = ("run", folder, "-o", "out", "--rank", rank, "--format", "md")
        assert typed(*words, cwd=tmp_path).returncode == 0
        run = spectra.load(tmp_path / "out" / "run.h5")
        assert (len(run.models), run.value.settings["rank"]) == (n, rank)


def units(run):
    return list(run.with_name("run.h5.work").glob("[!.]*.*"))


def test_killed_while_adding_leaves_the_run(tmp_path):
    shapes = {f"l{i}": (100, 150) for i in range(12)}
    for i in range(8):
        rng = np.random.default_rng(i)
        write_dense(
            tmp_path / ("old" if i < 6 else "new") / f"m{i}",
            {name: rng.standard_normal(s) for name, s in shapes.items()},
        )
    run, fresh = tmp_path / "run.h5", tmp_path / "fresh.h5"
    old, new = tmp_path / "old", tmp_path / "new"
    spectra.fit(spectra.scan(old), run)
    before = run.read_bytes()
    process = subprocess.Popen(
        [sys.executable, "-m", "spectra", "fit", str(new), "-o", str(run)],
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not units(run) and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert run.read_bytes() == before
    spectra.fit(spectra.scan(new), run)
    spectra.fit(spectra.scan(old, new), fresh)
    assert run.read_bytes() == fresh.read_bytes()
