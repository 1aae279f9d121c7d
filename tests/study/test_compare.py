"""Two runs as one population: the same bytes, or nothing."""

import json
import os
import shutil
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from numpy.testing import assert_allclose

import spectra
from spectra.core.errors import IntegrityError, UsageError
from spectra.statistics.vectors import centred
from spectra.study import compare as study
from spectra.study.compare import joint_fit
from tests.checkpoints import adapters, dense, write_adapter, write_dense
from tests.hub import Hub, Repository
from tests.study.hub_population import peft

SHAPES = {"a.weight": (9, 14), "b.weight": (14, 9)}


def fitted(folder, out=None, **settings):
    return spectra.fit(spectra.scan(folder), out, **settings)


def two_dense(folder, n=(4, 5), *, spread=None, **settings):
    """Return two runs of full weights, and their members' maps."""
    runs, maps = [], []
    for name, count, seed in zip("xy", n, (1, 2), strict=True):
        found, members, _ = dense(
            folder / name, count, SHAPES, seed=seed, spread=spread
        )
        for path in found.iterdir():
            path.rename(path.with_name(f"{name}-{path.name}"))
        runs.append(fitted(found, folder / f"{name}.h5", **settings))
        maps.append(list(members.values()))
    return runs, maps


def two_adapters(folder, n=(6, 7)):
    """Return two runs of adapters whose members have the same names."""
    return [
        fitted(
            adapters(folder / name, [3] * k, {"q": (24, 16)}, seed=seed)[0],
            folder / f"{name}.h5",
        )
        for name, k, seed in zip("xy", n, (1, 2), strict=True)
    ]


def joint_of(runs, **options):
    return joint_fit(*(run.value for run in runs), **options)


def layer_of(fit, name):
    (layer,) = [layer for layer in fit.layers if layer.name == name]
    return layer


@pytest.fixture
def never_read(monkeypatch):
    """Fail where weights are read."""

    def refuse(*_, **__):
        raise AssertionError("weights are read")

    monkeypatch.setattr(study, "fit_population", refuse)


# The joint fit.


@pytest.mark.parametrize("base", [None, "zero"])
def test_each_block_is_the_runs_own_and_the_rest_explicit(tmp_path, base):
    runs, maps = two_dense(tmp_path, base=base)
    joint = joint_of(runs)
    assert (joint.a, joint.b) == ((0, 1, 2, 3), (4, 5, 6, 7, 8))
    assert joint.fit.started_from_zero == (base == "zero")
    for name in ("a", "b"):
        layer = layer_of(joint.fit, name)
        X = np.stack([
            tensors[f"{name}.weight"].ravel()
            for side in maps
            for tensors in side
        ])  # fmt: skip
        X -= X.mean(axis=0)
        assert_allclose(centred(layer.inner), X @ X.T, atol=1e-4)
        for run, places in zip(runs, (joint.a, joint.b), strict=True):
            own = centred(layer_of(run.value, name).inner)
            block = centred(layer.inner[np.ix_(places, places)])
            assert_allclose(block, own, rtol=1e-5, atol=1e-5)


def test_the_base_of_both_is_subtracted(tmp_path):
    dense(tmp_path, 2, SHAPES)
    base = str(tmp_path / "base")
    runs, _ = two_dense(tmp_path, base=base)
    joint = joint_of(runs)
    assert {layer.kind for layer in joint.fit.layers} == {"difference"}
    assert joint.fit.settings["base"] == base
    own = layer_of(runs[0].value, "a").gram
    block = layer_of(joint.fit, "a").gram[:4, :4]
    assert_allclose(block, own, rtol=1e-5, atol=1e-4)


def test_adapters(tmp_path):
    runs = two_adapters(tmp_path)
    joint = joint_of(runs)
    layer = layer_of(joint.fit, "q")
    for run, places in zip(runs, (joint.a, joint.b), strict=True):
        own = layer_of(run.value, "q").inner
        block = layer.inner[np.ix_(places, places)]
        assert_allclose(block, own, rtol=1e-6, atol=1e-9)


def test_names_that_both_have_say_whose_they_are(tmp_path):
    joint = joint_of(two_adapters(tmp_path))
    names = [member.id for member in joint.fit.models]
    assert sorted(names)[:2] == ["A/a00", "A/a01"]
    assert max(names) == "B/a06"
    runs, _ = two_dense(tmp_path / "dense")
    names = [member.id for member in joint_of(runs).fit.models]
    assert names[0] == "x-m00"


