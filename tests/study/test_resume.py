"""A fit that was stopped goes on where it was, to the same bits."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

import spectra
from spectra.core.catalog import Quarantined
from spectra.core.errors import UsageError
from spectra.core.settings import FitSettings
from spectra.core.text import natural
from spectra.store.journal import work_folder
from spectra.store.runfile import asked_of
from spectra.study import each
from spectra.study.keys import keys_of
from spectra.study.tasks import work_of
from tests.checkpoints import adapters, write_dense

NAMES = [f"l{i}" for i in range(8)]


@pytest.fixture
def population(tmp_path):
    folder, _ = adapters(
        tmp_path / "p", [2, 3, 2, 4], dict.fromkeys(NAMES, (14, 11))
    )
    return folder


@pytest.fixture
def fitted(monkeypatch):
    """The layers that were fitted, and a way to fail at one of them."""
    real = each.fit_layer

    class Fitted(list):
        fails_at = None

        def __call__(self, task, how):
            if task.key.name == self.fails_at:
                raise OSError(28, "as if the disk were full")
            self.append(task.key.name)
            return real(task, how)

    double = Fitted()
    monkeypatch.setattr(each, "fit_layer", double)
    return double


def stopped_at(name, fitted, population, run, **settings):
    """Fit up to a layer, where it fails."""
    fitted.fails_at = name
    with pytest.raises(OSError, match="as if") as caught:
        spectra.fit(spectra.scan(population), run, workers=1, **settings)
    fitted.fails_at = None
    assert not run.exists()
    return caught.value


def undisturbed(population, path, **settings):
    spectra.fit(spectra.scan(population), path, **settings)
    return path.read_bytes()


def test_finished_layers_are_not_fitted_again(tmp_path, population, fitted):
    run = tmp_path / "run.h5"
    error = stopped_at("l3", fitted, population, run)
    (note,) = error.__notes__
    assert note.startswith("kept 3/8 layers")
    stopped_at("l6", fitted, population, run)
    seen = []
    spectra.fit(
        spectra.scan(population),
        run,
        on_event=lambda event: seen.append((event.done, event.total)),
    )
    assert sorted(fitted, key=natural) == NAMES
    assert seen == [(7, 8), (8, 8)]
    assert not work_folder(run).exists()
    assert run.read_bytes() == undisturbed(population, tmp_path / "fresh.h5")


def test_the_work_moves_with_its_folder(tmp_path, population, fitted):
    (tmp_path / "here").mkdir()
    stopped_at("l5", fitted, population, tmp_path / "here" / "run.h5")
    (tmp_path / "here").rename(tmp_path / "there")
    run = tmp_path / "there" / "run.h5"
    spectra.fit(spectra.scan(population), run)
    assert sorted(fitted) == NAMES
    assert run.read_bytes() == undisturbed(population, tmp_path / "fresh.h5")


def test_memory_workers_and_other_layers_do_not_matter(
    tmp_path, population, fitted
):
    run = tmp_path / "run.h5"
    layers = ("l0", "l1", "l2")
    stopped_at("l2", fitted, population, run, layers=layers)
    spectra.fit(spectra.scan(population), run, memory=2**31, workers=2)
    assert sorted(fitted) == NAMES
    assert run.read_bytes() == undisturbed(population, tmp_path / "fresh.h5")


@pytest.mark.parametrize("which", ["rank", "file", "versions", "damage"])
def test_what_is_not_the_same_is_fitted_again(
    tmp_path, population, fitted, monkeypatch, which
):
    run = tmp_path / "run.h5"
    stopped_at("l4", fitted, population, run)
    settings, n_again = {}, 4
    if which == "rank":
        settings = {"rank": 2}
    elif which == "file":
        (file,) = (population / "a01").glob("*.safetensors")
        content = bytearray(file.read_bytes())
        content[-2:] = b"\0\0"
        file.write_bytes(content)
        os.utime(file, ns=(1, 1))
    elif which == "versions":
        monkeypatch.setattr(
            "spectra.study.how.versions", lambda: {"numpy": "another"}
        )
    else:
        unit = next(work_folder(run).glob("[!.]*.*"))
        content = bytearray(unit.read_bytes())
        content[-1] ^= 1
        unit.write_bytes(content)
        n_again = 1
    fitted.clear()
    spectra.fit(spectra.scan(population), run, **settings)
    assert len(fitted) == 4 + n_again
    assert run.read_bytes() == undisturbed(
        population, tmp_path / "fresh.h5", **settings
    )


def test_what_could_not_be_read_is_tried_again(
    tmp_path, population, fitted, monkeypatch
):
    """A hub's refusal may be over; a weight that is NaN stays so."""
    real, codes = each.fit_layer, {"l1": "LINK_REFUSED", "l2": "NONFINITE"}

    def refused(task, how):
        outcome, code = real(task, how), codes.get(task.key.name)
        aside = (Quarantined("a00", task.key.name, code, ""),) if code else ()
        return replace(outcome, quarantine=aside)

    run = tmp_path / "run.h5"
    monkeypatch.setattr(each, "fit_layer", refused)
    stopped_at("l4", fitted, population, run)
    monkeypatch.setattr(each, "fit_layer", real)
    fitted.clear()
    done = spectra.fit(spectra.scan(population), run)
    assert sorted(fitted) == ["l1", "l4", "l5", "l6", "l7"]
    assert [q.code for q in done.value.quarantine] == ["NONFINITE"]


