"""Ordered checkpoints, beside their explicit maps, one at a time."""

import dataclasses
import json
import re
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose

from spectra.core.errors import UsageError
from spectra.core.settings import OverlapSettings, as_json
from spectra.report.trajectory import training
from spectra.statistics.document.report import measure
from spectra.statistics.kinship.relations import relate
from spectra.statistics.spectrum.panel import NUMBERS
from spectra.statistics.trajectory.order import order_of
from spectra.subspaces.result import MemberMetrics
from tests.reference.naive import explicit, naive_fit

SETTINGS = OverlapSettings(ordered=True, bootstrap=20)


def walk(rng, n, shape=(12, 9), name="checkpoint-{}"):
    """Return the checkpoints of a run: n uneven steps, one a checkpoint."""
    W, models = rng.standard_normal(shape), {}
    for t in range(n):
        models[name.format(50 * t)] = {"q": W}
        W = W + rng.uniform(0.2, 2.0) * rng.standard_normal(shape)
    return models


def assert_same(found, expected):
    """Assert that two parts of a report are one, up to rounding."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_same(found[key], value)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)
    else:
        assert found == expected


def in_layer(fit, settings=SETTINGS):
    (layer,) = measure(fit, settings)["layers"]
    return layer["trajectory"]


def alone(names, revisions=None, twins=()):
    """Return the order of members of those ids; `twins` are equal pairs."""
    maps = {name: {"q": np.full((3, 2), 1.0 * i)} for i, name in
            enumerate(names)}  # fmt: skip
    for copy, original in twins:
        maps[copy] = maps[original]
    fit = naive_fit(maps)
    models = [
        dataclasses.replace(member, revision=revision)
        for member, revision in zip(
            fit.models, revisions or [None] * len(names), strict=True
        )
    ]
    return order_of(models, relate(fit.layers, len(models), ()))


# The order.


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["checkpoint-1000", "checkpoint-200", "checkpoint-30"],
         (30, 200, 1000)),
        (["s9/w", "s10/w", "s8/w"], (8, 9, 10)),
        (["run-2/step010", "run-2/step9"], (9, 10)),
        (["epoch-2-step-100", "epoch-1-step-50", "epoch-2-step-150"], None),
    ],
)  # fmt: skip
def test_digits_are_numbers(names, steps):
    order = alone(names)
    assert order.steps == steps
    assert [names[i] for i in order.members] == list(order.ids)
    keys = [[int(n) for n in re.findall(r"\d+", name)] for name in order.ids]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (["step-1", "step-2", "last"], "step-1 and last .*more than numbers"),
        (["seed-1/step-20", "seed-2/step-10"],
         "seed-1/step-20 and seed-2/step-10 .*rises where another falls"),
        (["step-1", "step-01"], "numbers are equal"),
        (["a", "b"], "a and b"),
    ],
)  # fmt: skip
def test_what_has_no_order_is_refused(names, why):
    with pytest.raises(UsageError, match=why) as refused:
        alone(names)
    assert refused.value.code == "E_ORDER"
    assert refused.value.exit_code == 2
    assert "checkpoint-100" in refused.value.advice


def test_a_commit_is_no_number():
    names = ["org/m@1234567", "org/m@2345678"]
    assert alone(names).steps == (1234567, 2345678)
    with pytest.raises(UsageError, match="more than numbers"):
        alone(names, [name[6:] + "0" * 33 for name in names])


@pytest.mark.parametrize("copy", ["final", "best"])
def test_a_copy_under_another_name_is_left_out(copy):
    """Whichever of the two the fit has kept."""
    order = alone(sorted([copy, "checkpoint-1", "checkpoint-2"]),
                  twins=[(copy, "checkpoint-2")])  # fmt: skip
    assert order.ids == ("checkpoint-1", "checkpoint-2")
    assert order.left_out == (copy,)


def test_a_copy_of_a_step_is_a_step():
    names = ["step-1", "step-2", "step-3"]
    assert len(alone(names, twins=[("step-2", "step-1")]).ids) == 3


# In weights.


@pytest.mark.parametrize("base", [None, "first"])
def test_the_way_is_that_of_the_maps(base):
    models = walk(np.random.default_rng(0), 11)
    maps = [W["q"] for W in models.values()]
    named = {"base": {"q": maps[0] - 1}} if base else {}
    found = in_layer(naive_fit(models, **named))
    if base:
        maps = [W - (maps[0] - 1) for W in maps]
    steps = [b - a for a, b in pairwise(maps)]
    lengths = [np.linalg.norm(step) for step in steps]
    whole, norm = maps[-1] - maps[0], np.linalg.norm(maps[-1])
    weights = found["weights"]
    expected = {
        "norm": norm,
        "step": lengths,
        "cosine": [
            np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b)
            for a, b in pairwise(steps)
        ],
        "net_share": [np.sum(s * whole) / np.sum(whole**2) for s in steps],
        "from_first": [np.linalg.norm(W - maps[0]) / norm for W in maps],
        "to_last": [np.linalg.norm(W - maps[-1]) / norm for W in maps],
        "net": np.linalg.norm(whole),
        "length": sum(lengths),
        "straightness": np.linalg.norm(whole) / sum(lengths),
    }
    for key, value in expected.items():
        assert_allclose(weights[key], value, rtol=1e-9, atol=1e-12)
    assert sum(weights["net_share"]) == pytest.approx(1)
    assert weights.keys() == expected.keys() | {"floor"}


def test_the_order_of_the_population_changes_nothing():
    models = walk(np.random.default_rng(1), 11)
    names = sorted(models)
    assert names != list(models)
    other = naive_fit({name: models[name] for name in names})
    assert_same(in_layer(other), in_layer(naive_fit(models)))


def test_a_frozen_layer_does_not_drift():
    models = walk(np.random.default_rng(2), 11)
    names = list(models)
    for still in names[1:5]:
        models[still] = models[names[0]]
    found = in_layer(naive_fit(models, rank=3))
    assert found["places"] == list(range(11))
    assert found["weights"]["step"][:4] == [0.0] * 4
    assert found["weights"]["from_first"][:5] == [0.0] * 5
    assert min(found["weights"]["step"][4:]) > 1
    assert found["weights"]["net_share"][:4] == [0.0] * 4
    assert found["weights"]["cosine"][:4] == [None] * 4
    assert "no direction" in found["weights"]["cosine_reason"]
    for side in ("output_side", "input_side"):
        assert found[side]["drift"][:4] == [0.0] * 4
        assert min(found[side]["drift"][4:]) > 0.001
    assert found["changes"]["n"] == 6


def test_a_step_below_the_floor_is_no_step():
    models = walk(np.random.default_rng(3), 9)
    names = list(models)
    nudge = 1e-9 * np.random.default_rng(4).standard_normal((12, 9))
    models[names[3]] = {"q": models[names[2]]["q"] + nudge}
    weights = in_layer(naive_fit(models))["weights"]
    assert [i for i, x in enumerate(weights["step"]) if x is None] == [2]
    assert "floor" in weights["step_reason"]
    assert weights["cosine"][1] is weights["cosine"][2] is None
    assert weights["length"] is weights["straightness"] is None
    assert weights["net"] is not None
    assert (
        np.linalg.norm(nudge)
        < weights["floor"]
        < min(x for x in weights["step"] if x is not None)
    )


def test_a_run_that_comes_back_has_no_net_displacement():
    models = walk(np.random.default_rng(5), 8)
    names = list(models)
    models[names[-1]] = models[names[0]]
    weights = in_layer(naive_fit(models))["weights"]
    assert weights["net"] == weights["straightness"] == 0
    assert weights["net_share"] == [None] * 7
    assert "first" in weights["net_share_reason"]


def test_a_run_that_nearly_comes_back_is_straight_within_noise():
    models = walk(np.random.default_rng(5), 8)
    names = list(models)
    nudge = 1e-9 * np.random.default_rng(4).standard_normal((12, 9))
    models[names[-1]] = {"q": models[names[0]]["q"] + nudge}
    weights = in_layer(naive_fit(models))["weights"]
    assert weights["net"] is weights["straightness"] is None
    assert weights["length"] > 1
    assert "floor" in weights["straightness_reason"]


def test_a_layer_that_a_checkpoint_lacks():
    models = walk(np.random.default_rng(6), 9)
    names = list(models)
    for name in names:
        models[name] = models[name] | {"v": models[name]["q"] ** 2}
    across = models[names[5]]["q"] - models[names[3]]["q"]
    del models[names[4]]["q"]
    document = measure(naive_fit(models), SETTINGS)
    places = {x["name"]: x["trajectory"]["places"] for x in document["layers"]}
    assert places == {"q": [0, 1, 2, 3, 5, 6, 7, 8], "v": list(range(9))}
    found = document["layers"][0]["trajectory"]["weights"]
    assert len(found["step"]) == 7
    assert found["step"][3] == pytest.approx(np.linalg.norm(across))


def test_a_layer_of_copies_alone_has_no_trajectory():
    """Of names of another kind, which equal the steps where they can."""
    rng = np.random.default_rng(0)
    A, B, X, Y = rng.standard_normal((4, 6, 5))
    models = {
        "best": {"q": A, "x": X}, "final": {"q": B, "x": Y},
        "step-1": {"q": A}, "step-2": {"q": B},
    }  # fmt: skip
    document = measure(naive_fit(models), SETTINGS)
    assert document["trajectory"]["copies"] == ["best", "final"]
    found = {layer["name"]: layer for layer in document["layers"]}
    assert found["q"]["trajectory"]["places"] == [0, 1]
    assert found["x"]["trajectory"] is None
    assert "fewer than two" in found["x"]["trajectory_reason"]


# Sides.


def adapters(rng, n, zero=0, out=16, into=12, r=2):
    """Return n adapters of one run; B is zero in the first `zero`."""
    A, B = rng.standard_normal((r, into)), np.zeros((out, r))
    models = {}
    for t in range(n):
        models[f"step-{t}"] = {"q": (A, B, 2.0)}
        if t >= zero - 1:
            B = B + rng.standard_normal((out, r))
            A = A + 0.3 * rng.standard_normal(A.shape)
    return models


def test_drift_is_that_of_the_singular_vectors():
    models = adapters(np.random.default_rng(0), 8, zero=1)
    found = in_layer(naive_fit(models))
    frames = []
    for layers in models.values():
        U, s, Vh = np.linalg.svd(explicit(layers["q"]))
        rank = int(np.sum(s > 1e-9))
        frames.append((U[:, :rank], Vh[:rank].T))
    for i, (side, d) in enumerate((("output_side", 16), ("input_side", 12))):
        U, said = [frame[i] for frame in frames], found[side]
        assert said["drift"][0] is said["last_overlap"][0] is None
        assert said["drift_chance"][0] is None
        assert "zeros" in said["drift_reason"]
        turned = [1 - np.sum((a.T @ b) ** 2) / 2 for a, b in pairwise(U[1:])]
        assert_allclose(said["drift"][1:], turned, atol=1e-9)
        kept = [np.sum((u.T @ U[-1]) ** 2) / 2 for u in U[1:]]
        assert_allclose(said["last_overlap"][1:], kept, atol=1e-9)
        assert said["last_overlap"][-1] == 1
        assert_allclose(said["drift_chance"][1:], 1 - 2 / d)
        assert_allclose(said["last_chance"][1:], 2 / d)


def test_chance_is_that_of_the_larger_subspace():
    rng = np.random.default_rng(0)
    models = adapters(rng, 3)
    A, B, scale = models["step-1"]["q"]
    models["step-1"]["q"] = A, B * [1, 0], scale
    found = in_layer(naive_fit(models))["output_side"]
    assert_allclose(found["last_chance"][1:], 2 / 16)
    alone = np.linalg.svd(B[:, :1])[0][:, :1]
    last = np.linalg.svd(explicit(models["step-2"]["q"]))[0][:, :2]
    shared = np.sum((alone.T @ last) ** 2)
    assert found["last_overlap"][1] == pytest.approx(shared)


@pytest.mark.parametrize("turn", [0, 4, 7])
def test_the_final_directions_appear_where_they_are_planted(turn):
    rng, models = np.random.default_rng(0), {}
    U, V = (np.linalg.qr(rng.standard_normal((d, 4)))[0] for d in (16, 12))
    for t in range(8):
        own = slice(0, 2) if t < turn else slice(2, 4)
        W = U[:, own] @ V[:, own].T + 0.01 * rng.standard_normal((16, 12))
        models[f"step-{t}"] = {"q": W}
    found = in_layer(naive_fit(models, rank=2))
    for side in ("output_side", "input_side"):
        if turn == 7:
            assert found[side]["appears"] is None
            assert "before the last" in found[side]["appears_reason"]
        else:
            assert found[side]["appears"] == f"step-{turn}"


def test_directions_that_leave_again_have_not_appeared():
    rng, models = np.random.default_rng(0), {}
    frame = np.linalg.qr(rng.standard_normal((16, 2)))[0]
    for t, way in enumerate((1, 1, 0, 1, 1)):
        W = np.outer(frame[:, way], np.ones(12))
        models[f"step-{t}"] = {"q": W + 0.01 * rng.standard_normal((16, 12))}
    found = in_layer(naive_fit(models, rank=1))
    assert found["output_side"]["appears"] == "step-3"
    # All of them read from one direction.
    assert found["input_side"]["appears"] == "step-0"


def test_half_way_is_between_chance_and_one():
    """Overlap with the last one is cos^2; chance is 1/4, half-way 5/8."""
    models = {}
    for t, cosine_squared in enumerate((0.60, 0.65, 1.0)):
        u = np.zeros((4, 1))
        u[0], u[1] = np.sqrt(cosine_squared), np.sqrt(1 - cosine_squared)
        models[f"step-{t}"] = {"q": u @ np.ones((1, 9)) * (1 + t)}
    found = in_layer(naive_fit(models, rank=1))["output_side"]
    assert_allclose(found["last_overlap"], [0.60, 0.65, 1.0])
    assert_allclose(found["last_chance"], 0.25)
    assert found["appears"] == "step-1"


def test_a_side_that_is_kept_whole_cannot_turn():
    models = walk(np.random.default_rng(0), 8, shape=(12, 9))
    found = in_layer(naive_fit(models, rank=9))
    assert_allclose(found["input_side"]["drift"], 0, atol=1e-9)
    assert_allclose(found["input_side"]["drift_chance"], 0, atol=1e-12)
    assert found["input_side"]["appears"] is None
    assert "cannot turn" in found["input_side"]["appears_reason"]


# Ranks, changes, and the document.


def test_ranks_over_time_are_those_of_fit_metrics():
    fit = naive_fit(walk(np.random.default_rng(0), 6, name="step-{}"))
    bare = in_layer(fit)
    for name in ("effective_rank", "stable_rank", "alpha"):
        assert bare[name] is None
        assert bare[f"{name}_reason"] == "spectra fit --metrics asks for it"
    values = np.arange(6 * len(NUMBERS), dtype=float).reshape(6, -1)
    values[2, NUMBERS.index("alpha")] = np.nan
    order = [0, 3, 1, 5, 2, 4]
    (layer,) = fit.layers
    models = tuple(
        dataclasses.replace(fit.models[i], id=f"step-{order[i]}")
        for i in range(6)
    )
    layer = dataclasses.replace(
        layer, metrics=MemberMetrics(values, np.zeros(6, np.int64))
    )
    found = in_layer(dataclasses.replace(fit, models=models, layers=(layer,)))
    back = np.argsort(order)
    for name in ("effective_rank", "stable_rank"):
        assert found[name] == list(values[back, NUMBERS.index(name)])
    assert [v is None for v in found["alpha"]] == list(back == 2)
    assert "power law" in found["alpha_reason"]


def test_few_steps_have_no_test():
    found = in_layer(naive_fit(walk(np.random.default_rng(0), 6)))
    assert found["changes"] is None
    assert found["changes_reason"].startswith("5 steps have a direction")


@pytest.mark.parametrize(("n", "tested"), [(7, 0), (9, 0), (11, 1)])
def test_what_no_order_could_divide_is_not_counted_as_tested(n, tested):
    document = measure(naive_fit(walk(np.random.default_rng(0), n)), SETTINGS)
    (layer,) = document["layers"]
    (first, *_) = layer["trajectory"]["changes"]["tests"]
    assert (first["least_p"] <= SETTINGS.alpha) == bool(tested)
    together = document["trajectory"]["changes"]
    assert together["n_tested"] == tested
    assert together["n_too_short"] == 1 - tested
    assert together["n_by_chance"] == SETTINGS.alpha * tested
    said = " ".join(training(document))
    assert ("Too few steps" in said) == (not tested)


def test_a_change_is_named_by_the_checkpoint_it_begins_at():
    rng, models = np.random.default_rng(0), {}
    ways = rng.standard_normal((2, 20, 9))
    W = rng.standard_normal((20, 9))
    for t in range(17):
        models[f"step-{t}"] = {"q": W, "still": rng.standard_normal((8, 7))}
        # Two checkpoints of the same bytes stand between.
        if t not in {4, 5}:
            W = W + ways[int(t >= 9)] + 0.2 * rng.standard_normal((20, 9))
    document = measure(naive_fit(models), SETTINGS)
    found, other = (layer["trajectory"] for layer in document["layers"])
    assert found["changes"]["n"] == 14
    assert found["changes"]["at"] == ["step-9"]
    whole = max(found["changes"]["tests"], key=lambda test: test["n"])
    assert whole["first"] == "step-0"
    assert whole["last"] == "step-16"
    assert (whole["at"], whole["is_change"]) == ("step-9", True)
    assert whole["p"] == 1 / 200
    assert other["changes"]["at"] == []
    together = document["trajectory"]["changes"]
    assert together["at"] == [{"id": "step-9", "n_layers": 1}]
    assert (together["n_tested"], together["n_changed"]) == (2, 1)
    assert together["n_by_chance"] == pytest.approx(0.02)


def test_alpha_and_seed_and_draws_are_those_of_the_settings():
    fit = naive_fit(walk(np.random.default_rng(0), 13))

    def tests(**settings):
        asked = dataclasses.replace(SETTINGS, **settings)
        return in_layer(fit, asked)["changes"]["tests"]

    assert len(tests()) == 1
    assert tests()[0]["p"] != tests(seed=1)[0]["p"]
    counted = tests(draws=250)[0]["p"] * 251
    assert counted == pytest.approx(round(counted))
    assert counted != pytest.approx(tests()[0]["p"] * 251)
    divided = tests(alpha=1.0)
    assert len(divided) > 1
    assert all(test["is_change"] for test in divided)


def test_nothing_but_descent_is_another():
    fit = naive_fit(walk(np.random.default_rng(0), 8))
    plain = measure(fit, dataclasses.replace(SETTINGS, ordered=False))
    ordered = measure(fit, SETTINGS)
    assert plain["settings"]["overlap"] == as_json(SETTINGS) | {
        "ordered": False
    }
    assert "trajectory" not in json.dumps(plain)
    assert ordered.pop("trajectory")["checkpoints"][1] == {
        "id": "checkpoint-50", "step": 50,
    }  # fmt: skip
    before, after = plain["layers"][0], ordered["layers"][0]
    assert after.keys() - before.keys() == {"trajectory"}
    for key in ("energy", "eigenvalues", "evr", "null"):
        assert after["model_axis"][key] == before["model_axis"][key]
    for key in ("name", "shape", "n_models", "base_alignment", "recipes"):
        assert after[key] == before[key]


def test_a_walk_without_an_aim_is_no_population():
    """Its steep spectrum is that of a sum of independent steps."""
    rng, models = np.random.default_rng(0), {}
    W = 0.01 * rng.standard_normal((40, 32))
    for t in range(18):
        models[f"step-{t}"] = {"q": W}
        W = W + 0.1 * rng.standard_normal((40, 32))
    fit = naive_fit(models)
    fooled, told = (
        measure(fit, dataclasses.replace(SETTINGS, ordered=asked))
        for asked in (False, True)
    )
    assert fooled["layers"][0]["verdict"] in {"shared", "weakly-shared"}
    assert told["layers"][0]["verdict"] == "shared-lineage"
    assert told["population"]["n_groups"] == 1
    assert "training run" in told["population"]["lineage"]["threshold_reason"]
    assert told["layers"][0]["trajectory"]["changes"]["at"] == []


def test_groups_that_are_given_stay():
    """They are no populations: each holds steps of one run."""
    rng = np.random.default_rng(0)
    fit = naive_fit({
        f"step-{t}": {"q": rng.standard_normal((6, 5))} for t in range(12)
    })  # fmt: skip
    groups = {m.id: str(i % 2) for i, m in enumerate(fit.models)}
    found = [
        measure(fit, dataclasses.replace(SETTINGS, groups=groups, ordered=o))
        for o in (False, True)
    ]
    assert [each["population"]["n_groups"] for each in found] == [2, 2]
    pairs = [each["populations"]["pairs"] for each in found]
    assert [bool(pair) for pair in pairs] == [True, False]


def test_several_numbers_leave_the_step_open():
    models = walk(np.random.default_rng(0), 3)
    names = ("e1-s10", "e1-s20", "e2-s30")
    fit = naive_fit(dict(zip(names, models.values(), strict=True)))
    found = measure(fit, SETTINGS)["trajectory"]
    assert [each["step"] for each in found["checkpoints"]] == [None] * 3
    assert "several numbers" in found["step_reason"]


@pytest.mark.parametrize("make", [
    lambda: naive_fit({"s-1": {"q": np.eye(3)}, "s-2": {"q": 2 * np.eye(3)}}),
    lambda: naive_fit(adapters(np.random.default_rng(0), 3, zero=2)),
    lambda: naive_fit({"s-1": {"q": np.ones((3, 2))},
                       "s-2": {"q": np.zeros((3, 2))}}),
    lambda: naive_fit({"a": {"q": np.eye(3)}, "b": {"q": np.eye(3)}}),
])  # fmt: skip
def test_nothing_is_nan_and_what_is_null_has_a_reason(make):
    document = measure(make(), SETTINGS)
    json.dumps(document, allow_nan=False)

    def look(value):
        if isinstance(value, list):
            for each in value:
                look(each)
        elif isinstance(value, dict):
            for key, inner in value.items():
                empty = inner is None or (
                    isinstance(inner, list) and None in inner
                )
                assert not empty or value[f"{key}_reason"], key
                look(inner)

    look(document["trajectory"])
    for layer in document["layers"]:
        look(layer["trajectory"])


def test_a_population_in_no_order_is_refused():
    models = {name: {"q": np.random.default_rng(i).standard_normal((4, 3))}
              for i, name in enumerate(("red", "blue", "green"))}  # fmt: skip
    with pytest.raises(UsageError, match="red and blue are not in an order"):
        measure(naive_fit(models), SETTINGS)
