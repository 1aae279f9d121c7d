"""Models aligned by their files: pairs, layers, vocabularies, matrices."""

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose

import spectra
from spectra.align.representations.metrics import METRICS
from spectra.align.representations.null import KEEPS
from spectra.core.errors import UsageError
from spectra.study import alignment
from spectra.weights.features.files import FORMATS
from tests.align.test_representation_null import evaluated
from tests.align.test_representations import features
from tests.checkpoints import write_dense
from tests.reference.alignment import NAIVE
from tests.weights.test_embedding import checkpoint

NAMES = [metric.name for metric in METRICS]
DRAWS = 19


@pytest.fixture
def models(tmp_path):
    """Three models that have something in common, and a stranger."""
    made = features(0, n=40, widths=(8, 9, 10), common=3)
    made.append(np.random.default_rng(9).standard_normal((40, 7)))
    for i, X in enumerate(made):
        np.save(tmp_path / f"m{i}.npy", X)
    return [tmp_path / f"m{i}.npy" for i in range(4)]


def code(*sources, **asked):
    with pytest.raises(UsageError) as caught:
        spectra.alignment(*sources, **asked)
    return caught.value.code


def test_every_metric_of_a_pair(models):
    a, b = (np.load(path) for path in models[:2])
    found = spectra.alignment(*models[:2], metric=NAMES, k=4, draws=DRAWS)
    there = {row["metric"]: row for row in found.pairs if row["a"] == "m0.npy"}
    back = {row["metric"]: row for row in found.pairs if row["a"] == "m1.npy"}
    assert list(there) == NAMES
    assert set(back) == {m.name for m in METRICS if m.is_directed}
    for name, naive in NAIVE.items():
        assert_allclose(there[name]["value"], naive(a, b, 4), rtol=1e-5)
        if name in back:
            assert_allclose(back[name]["value"], naive(b, a, 4), rtol=1e-5)
    for name in NAMES:
        row, own = there[name], evaluated(name, a, b, draws=DRAWS)
        assert_allclose(row["null_mean"], own.null_mean)
        assert_allclose(row["null_high"], own.draws.max())
        assert_allclose(row["excess"], row["value"] - row["null_mean"])
        assert row["p"] == own.p == 0.05
        assert (row["n_items"], row["coverage"]) == (40, 1)


def test_matrices_of_all_pairs(models):
    names = ("mutual-knn", "cycle-knn")
    found = spectra.alignment(*models, metric=names, draws=DRAWS).document
    ids = [model["id"] for model in found["models"]]
    assert ids == ["m0.npy", "m1.npy", "m2.npy", "m3.npy"]
    by_pair = {
        (row["metric"], row["a"], row["b"]): row["value"]
        for row in found["pairs"]
    }
    assert len(by_pair) == len(found["pairs"]) == 6 + 12
    for matrix in found["matrices"]:
        name, values = matrix["metric"], matrix["values"]
        assert sorted(matrix["order"]) == ids
        assert matrix["order"].index("m3.npy") in {0, 3}
        for i, a in enumerate(ids):
            assert values[i][i] is None
            for j, b in enumerate(ids):
                if i < j or (i != j and name == "cycle-knn"):
                    assert values[i][j] == by_pair[name, a, b]
                if i != j and name == "mutual-knn":
                    assert values[i][j] == values[j][i]
    assert found["text"].startswith("3 of 6 pairs have a higher mutual-knn")
    json.dumps(found, allow_nan=False)


def test_the_highest_of_layers(tmp_path):
    """Planted in one layer of each; the null takes the highest too."""
    rng = np.random.default_rng(0)
    one, two = rng.standard_normal((2, 50, 3, 6))
    two[:, 2] = one[:, 1] @ rng.standard_normal((6, 6))
    np.save(tmp_path / "one.npy", one)
    with h5py.File(tmp_path / "two.h5", "w") as file:
        for i in range(3):
            file[f"layer.{i}"] = two[:, i]
    paths = tmp_path / "one.npy", tmp_path / "two.h5"
    (row,) = spectra.alignment(*paths, metric=["cka"], draws=DRAWS).pairs
    assert (row["layer_a"], row["layer_b"]) == ("1", "layer.2")
    assert_allclose(row["value"], NAIVE["cka"](one[:, 1], two[:, 2], 0))
    draws = [
        evaluated("cka", one[:, i], two[:, j], draws=DRAWS).draws
        for i in range(3)
        for j in range(3)
    ]
    assert_allclose(row["null_mean"], np.max(draws, axis=0).mean())
    assert row["null_mean"] > np.mean(draws) + 0.01


