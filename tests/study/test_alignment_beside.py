"""What alignment goes with: scores of the models, overlap of their weights."""

import json
import re
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

import spectra
from spectra.core.errors import UsageError
from tests.checkpoints import write_adapter, write_dense
from tests.reference.alignment import (
    naive_alignment,
    naive_line,
    naive_mantel,
)

DRAWS = 19
NAMES = ["m0", "m1", "m2", "m3", "m4", "m5"]
LAYERS = {"first.weight": (6, 5), "second.weight": (4, 6)}


def write_features(folder, amounts):
    """Write features of 40 items, some of which is common to all models."""
    rng = np.random.default_rng(0)
    common = rng.standard_normal((40, 5))
    for name, amount in zip(NAMES, amounts, strict=True):
        own = rng.standard_normal((40, 5))
        np.save(folder / f"{name}.npy", amount * common + own)
    return [folder / f"{name}.npy" for name in NAMES]


@pytest.fixture
def models(tmp_path):
    """Six, the later ones of which have more in common with all others."""
    return write_features(tmp_path, np.linspace(0.3, 2, 6))


@pytest.fixture
def population(tmp_path):
    """Six updates of one base; m0 and m1 are relatives, and m4 and m5."""
    rng = np.random.default_rng(3)
    base = {name: rng.standard_normal(s) for name, s in LAYERS.items()}
    draws = {
        name: 0.1 * rng.standard_normal((6, *s)) for name, s in LAYERS.items()
    }
    for moved in draws.values():
        moved[1] = moved[0] + 0.4 * moved[1]
        moved[5] = moved[4] + 0.4 * moved[5]
    for i, name in enumerate(NAMES):
        write_dense(
            tmp_path / "members" / name,
            {key: base[key] + draws[key][i] for key in LAYERS},
            "F64",
        )
    write_dense(tmp_path / "base", base, "F64")
    whole = np.hstack([draws[key].reshape(6, -1) for key in LAYERS])
    return tmp_path / "members", tmp_path / "base", whole


def fitted(population, **settings):
    catalog = spectra.scan(population[0])
    return spectra.fit(catalog, precision="f64", **settings)


def aligned(*sources, metric=("cka",), **more):
    return spectra.alignment(*sources, metric=metric, draws=DRAWS, **more)


def excess_of(document, name="cka"):
    ids = [model["id"] for model in document["models"]]
    found = np.zeros((len(ids), len(ids)))
    counts = np.zeros_like(found)
    for row in document["pairs"]:
        if row["metric"] == name:
            i, j = ids.index(row["a"]), ids.index(row["b"])
            for where in ((i, j), (j, i)):
                found[where] += row["excess"]
                counts[where] += 1
    return found / np.maximum(counts, 1)


def refused(what, *sources, **asked):
    with pytest.raises(UsageError, match=what) as caught:
        aligned(*sources, **asked)
    return caught.value.code


# p adjusted for the number of pairs.


def test_p_is_adjusted_for_the_pairs_of_a_metric(models):
    """By name of the metric; of one pair there is nothing to adjust."""
    rows = aligned(*models, metric=["cka", "cycle-knn"]).pairs
    for name, n in (("cka", 15), ("cycle-knn", 30)):
        own = [row for row in rows if row["metric"] == name]
        assert len(own) == n
        assert all(row["p_adjusted"] >= row["p"] for row in own)
        alone = aligned(*models, metric=[name]).pairs
        assert own == alone
    assert len({row["p_adjusted"] for row in rows}) > 2
    (row,) = aligned(*models[:2]).pairs
    assert row["p_adjusted"] == row["p"]


# Scores.


