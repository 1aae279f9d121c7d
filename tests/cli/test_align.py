"""``spectra align`` as a user types it, on files on disk."""

import json
import re

import numpy as np
import pytest

import spectra
from spectra.align.representations.metrics import METRICS
from tests.checkpoints import dense
from tests.cli.test_cli import spectra as typed
from tests.study.test_alignment import models, vocabularies

__all__ = ["models", "vocabularies"]


def test_the_table_says_what_the_document_says(models):
    words = ["align", *models[:2], "--draws", 19]
    done = typed(*words)
    assert (done.returncode, done.stderr) == (0, "")
    head, *rows, closing = done.stdout.splitlines()
    assert head.split() == [
        "a", "b", "metric", "value", "permuted", "excess", "p", "items",
        "coverage",
    ]  # fmt: skip
    found = spectra.alignment(*models[:2], draws=19)
    document = json.loads(typed(*words, "--json").stdout)
    assert document == found.document
    assert document["schema"] == "spectra-alignment/1"
    assert closing == found.text
    assert [line.split() for line in rows] == [
        [row["a"], row["b"], row["metric"], *(f"{row[key]:.3f}" for key in
         ("value", "null_mean", "excess", "p")), "40", "1.000"]
        for row in found.pairs
    ]  # fmt: skip


def test_options_reach_the_measurement(models):
    done = typed(
        "align", *models[:2], "--metric", "cka", "--metric", "lcs-knn", "-k",
        3, "--draws", 20, "--seed", 5, "--normalize", "--json",
    )  # fmt: skip
    found = spectra.alignment(
        *models[:2], metric=["cka", "lcs-knn"], k=3, draws=20, seed=5,
        normalize=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == found.document
    assert found.document["settings"] == {
        "metric": ["lcs-knn", "cka"], "k": 3, "draws": 20, "seed": 5,
        "normalize": True,
    }  # fmt: skip


def test_layers_and_matrices_are_shown(models, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "deep.npz", first=rng.standard_normal((40, 5)),
             second=np.load(models[1]))  # fmt: skip
    paths = (*models[:2], tmp_path / "deep.npz")
    done = typed("align", *paths, "--metric", "cka", "--draws", 19)
    assert done.returncode == 0, done.stderr
    table, matrix = done.stdout.split("\n\n")
    assert table.splitlines()[0].split()[3] == "layers"
    assert "0, second" in table
    assert re.search(r"m1.npy +deep.npz +cka +0, second +1.000", table)
    head, *rows, text = matrix.splitlines()
    assert head.split() == ["cka", "1", "2", "3"]
    assert [line.split()[:2] for line in rows] == [
        [str(i), name] for i, name in enumerate(
            spectra.alignment(*paths, metric=["cka"], draws=19)
            .document["matrices"][0]["order"], start=1)
    ]  # fmt: skip
    assert [line.split()[1 + i] for i, line in enumerate(rows, 1)] == ["-"] * 3
    assert text.endswith("permutations of the 40 items")


def test_what_is_beside_alignment_is_shown_a_line_a_metric(models, tmp_path):
    (tmp_path / "s.csv").write_text("id,score\nm0,1\nm1,2\nm2,4\nm3,3\n")
    dense(tmp_path, 4, {"a.weight": (4, 3)})
    for i in range(4):
        member = tmp_path / "members" / f"m0{i}"
        member.rename(member.with_name(f"m{i}"))
    run = tmp_path / "run.h5"
    spectra.fit(spectra.scan(tmp_path / "members"), out=run)
    words = ["align", *models, "--metric", "cka", "--metric", "mutual-knn",
             "--draws", 19, "--scores", tmp_path / "s.csv"]  # fmt: skip
    words += ["--run", run]
    done = typed(*words)
    assert (done.returncode, done.stderr) == (0, "")
    found = spectra.alignment(
        *models, metric=["cka", "mutual-knn"], draws=19,
        scores=tmp_path / "s.csv", run=run,
    ).document  # fmt: skip
    entries = [*found["convergence"], *found["weights"]["by_metric"]]
    lines = done.stdout.splitlines()
    assert lines[-5:] == [found["text"], *(e["text"] for e in entries)]
    assert "p adjusted" in lines[0]
    row = found["pairs"][0]
    told = [f"{row[key]:.3f}" for key in ("p", "p_adjusted")]
    assert lines[1].split()[6:8] == told


def test_tokens_have_one_order_in_all_processes(vocabularies):
    words = ["align", *vocabularies[0], "--metric", "cka", "--draws", 19]
    said = {
        typed(*words, "--json", env={"PYTHONHASHSEED": seed}).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
    assert "embedding" in said.pop()


def test_help_names_every_metric():
    done = " ".join(typed("align", "--help").stdout.replace("│", "").split())
    assert [m.name for m in METRICS if m.name not in done] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["A"], "E_ALIGN"),
        (["A", "A", "--metric", "cosine"], "E_METRIC"),
        (["A", "nowhere.npy"], "E_FEATURES"),
        (["A", "text.npy"], "E_FEATURES"),
        (["nowhere", "neither"], "E_SOURCE"),
        (["A", "A", "--scores", "nowhere.csv"], "E_SCORES"),
        (["A", "A", "--run", "nowhere.h5"], "E_NO_RUN"),
    ],
)
def test_bad_input_is_one_line(words, code, models, tmp_path):
    (tmp_path / "text.npy").write_text("no\n\x1b[31m")
    words = [str(models[0]) if word == "A" else word for word in words]
    done = typed("align", *words, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"spectra: {code}: ")


@pytest.mark.parametrize("words", [[], ["--draws", "18"], ["-k", "0"]])
def test_bad_words_exit_with_2(models, words):
    done = typed("align", *(models[:2] if words else []), *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_hostile_names_reach_no_terminal(models, tmp_path):
    path = tmp_path / "\x1b[31mred.npz"
    np.savez(path, **{"\x1b[31mlayer": np.load(models[0]), "b": np.eye(40)})
    done = typed("align", models[0], path, "--metric", "cka", "--draws", 19)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert "\\x1b[31mlayer" in done.stdout