def test_neither_threads_nor_what_is_kept_change_a_bit(models, monkeypatch):
    first = spectra.alignment(*models, metric=NAMES, draws=DRAWS)
    monkeypatch.setattr(alignment, "_KEPT", 0)
    monkeypatch.setattr("spectra.align.representations.null.cores", lambda: 5)
    again = spectra.alignment(*models, metric=NAMES, draws=DRAWS)
    assert again.to_json() == first.to_json()


def test_what_was_prepared_is_used_again(models, monkeypatch):
    reads = []
    whole = alignment._Work._features
    monkeypatch.setattr(
        alignment._Work,
        "_features",
        lambda *words: reads.append(words[2:]) or whole(*words),
    )
    names = ["mutual-knn", "lcs-knn", "cknna"]
    spectra.alignment(*models, metric=names, draws=DRAWS)
    assert sorted(reads) == [(i, 0) for i in range(4)]


def test_rows_are_taken_as_given_or_normalized(models):
    a, b = (np.load(path) for path in models[:2])
    U, V = (X / np.linalg.norm(X, axis=1, keepdims=True) for X in (a, b))
    for normalize, (X, Y) in ((False, (a, b)), (True, (U, V))):
        (row,) = spectra.alignment(
            *models[:2], metric=["cka"], draws=DRAWS, normalize=normalize
        ).pairs
        assert_allclose(row["value"], NAIVE["cka"](X, Y, 0))


def test_items_beyond_what_a_metric_can_hold_are_drawn(models, monkeypatch):
    rows = tuple(
        metric if metric.name != "rsa" else type(metric)(
            "rsa", metric.prepare, metric.compare, metric.cite, most=25
        )
        for metric in METRICS
    )  # fmt: skip
    monkeypatch.setattr("spectra.align.representations.metrics.METRICS", rows)
    found = [
        spectra.alignment(
            *models[:2], metric=["rsa", "cka"], draws=DRAWS, seed=seed
        ).pairs
        for seed in (0, 0, 1)
    ]
    assert found[0] == found[1]
    (cka, rsa), (_, other) = found[0], found[2]
    assert (cka["n_items"], cka["coverage"]) == (40, 1)
    assert (rsa["n_items"], rsa["coverage"]) == (25, 25 / 40)
    assert rsa["value"] != other["value"]
    assert rsa["p"] == 0.05


def test_an_observer_is_told_of_each_evaluation(models):
    told = []
    spectra.alignment(
        *models[:3], metric=["cka", "cycle-knn"], draws=DRAWS,
        on_event=told.append,
    )  # fmt: skip
    assert [event.done for event in told] == list(range(1, 9 * 20 + 1))
    assert {event.total for event in told} == {9 * 20}
    assert told[-1].stage == "align"


# Vocabularies.


@pytest.fixture
def vocabularies(tmp_path):
    """Two models whose tokens stand in other orders, and are not all same."""
    rng = np.random.default_rng(0)
    words = [f"w{i}" for i in range(60)]
    Z = rng.standard_normal((60, 3))
    paths, matrices = [], []
    for name, some in (("a", words[:50]), ("b", words[10:][::-1])):
        width = 8 + len(name + some[0])
        E = Z[[words.index(w) for w in some]] @ rng.standard_normal((3, width))
        E += 0.5 * rng.standard_normal(E.shape)
        tensors = {"model.embed_tokens.weight": E, "lm_head.weight": -E}
        paths.append(checkpoint(tmp_path / name, tensors, some, "F64"))
        matrices.append(dict(zip(some, E, strict=True)))
    return paths, matrices