def test_alignment_follows_a_score(models):
    scores = dict(zip(NAMES, [1.0, 2, 4, 7, 9, 20], strict=True))
    metric = ["cka", "cycle-knn"]
    document = aligned(*models, metric=metric, scores=scores).document
    found = document["convergence"]
    assert [entry["metric"] for entry in found] == ["cycle-knn", "cka"]
    for entry in found:
        excess = excess_of(document, entry["metric"])
        means = naive_alignment(excess, range(6))
        assert [m["id"] for m in entry["models"]] == [p.name for p in models]
        assert [m["score"] for m in entry["models"]] == [*scores.values()]
        assert_allclose([m["alignment"] for m in entry["models"]], means)
        assert_allclose(
            entry["spearman"], spearmanr(means, [*scores.values()])[0]
        )
        line = naive_line(excess, [*scores.values()], range(6))
        assert_allclose((entry["slope"], entry["intercept"]), line)
        assert entry["n_permutations"] == 720
        assert len(entry["band"]) == 32
        for point in entry["band"]:
            assert point["low"] <= point["high"]
    cka = found[1]
    assert cka["p"] <= 0.02
    assert cka["text"] == (
        "cka: models of a higher score are more aligned with the others"
        f" (Spearman's rho {cka['spearman']:.2f}, p = {cka['p']:.2g},"
        " 6 models)"
    )
    json.dumps(document, allow_nan=False)


def test_alignment_that_follows_no_score_is_said_with_its_p(models):
    scores = dict(zip(NAMES, [3.0, 6, 2, 1, 5, 4], strict=True))
    (entry,) = aligned(*models, scores=scores).document["convergence"]
    assert entry["p"] > 0.5
    assert entry["text"] == (
        "cka: alignment follows the score no more than by chance"
        f" (Spearman's rho {entry['spearman']:.2f}, p = {entry['p']:.2g},"
        " 6 models)"
    )


def test_what_few_models_cannot_show_is_said(models):
    for n, p in ((4, "0.083"), (5, "0.017")):
        scores = {name: float(i) for i, name in enumerate(NAMES)}
        found = aligned(*models[:n], scores=scores).document["convergence"]
        assert found[0]["text"].endswith(f"{n} models resolve no p below {p}")