def test_a_fit_that_comes_to_nothing_leaves_nothing(tmp_path):
    for i in range(3):
        write_dense(tmp_path / "p" / f"m{i}", {"w": np.full((5, 4), np.nan)})
    with pytest.raises(UsageError, match="no layer has two"):
        spectra.fit(spectra.scan(tmp_path / "p"), tmp_path / "run.h5")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_study_that_was_killed_while_measuring_is_not_fitted_again(
    tmp_path, population, fitted, monkeypatch
):
    from spectra.api import chain
    from spectra.study.studyfile import Study

    study = Study()
    study = replace(
        study,
        population=replace(study.population, sources=(str(population),)),
        report=replace(study.report, out=str(tmp_path / "out")),
    )
    with monkeypatch.context() as patch:
        patch.setattr(chain, "overlap", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            chain.run_study(study)
    assert sorted(fitted) == NAMES
    chain.run_study(study)
    assert sorted(fitted) == NAMES
    # Other settings are another run: it takes the old one's place.
    other = replace(study, fit=replace(study.fit, rank=3))
    chain.run_study(other)
    assert sorted(fitted) == sorted(2 * NAMES)


def test_a_kill_before_the_units_were_gone_is_made_up_for(
    tmp_path, population, fitted
):
    run = tmp_path / "run.h5"
    work = work_folder(run)
    stopped_at("l7", fitted, population, run)
    shutil.copytree(work, tmp_path / "units")
    spectra.fit(spectra.scan(population), run)
    shutil.copytree(tmp_path / "units", work)
    # An addition that is not finished looks like this: it is left alone.
    spectra.fit(spectra.scan(population), run)
    assert len(list(work.glob("[!.]*.*"))) == 7
    # And a finished run like this.
    asked = json.dumps({"header": {"asked": asked_of(run)}})
    (work / "manifest.json").write_text(asked)
    spectra.fit(spectra.scan(population), run)
    assert not work.exists()


def test_a_key_says_all_that_the_bits_depend_on(population):
    """Each field of the settings, and each of a file, is in it or named."""
    settings = FitSettings()
    work = work_of(spectra.scan(population).value, settings)
    plain = {"rank": 16, "device": "auto", "layers": []}
    machine = {"versions": {"numpy": "2"}, "blas": ["openblas"]}

    def first(tasks=work.tasks, settings=plain, environment=machine):
        return next(keys_of(tasks, settings, environment))

    task = work.tasks[0]
    path, file = next(iter(task.files.items()))
    changed = [
        replace(task, files=dict(task.files) | {path: replace(file, **new)})
        for new in (
            {"nbytes": file.nbytes + 1},
            {"mtime_ns": 5},
            {"header_sha256": "0"},
            {"etag": "e"},
        )
    ]
    changed += [
        replace(task, architecture="other"),
        replace(task, key=replace(task.key, name="other")),
        replace(task, holders=task.holders[:-1]),
        replace(task, holders=task.holders[::-1]),
    ]
    found = [first([each]) for each in changed]
    found += [
        first(settings=plain | {"rank": 15}),
        first(settings=plain | {"base": "zero"}),
        first(environment=machine | {"blas": ["mkl"]}),
        first(),
    ]
    assert len(set(found)) == len(found)
    assert first(settings=plain | {"layers": ["l*"]}) == first()