def test_embeddings_meet_by_their_tokens(vocabularies):
    paths, (a, b) = vocabularies
    found = spectra.alignment(*paths, metric=["mutual-knn"], draws=DRAWS)
    common = sorted(a.keys() & b.keys())
    X, Y = (np.array([E[token] for token in common]) for E in (a, b))
    (row,) = found.pairs
    assert_allclose(row["value"], NAIVE["mutual-knn"](X, Y, 10))
    assert row["n_items"] == found.document["n_items"] == 40
    assert row["coverage"] == 0.8
    assert row["p"] == 0.05
    assert row["layer_a"] == "model.embed_tokens.weight"
    assert found.document["models"] == [
        {
            "id": name,
            "kind": "embedding",
            "n_rows": 50,
            "layers": [
                {"name": "model.embed_tokens.weight", "width": len(E["w30"])}
            ],
        }
        for name, E in (("a", a), ("b", b))
    ]
    assert "40 items" in found.text


def test_checkpoints_of_transformers_with_their_tokenizers(tmp_path):
    """As `save_pretrained` writes them; one is the other, its words mixed."""
    rng = np.random.default_rng(0)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += [f"word{i}" for i in range(40)]
    order = rng.permutation(len(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1,
        num_attention_heads=2, intermediate_size=8,
    )  # fmt: skip
    first = transformers.BertModel(config)
    second = transformers.BertModel(config)
    weights = first.embeddings.word_embeddings.weight
    rotation = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    with torch.no_grad():
        moved = weights.numpy()[order] @ rotation
        second.embeddings.word_embeddings.weight.copy_(torch.tensor(moved))
    for name, model, names in (
        ("first", first, words),
        ("second", second, [words[i] for i in order]),
    ):
        (tmp_path / f"{name}.txt").write_text("\n".join(names) + "\n")
        model.save_pretrained(tmp_path / name)
        transformers.BertTokenizerFast(
            vocab=dict(zip(names, range(len(names)), strict=True))
        ).save_pretrained(tmp_path / name)
        assert (tmp_path / name / "tokenizer.json").exists()
    found = spectra.alignment(
        tmp_path / "first", tmp_path / "second", draws=DRAWS
    )
    for row in found.pairs:
        assert_allclose(row["value"], 1, atol=1e-3)
        assert row["n_items"] == len(words)


def test_tokens_that_all_have(vocabularies, tmp_path):
    paths, _ = vocabularies
    words = [f"w{i}" for i in range(20, 40)]
    E = np.random.default_rng(1).standard_normal((20, 6))
    third = checkpoint(tmp_path / "c", {"wte.weight": E}, words)
    found = spectra.alignment(*paths, third, draws=DRAWS)
    assert {row["n_items"] for row in found.pairs} == {20}
    assert {row["coverage"] for row in found.pairs} == {20 / 50}


# What is written of it.


def test_a_notebook_shows_a_table(models):
    path = models[0].with_name("<b>.npy")
    models[0].rename(path)
    found = spectra.alignment(path, models[1], draws=DRAWS)
    page = found._repr_html_()
    assert page.count("<tr>") == 1 + len(found.pairs)
    assert page.count("&lt;b&gt;.npy") == 1 + len(found.pairs)
    assert "<b>" not in page
    assert f"<td>{found.pairs[1]['value']:.3f}</td>" in page
    assert repr(found) == f"Alignment({found.text})"


def test_every_key_and_metric_is_explained(models):
    page = (Path(__file__).parents[2] / "docs" / "align.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    explained = set(re.findall(r"`([\w-]+)`", " ".join(rows)))
    found = spectra.alignment(*models[:2], draws=DRAWS).document
    parts = (found, *found["models"], *found["models"][0]["layers"],
             *found["matrices"], *found["pairs"])  # fmt: skip
    keys = {key for part in parts for key in part}
    assert keys - explained == set()
    for metric in METRICS:
        (row,) = [
            row for row in rows if f"`{metric.name}`" in row.split("|")[1]
        ]
        assert metric.cite in row
    for ending in FORMATS:
        assert f"`{ending}`" in page
    assert KEEPS in (Path(__file__).parents[2] / "docs/nulls.md").read_text()


# What cannot be done.


def test_errors_of_what_was_asked(models):
    a, b = models[:2]
    assert code(a) == "E_ALIGN"
    assert code(a, b, metric=["cosine"]) == "E_METRIC"
    assert code(a, b, draws=18) == "E_DRAWS"
    assert code(a, b, k=0) == "E_LEVEL"
    assert code(a, b, k=39) == "E_ALIGN"
    assert spectra.alignment(a, b, k=38, draws=DRAWS).pairs[0]["value"] > 0.9


def test_other_items(models, tmp_path):
    np.save(tmp_path / "x.npy", np.eye(39))
    with pytest.raises(UsageError, match=r"x\.npy has 39 rows, .*m0\.npy 40"):
        spectra.alignment(models[0], tmp_path / "x.npy")


def test_files_that_tell_of_other_items(tmp_path):
    X = np.random.default_rng(0).standard_normal((20, 3))
    told = (("a", "1f"), ("b", "1f"), ("c", "2e"), ("d", None), ("e", "3d"))
    for name, items in told:
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["mean/0"] = X
            file.attrs["kind"] = "images" if name == "e" else "texts"
            if items:
                file.attrs["items_sha256"] = items
    a, b, c, d, e = (tmp_path / f"{name}.h5" for name in "abcde")
    # Images and their captions are the same items.
    assert spectra.alignment(a, b, d, e, draws=DRAWS).document["n_items"] == 20
    with pytest.raises(UsageError, match=r"c\.h5 are features of other items"):
        spectra.alignment(a, d, c)
    assert code(a, c) == "E_ALIGN"


def test_few_items(tmp_path):
    np.save(tmp_path / "x.npy", np.eye(7))
    assert code(tmp_path / "x.npy", tmp_path / "x.npy", k=1) == "E_ALIGN"


def test_one_row_for_all(models, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((40, 3)))
    assert code(models[0], tmp_path / "x.npy") == "E_FEATURES"


@pytest.mark.parametrize("name", ["cka-rbf", "cka-debiased", "rsa"])
def test_a_metric_that_is_not_defined(models, tmp_path, name):
    """One item that differs: all others are at the same place."""
    X = np.zeros((40, 1))
    X[3] = 1
    np.save(tmp_path / "x.npy", X)
    with pytest.raises(UsageError, match=f"{name}: .*division by zero"):
        spectra.alignment(
            models[0], tmp_path / "x.npy", metric=[name], draws=DRAWS
        )
    assert code(models[0], tmp_path / "x.npy", metric=[name]) == "E_FEATURES"


def test_features_and_a_checkpoint(models, vocabularies):
    assert code(models[0], vocabularies[0][0]) == "E_ALIGN"


def test_vocabularies_without_a_common_token(tmp_path):
    paths = [
        checkpoint(tmp_path / w, {"wte.weight": np.eye(9)}, [
            f"{w}{i}" for i in range(9)
        ])
        for w in "ab"
    ]  # fmt: skip
    assert code(*paths) == "E_ALIGN"


def test_a_checkpoint_that_cannot_be_used(vocabularies, tmp_path):
    path = vocabularies[0][0]
    write_dense(tmp_path / "none", {"wte.weight": np.eye(9)})
    with pytest.raises(UsageError, match="none: VOCABULARY: has no tokenizer"):
        spectra.alignment(path, tmp_path / "none")
    assert code(path, tmp_path / "nowhere") == "E_SOURCE"
    assert code(path, tmp_path) == "E_FEATURES"  # three checkpoints
    checkpoint(tmp_path / "poor", {"q.weight": np.eye(9)}, "abcdefghi")
    with pytest.raises(UsageError, match="poor: EMBEDDING: no tensor"):
        spectra.alignment(path, tmp_path / "poor")
    E = np.full((50, 3), np.inf)
    checkpoint(
        tmp_path / "inf", {"wte.weight": E}, [f"w{i}" for i in range(50)]
    )
    with pytest.raises(UsageError, match=r"inf: NONFINITE: wte\.weight"):
        spectra.alignment(path, tmp_path / "inf")