def test_nothing_was_asked(models):
    document = aligned(*models[:2]).document
    assert document["convergence"] is document["weights"] is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "id,score\n{}\n"),
        ("b.csv", "\ufeffscore,note,id\n{}\n"),
        ("c.json", "{{{}}}"),
    ],
)
def test_files_of_scores(models, tmp_path, name, text):
    """By id, by id without the ending, beside models that are not asked."""
    names = ["m0.npy", "some/m1", "m2", "x/m3.npy", "m4", "m5", "other"]
    rows = {
        "a.csv": [f'"{n}",{i}.5' for i, n in enumerate(names)],
        "b.csv": [f"{i}.5,,{n}" for i, n in enumerate(names)],
        "c.json": [f'"{n}": {i}.5' for i, n in enumerate(names)],
    }[name]
    joint = ", " if name == "c.json" else "\n"
    (tmp_path / name).write_text(text.format(joint.join(rows)), "utf-8")
    found = aligned(*models, scores=str(tmp_path / name)).document
    scores = [m["score"] for m in found["convergence"][0]["models"]]
    assert scores == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("id,score\nm0,1\nm1,2\nm2,3\n", r"s\.csv: no score of m3\.npy"),
        ("id,score\nm0,1\nm0,2\n", r"s\.csv cannot be read \(m0 stands twice"),
        ("m0,1\nm1,2\n", "lacks its id or its score"),
        ("id,score\nm0\n", "lacks its id or its score"),
        ("id,score\nm0,nan\n", "m0 has the score nan; a score is a finite"),
        ("id,score\nm0,\x1b[31m\n", r"m0 has the score \\x1b\[31m;"),
        ("id,score\nm0,1\nm1,1\nm2,1\nm3,1", "all models have the score 1"),
        ("id,score\nm0.npy,1\nm0,1\nx/m0.npy,1\n", "no score of m1"),
        ("id,score\na/m0,1\nb/m0,1\n", "m0.npy could be a/m0 or b/m0"),
        ("id,score\n\"m0,1\n", "cannot be read"),
        ("\xff", "no score of m0"),
    ],
)  # fmt: skip
def test_scores_that_cannot_be_used(models, tmp_path, text, what):
    path = tmp_path / "s.csv"
    path.write_text(text, "utf-8")
    assert refused(what, *models[:4], scores=path) == "E_SCORES"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        (b'{"m0": 1, "m0": 2}', "stands twice"),
        (b'{"m0": NaN}', "NaN is not JSON"),
        (b'{"m0": true}', "m0 has the score True"),
        (b'{"m0": "one"}', "m0 has the score one"),
        (b'{"m0": null}', "m0 has the score None"),
        (b'{"m0": 1' + b"0" * 999 + b"}", "m0 has the score inf"),
        (b"[1, 2]", "is no object of scores"),
        (b"[" * 9999, "nested 9999 deep"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_json_that_cannot_be_used(models, tmp_path, raw, what):
    path = tmp_path / "s.json"
    path.write_bytes(raw)
    assert refused(what, *models[:4], scores=path) == "E_SCORES"


def test_scores_that_are_not_there_or_of_few(models, tmp_path):
    scores = dict.fromkeys(NAMES, 1.0)
    code = refused("3 models .* fewer than 4", *models[:3], scores=scores)
    assert code == "E_SCORES"
    assert refused("No such file", *models, scores=tmp_path / "no.csv")


def test_a_score_that_two_models_could_have(models, tmp_path):
    (tmp_path / "two").mkdir()
    np.save(tmp_path / "two" / "m0.npy", np.load(models[1]))
    paths = [*models[:4], tmp_path / "two" / "m0.npy"]
    what = r"m0 could be \S+/m0\.npy or two/m0\.npy; write the whole ids"
    scores = {name: float(i) for i, name in enumerate(NAMES)}
    assert refused(what, *paths, scores=scores) == "E_SCORES"


# Weights.


def test_overlap_of_whole_updates_beside_alignment(models, population):
    run = fitted(population, base=str(population[1]))
    document = aligned(*models, run=run).document
    found = document["weights"]
    assert (found["run"], found["n_models"]) == ("the run", 6)
    assert (found["n_groups"], found["left_out"]) == (4, [])
    (entry,) = found["by_metric"]
    cosines, excess = cosine(population[2]), excess_of(document)
    assert [(pair["a"], pair["b"]) for pair in entry["pairs"]] == [
        (a.name, b.name) for a, b in combinations(models, 2)
    ]
    i, j = np.triu_indices(6, 1)
    assert_allclose([p["overlap"] for p in entry["pairs"]], cosines[i, j])
    assert_allclose([p["alignment"] for p in entry["pairs"]], excess[i, j])
    r, p = naive_mantel(excess, cosines)
    assert_allclose((entry["r"], entry["p"]), (r, p))
    assert entry["n_permutations"] == 720
    first = np.ix_([0, 2, 3, 4], [0, 2, 3, 4])
    r, p = naive_mantel(excess[first], cosines[first])
    assert_allclose((entry["r_groups"], entry["p_groups"]), (r, p))
    assert "among one of each of 4 lineage groups r" in entry["text"]


def cosine(updates):
    lengths = np.linalg.norm(updates, axis=1)
    return updates @ updates.T / np.outer(lengths, lengths)


def test_models_that_share_what_their_weights_share(tmp_path, population):
    """Features are as near one another as the updates are."""
    _, base, whole = population
    rng = np.random.default_rng(0)
    parts = rng.standard_normal((whole.shape[1], 40, 4))
    for name, update in zip(NAMES, whole, strict=True):
        np.save(tmp_path / f"{name}.npy", np.tensordot(update, parts, 1))
    run = fitted(population, base=str(base))
    paths = [tmp_path / f"{name}.npy" for name in NAMES]
    (entry,) = aligned(*paths, run=run).document["weights"]["by_metric"]
    assert entry["r"] > 0.8
    assert entry["p"] <= 0.05
    how = "cka: models whose weights overlap more are more aligned (Mantel's"
    assert entry["text"].startswith(how)


def test_whole_weights_without_a_base(models, population, tmp_path):
    """One base is in all of them: cosines are high, and of one descent."""
    run = tmp_path / "run.h5"
    fitted(population, out=run)
    found = aligned(*models, run=run).document["weights"]
    (entry,) = found["by_metric"]
    assert found["run"] == "run.h5"
    assert min(pair["overlap"] for pair in entry["pairs"]) > 0.95
    assert found["n_groups"] == 1
    assert entry["r_groups"] is entry["p_groups"] is None
    assert entry["text"].endswith(
        "; lineage groups: 1, too few to tell from descent"
    )
    loaded = aligned(*models, run=spectra.load(run)).document["weights"]
    assert loaded == found


def test_models_that_are_no_members_are_left_out(models, population, tmp_path):
    np.save(tmp_path / "stranger.npy", np.load(models[0]))
    run = fitted(population, base=str(population[1]))
    paths = [tmp_path / "stranger.npy", *models[1:]]
    found = aligned(*paths, run=run).document["weights"]
    assert (found["n_models"], found["left_out"]) == (5, ["stranger.npy"])
    assert found["n_groups"] == 4
    pairs = found["by_metric"][0]["pairs"]
    assert_allclose(
        [pair["overlap"] for pair in pairs],
        cosine(population[2][1:])[np.triu_indices(5, 1)],
    )


def test_members_without_a_common_layer_are_left_out(models, tmp_path):
    """Five adapters of one module; the sixth has another."""
    rng = np.random.default_rng(0)
    for name in NAMES:
        A, B = rng.standard_normal((2, 3, 8))
        module = "other" if name == "m2" else "q_proj"
        write_adapter(tmp_path / "a" / name, {module: (A, B.T)}, 3)
    A, B = rng.standard_normal((2, 3, 8))
    write_adapter(tmp_path / "a" / "twin", {"other": (A, B.T)}, 3)
    run = spectra.fit(spectra.scan(tmp_path / "a"))
    found = aligned(*models, run=run).document["weights"]
    assert (found["n_models"], found["left_out"]) == (5, ["m2.npy"])
    (entry,) = found["by_metric"]
    assert found["n_groups"] == 5
    assert (entry["r_groups"], entry["p_groups"]) == (entry["r"], entry["p"])
    assert "lineage" not in entry["text"]
    assert "goes with the overlap of weights no more" in entry["text"]


def test_too_few_members(models, population, tmp_path):
    run = fitted(population)
    code = refused(
        "3 of 3 models are members of the run .* fewer than 4",
        *models[:3], run=run,
    )  # fmt: skip
    assert code == "E_MEMBERS"
    for name in NAMES[:3]:
        np.save(tmp_path / f"not-{name}.npy", np.load(models[0]))
    paths = [tmp_path / f"not-{name}.npy" for name in NAMES[:3]]
    code = refused("3 of 6 models", *paths, *models[3:], run=run)
    assert code == "E_MEMBERS"
    assert refused("no run file", *models, run="nowhere.h5") == "E_NO_RUN"


def test_a_member_by_two_names(models, population):
    """As two repositories of a hub may be."""
    run = fitted(population)
    first, second, *others = run.value.models
    names = ["org/m0", "other/m0"]
    moved = [
        replace(m, id=n) for m, n in zip((first, second), names, strict=True)
    ]
    twice = replace(run.value, models=(*moved, *others))
    code = refused(
        "m0.npy could be org/m0 or other/m0", *models,
        run=replace(run, value=twice),
    )  # fmt: skip
    assert code == "E_MEMBERS"


# Pages.


def test_every_key_is_explained(models, population):
    page = (Path(__file__).parents[2] / "docs" / "align.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`([\w-]+)`", " ".join(rows)))
    scores = {name: float(i) for i, name in enumerate(NAMES)}
    found = aligned(*models, scores=scores, run=fitted(population)).document
    convergence, weights = found["convergence"][0], found["weights"]
    entry = weights["by_metric"][0]
    parts = (
        found, convergence, convergence["models"][0], convergence["band"][0],
        weights, entry, entry["pairs"][0], found["pairs"][0],
    )  # fmt: skip
    assert {key for part in parts for key in part} - explained == set()


def test_columns_of_recordings_can_be_judged_one_by_one(tmp_path):
    """As the page says: each in a file of its own; RSA needs several."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 4))
    recorded = X @ rng.standard_normal((4, 3)) + 0.1
    recorded[:, 2] = rng.standard_normal(60)
    np.save(tmp_path / "model.npy", X)
    np.save(tmp_path / "brain.npy", recorded)
    paths = tmp_path / "model.npy", tmp_path / "brain.npy"
    (row,) = aligned(*paths, metric=["rsa"]).pairs
    assert row["p"] == 0.05
    r2 = []
    for column in recorded.T:
        np.save(tmp_path / "voxel.npy", column[:, None])
        found = spectra.stitch(
            paths[0], tmp_path / "voxel.npy", kind=["affine"], draws=DRAWS
        )
        r2.append(found.document["maps"][0]["r2"])
    assert min(r2[:2]) > 0.99
    assert r2[2] < 0.2