def test_layers_of_both_alone_are_read(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {
        "x": {"both": (8, 9), "other_shape": (6, 7), "x_alone": (5, 4)},
        "y": {"both": (8, 9), "other_shape": (7, 6), "y_alone": (5, 4)},
    }
    runs = []
    for side, layers in shapes.items():
        for i in range(3):
            tensors = {n: rng.standard_normal(s) for n, s in layers.items()}
            write_dense(tmp_path / side / f"{side}{i}", tensors)
        runs.append(fitted(tmp_path / side))
    joint = joint_of(runs)
    assert [layer.name for layer in joint.fit.layers] == ["both"]
    assert layer_of(joint.fit, "both").members == tuple(range(6))


def test_an_update_is_never_compared_with_whole_weights(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        A, B = rng.standard_normal((2, 9)), rng.standard_normal((8, 2))
        write_adapter(tmp_path / "x" / f"x{i}", {"q": (A, B)}, 2)
        weights = {"q.weight": rng.standard_normal((8, 9))}
        write_dense(tmp_path / "y" / f"y{i}", weights)
    runs = [fitted(tmp_path / side) for side in "xy"]
    assert {run.layers for run in runs} == {("q",)}
    with pytest.raises(UsageError, match="no layer in common"):
        joint_of(runs)


def test_members_that_a_run_left_out_of_a_layer_stay_out(tmp_path):
    """A layer with NaN was set aside when its run was fitted."""
    rng = np.random.default_rng(0)
    for i in range(4):
        tensors = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
        if i == 1:
            tensors["a.weight"][0, 0] = np.nan
        write_dense(tmp_path / "p" / f"m{i}", tensors)
    runs = fitted(tmp_path / "p"), two_dense(tmp_path)[0][1]
    joint = joint_of(runs)
    assert layer_of(joint.fit, "a").members == (0, 2, 3, 4, 5, 6, 7, 8)
    assert layer_of(joint.fit, "b").members == tuple(range(9))
    assert joint.fit.quarantine == ()


def test_a_layer_of_two_architectures_is_not_compared(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(4):
        body = "f" if i < 2 else "g"
        shapes = {f"{body}.{n}": (5, 6) for n in range(4)} | {"head": (7, 8)}
        tensors = {n: rng.standard_normal(s) for n, s in shapes.items()}
        write_dense(tmp_path / "p" / f"m{i}", tensors)
        write_dense(
            tmp_path / "o" / f"o{i}",
            {n: rng.standard_normal(s) for n, s in shapes.items()
             if n == "head" or i > 1},
        )  # fmt: skip
    both = fitted(tmp_path / "p"), fitted(tmp_path / "o")
    assert both[0].layers.count("head") == 2
    names = [layer.name for layer in joint_of(both).fit.layers]
    assert names == ["g.0", "g.1", "g.2", "g.3"]


def test_copies_count_once_wherever_they_are(tmp_path):
    """A copy within a run, and one of the other run's."""
    two_dense(tmp_path)
    x, y = (tmp_path / side / "members" for side in "xy")
    shutil.copytree(x / "x-m01", x / "x-m9")
    shutil.copytree(x / "x-m02", y / "y-m9")
    runs = [fitted(folder) for folder in (x, y)]
    joint = joint_of(runs)
    layer = layer_of(joint.fit, "a")
    names = [member.id for member in joint.fit.models]
    copies = {(names[i], names[j]) for i, j in layer.duplicates}
    assert copies == {("x-m9", "x-m01"), ("y-m9", "x-m02")}


def test_a_checkpoint_of_both_counts_in_the_first_alone(tmp_path):
    folder, _, _ = dense(tmp_path, 6, SHAPES)
    first = fitted_some(folder, "m00", "m01", "m02", "m03")
    second = fitted_some(folder, "m02", "m03", "m04", "m05")
    joint = joint_of([first, second])
    assert [member.id for member in joint.fit.models] == [
        "m00", "m01", "m02", "m03", "m04", "m05",
    ]  # fmt: skip
    assert joint.in_both == ("m02", "m03")
    assert (joint.a, joint.b) == ((0, 1, 2, 3), (4, 5))
    document = spectra.compare(first, second).document
    assert document["populations"]["in_both"] == ["m02", "m03"]


def fitted_some(folder, *names):
    return spectra.fit(spectra.scan(*(folder / name for name in names)))


# Refusals.


def test_a_population_is_not_compared_with_itself(tmp_path, never_read):
    (run, _), _ = two_dense(tmp_path)
    with pytest.raises(UsageError, match="all 4 checkpoints") as caught:
        joint_of([run, run])
    assert caught.value.code == "E_COMPARE"


def test_runs_without_a_common_layer_are_refused(tmp_path, never_read):
    runs, _ = two_dense(tmp_path)
    with pytest.raises(UsageError, match="no layer in common") as caught:
        joint_of([runs[0], two_adapters(tmp_path / "b")[0]])
    assert caught.value.code == "E_COMPARE"


def test_differences_from_two_bases_are_refused(tmp_path, never_read):
    dense(tmp_path, 2, SHAPES)
    base = str(tmp_path / "base")
    (first, _), _ = two_dense(tmp_path, base=base)
    folder, _, _ = dense(tmp_path / "z", 3, SHAPES, seed=3)
    for other in (None, "zero", str(tmp_path / "z" / "base")):
        second = fitted(folder, base=other)
        with pytest.raises(UsageError, match="different bases") as caught:
            joint_of([first, second])
        assert caught.value.code == "E_COMPARE"


def test_a_base_that_changed_between_the_runs_is_refused(tmp_path, never_read):
    _, _, start = dense(tmp_path, 2, SHAPES)
    base = tmp_path / "base"
    (first, _), _ = two_dense(tmp_path, base=str(base))
    base.rename(tmp_path / "old")
    write_dense(base, {name: W + 1 for name, W in start.items()})
    folder, _, _ = dense(tmp_path / "z", 3, SHAPES, seed=3)
    with pytest.raises(UsageError, match="different bases"):
        joint_of([first, fitted(folder, base=str(base))])


def test_another_header_is_refused_before_anything_is_read(
    tmp_path, never_read
):
    runs, _ = two_dense(tmp_path)
    path = tmp_path / "y" / "members" / "y-m01"
    replaced(path, {"a.weight": np.ones((9, 14)), "c": np.ones((3, 3))})
    with pytest.raises(IntegrityError, match="not the checkpoint") as caught:
        joint_of(runs)
    assert caught.value.path == str(path)


def replaced(path, tensors):
    for file in path.iterdir():
        file.unlink()
    path.rmdir()
    write_dense(path, tensors)


def test_a_checkpoint_that_is_broken_now_is_refused(tmp_path, never_read):
    runs, _ = two_dense(tmp_path)
    path = tmp_path / "x" / "members" / "x-m01"
    (path / "model.safetensors").write_bytes(b"no")
    with pytest.raises(IntegrityError, match="not the checkpoint"):
        joint_of(runs)


@pytest.mark.parametrize("side", ["x", "y"])
def test_other_bytes_of_the_same_shapes_are_refused(tmp_path, side):
    runs, maps = two_dense(tmp_path)
    tensors = maps["xy".index(side)][1]
    tensors["b.weight"] = tensors["b.weight"] + 1
    replaced(tmp_path / side / "members" / f"{side}-m01", tensors)
    out = tmp_path / "both.h5"
    for kept in (None, out):
        with pytest.raises(IntegrityError, match="bytes that were fitted"):
            joint_of(runs, out=kept)
    assert not out.exists()


def test_another_base_is_refused(tmp_path):
    _, _, start = dense(tmp_path, 2, SHAPES)
    base = tmp_path / "base"
    runs, _ = two_dense(tmp_path, base=str(base))
    base.rename(tmp_path / "old")
    write_dense(base, {name: W + 1 for name, W in start.items()})
    with pytest.raises(IntegrityError, match="bytes that were fitted"):
        joint_of(runs)


def test_a_run_is_never_written_over(tmp_path, never_read):
    runs, _ = two_dense(tmp_path)
    (tmp_path / "note").write_text("mine")
    for path in (runs[0].path, runs[1].path, tmp_path / "note"):
        before = path.read_bytes()
        with pytest.raises(UsageError) as caught:
            spectra.compare(*runs, out=path)
        assert caught.value.code == "E_OUTPUT"
        assert path.read_bytes() == before


# What is kept.


def test_what_was_kept_is_read_instead_of_the_weights(tmp_path, monkeypatch):
    runs, _ = two_dense(tmp_path)
    out = tmp_path / "both.h5"
    first = spectra.compare(*runs, out=out)
    assert first.document == spectra.compare(*runs).document
    assert first.run.path == out
    for side in "xy":
        (tmp_path / side).rename(tmp_path / f"gone-{side}")
    again = spectra.compare(*runs, out=out)
    assert again.document == first.document
    # It is a run as any other.
    assert spectra.load(out).models == first.run.models
    assert spectra.overlap(spectra.load(out)).document["layers"]


def damage(path):
    """Change a byte of a run file where a checksum will tell."""
    with h5py.File(path) as file:
        place = file["layers/000000/inner"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError):
        spectra.load(path)


@pytest.mark.parametrize("which", ["other members", "other bytes", "damaged"])
def test_what_is_not_this_comparison_is_made_anew(tmp_path, which):
    runs, maps = two_dense(tmp_path)
    out = tmp_path / "both.h5"
    expected = spectra.compare(*runs, out=out).document
    if which == "other members":
        spectra.compare(runs[1], runs[0], out=out)
    elif which == "other bytes":
        path = tmp_path / "x" / "members" / "x-m01"
        true = maps[0][1]
        replaced(path, {name: W + 1 for name, W in true.items()})
        changed = fitted(path.parent)
        spectra.compare(changed, runs[1], out=out)
        replaced(path, true)
    else:
        damage(out)
    assert spectra.compare(*runs, out=out).document == expected


def test_the_finer_arithmetic_of_the_two_is_used(tmp_path):
    one, _ = two_dense(tmp_path / "one", precision="f64", rank=5)
    other, _ = two_dense(tmp_path / "two", precision="f32", rank=3)
    settings = joint_of([one[0], other[1]]).fit.settings
    assert (settings["precision"], settings["rank"]) == ("f64", 3)


def test_whoever_watches_is_told_of_each_stage(tmp_path):
    events = []
    spectra.compare(*two_adapters(tmp_path), on_event=events.append)
    stages = dict.fromkeys(event.stage for event in events)
    assert list(stages) == ["scan", "fit", "compare"]


# The object.


class Text(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_a_comparison_as_a_user_holds_it(tmp_path):
    found = spectra.compare(*two_adapters(tmp_path), k=(2,), draws=300, seed=5)
    assert repr(found) == "Comparison(1 undecided)"
    assert json.loads(found.to_json()) == found.document
    settings = found.document["settings"]["compare"]
    assert (settings["k"], settings["draws"], settings["seed"]) == (
        [2], 300, 5,
    )  # fmt: skip
    assert found.verdict == found.document["verdict"]["text"]
    (layer,) = found.layers
    assert "2" in layer["overlap"]["value"]
    page = Text()
    page.feed(found._repr_html_())
    assert page.open == []
    for word in ("undecided", "6 models of A", "of A hold"):
        assert word in page.text


# Real populations, and a hub.


def test_a_real_fine_tune_is_no_independent_population(populations):
    """ANI-1ccx-i was fine-tuned from ANI-1x-i: all are related across."""
    runs = [
        spectra.fit(spectra.scan(*sorted((populations / "ani").glob(glob))))
        for glob in ("ani-1x_*", "ani-1ccx_*")
    ]
    document = spectra.compare(*runs).document
    assert document["populations"]["n_across"] == 16
    assert document["verdict"]["counts"] == {"too-few": 12}


def test_halves_of_a_real_population_are_as_alike_as_other_halves(
    populations,
):
    """51 heads share four directions: so do 25 and 26 of them."""
    folders = sorted((populations / "jeffy-massive").glob("massive*"))
    runs = [
        spectra.fit(spectra.scan(*half), base="zero")
        for half in (folders[::2], folders[1::2])
    ]
    (layer,) = spectra.compare(*runs).layers
    assert layer["n_groups"] == [26, 25]
    assert layer["verdict"] in {"common", "one-way"}
    overlap = layer["overlap"]
    assert overlap["value"]["4"] > 100 * overlap["chance"]["4"]
    assert overlap["p_lower"]["4"] > 0.05
    for way in ("a_to_b", "b_to_a"):
        assert layer[way]["effect"]["4"]["low"] > 0.01


def test_one_random_start_in_both_is_no_comparison(populations):
    folders = sorted((populations / "minilm-lora-same-seed").glob("*/"))
    runs = [
        spectra.fit(spectra.scan(*half))
        for half in (folders[::2], folders[1::2])
    ]
    document = spectra.compare(*runs).document
    assert document["populations"]["n_across"] == 6
    assert document["verdict"]["counts"] == {"too-few": 12}


def test_runs_of_a_hub_are_read_at_their_commits(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("HF_", "SPECTRA_")) or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)
    monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    shelf = [
        Repository(
            f"{owner}/m{i}", peft(np.random.default_rng((i, ord(owner)))), ()
        )
        for owner in "xy"
        for i in range(5)
    ]
    with Hub(shelf) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
        runs = [
            spectra.fit(spectra.scan(*(f"{owner}/m{i}" for i in range(5))))
            for owner in "xy"
        ]
        # Another cache: everything is fetched again, at the pinned commits.
        monkeypatch.setenv("SPECTRA_CACHE", str(tmp_path / "another"))
        joint = joint_of(runs)
    paths = [m.path for run in runs for m in run.models]
    assert [m.path for m in joint.fit.models] == paths
    assert all(m.revision and m.revision in m.path for m in joint.fit.models)
    for layer in joint.fit.layers:
        own = layer_of(runs[0].value, layer.name)
        assert_allclose(layer.inner[:5, :5], own.inner, rtol=1e-6)
