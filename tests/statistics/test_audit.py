"""What has to be known of a population before its spectra are believed."""

import dataclasses
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

import spectra
from spectra.statistics.audit.audit import audit_document
from spectra.statistics.kinship import near
from spectra.statistics.kinship.relations import relate
from spectra.subspaces.result import LayerFit, SideFit
from tests.checkpoints import write_adapter, write_dense
from tests.reference.naive import checkpoints, explicit, naive_fit

SHAPE = (96, 96)


def audited(fit):
    """Return the audit of a fit; JSON refuses NaN."""
    layers = fit.layers
    relations = relate(layers, len(fit.models), (0.3,))
    document = audit_document(fit, relations)
    return json.loads(json.dumps(document, allow_nan=False))


def gaussian(rng, shape=SHAPE, std=0.02):
    return rng.normal(0, std, shape).astype(np.float32)


def trained(rng, shape=SHAPE):
    """Return a matrix with a few directions above its noise."""
    u = rng.standard_normal((shape[0], 3))
    v = rng.standard_normal((3, shape[1]))
    return gaussian(rng, shape) + (0.02 * u @ v).astype(np.float32)


def fit_of(*members, **options):
    """Return the naive fit of members, each a list of maps."""
    models = {
        f"m{i}": {f"layer.{n}": value for n, value in enumerate(maps)}
        for i, maps in enumerate(members)
    }
    return naive_fit(models, **options)


def flagged(document):
    return {m["id"] for m in document["fresh"]["members"] if m["untrained"]}


def named(part):
    """Return {member: names of its layers} of one list."""
    return {
        m["id"]: [layer["name"] for layer in m["layers"]]
        for m in part["members"]
    }


def adapter(rng, shape=SHAPE, rank=4, moved=1.0):
    bound = shape[1] ** -0.5
    A = rng.uniform(-bound, bound, (rank, shape[1]))
    A += moved * bound * rng.standard_normal(A.shape) / np.sqrt(3)
    B = rng.standard_normal((shape[0], rank)) * 0.01
    return A.astype(np.float32), B.astype(np.float32), 2.0


# Real populations.


@pytest.fixture(scope="module")
def real(populations):
    """Return a function from the name of a population to its audit."""
    found = {}

    def audit(name):
        if name not in found:
            run = spectra.fit(spectra.scan(populations / name))
            found[name] = audited(run.value)
        return found[name]

    return audit


@pytest.mark.parametrize(
    "name",
    ["ani", "chgnet", "jeffy-massive", "sceptr", "minilm-lora",
     "minilm-lora-same-seed"],
)  # fmt: skip
def test_no_trained_model_looks_untrained(real, name):
    document = real(name)
    assert document["fresh"]["n_untrained"] == 0
    assert flagged(document) == set()
    assert document["near_duplicates"]["n"] == 0
    assert document["tied"] == []
    for part in ("zero", "constant"):
        assert document["scale"][part] == {"n": 0, "members": []}
    assert (document["starts"] is None) == (not name.startswith("minilm"))
    if name != "chgnet":
        assert document["fresh"]["members"] == []
        assert document["scale"]["outlying"]["n"] == 0


def test_layers_that_nothing_trained_are_found_in_a_published_model(real):
    """The update of bonds by the last angle layer of CHGNet is never read."""
    document = real("chgnet")
    dead = [
        f"angle_layers.2.twoBody_bond.mlp_{part}.layers.1"
        for part in ("core", "gate")
    ]
    assert named(document["fresh"]) == dict.fromkeys(
        ["0.2.0", "0.3.0", "r2scan"], dead
    )
    for member in document["fresh"]["members"]:
        for layer in member["layers"]:
            assert layer["why"] == "uniform"
            # The bound of a linear layer of PyTorch, 1 / sqrt(in).
            assert_allclose(layer["std"] * np.sqrt(3 * 256), 1, rtol=0.005)
    assert set(named(document["scale"]["outlying"])) == {"0.2.0"}


def test_adapters_are_near_their_starts(real):
    document = real("minilm-lora-same-seed")
    assert document["starts"]["n"] == 6
    for member in document["starts"]["members"]:
        assert member["n_layers"] == 12
        assert member["n_found"] >= 11
        assert member["n_untouched"] == 0
    # Two that moved by m from one start have the cosine 1 / (1 + m^2): the
    # raw factors of this population have .79.
    moved = [m["moved"] for m in document["starts"]["members"]]
    assert_allclose(1 / (1 + np.square(np.median(moved))), 0.79, atol=0.02)


# A loader that finds nothing draws everything at random.

FOUR = (
    "SCEPTR",
    "SCEPTR_MLM_only",
    "SCEPTR_shuffled_data",
    "SCEPTR_synthetic_data",
)


def test_sixteen_random_members_among_four_trained_are_found(populations):
    """A published comparison of 20 models had 16 such, and did not see it."""
    rng = np.random.default_rng(0)
    published = checkpoints(populations / "sceptr")
    models = {name: published[name] for name in FOUR}
    shapes = {name: W.shape for name, W in models["SCEPTR"].items()}
    models |= {
        f"random-{i:02d}": {
            name: gaussian(rng, shape) for name, shape in shapes.items()
        }
        for i in range(16)
    }
    fit = naive_fit(models)
    document = audited(fit)
    assert document["fresh"]["n_untrained"] == 16
    assert flagged(document) == {n for n in models if n.startswith("random")}
    # What gave the sixteen away there: fifteen equal singular values of the
    # deviations, those that sixteen unrelated members of one norm leave.
    whole = [layer for layer in fit.layers if len(layer.members) == 20]
    gram = sum(layer.gram for layer in whole)
    at = np.arange(4, 20)
    K = gram[np.ix_(at, at)]
    K = K - K.mean(0) - K.mean(1)[:, None] + K.mean()
    values = np.sqrt(np.linalg.eigvalsh(K)[::-1])
    size = sum(np.prod(layer.shape) for layer in whole)
    assert_allclose(values[:15], 0.02 * np.sqrt(size), rtol=0.03)
    assert values[15] < 1e-6 * values[0]


N_RANDOM, N_ONES, STD = 85_676_544, 19_200, 0.02
"""Entries of a ViT-B as transformers draws it: N(0, .02^2), and the weights of
its layer norms; its biases are zero."""


def drawn_gram(rng, n):
    """Return inner products of n such models: a Wishart matrix, and ones.

    The Gram matrix of n Gaussian vectors of D entries is T T^T with T lower
    triangular, chi on the diagonal, normal below it (Bartlett 1933).
    """
    T = np.tril(rng.standard_normal((n, n)), -1)
    T[np.diag_indices(n)] = np.sqrt(rng.chisquare(N_RANDOM - np.arange(n)))
    return STD**2 * T @ T.T, np.full((n, n), float(N_ONES))


def dense_layer(name, gram, shape):
    n = len(gram)
    side = SideFit(np.zeros(1), 0.0, np.zeros(1), np.zeros((n, n)))
    return LayerFit(
        name=name, architecture="a", shape=shape, kind="dense",
        members=tuple(range(n)), duplicates=(), inner=gram, h=np.zeros(n),
        reference_energy=0.0, rounding=np.zeros(n), resolution=1e-9,
        singular_values=np.ones((n, 1)), ranks=np.ones(n, int), output=side,
        input=side,
    )  # fmt: skip


def test_two_random_vits_have_the_cosine_that_was_taken_for_a_finding():
    random, ones = drawn_gram(np.random.default_rng(0), 16)
    layers = [
        dense_layer("matrices", random, (9252, 9260)),
        dense_layer("norms", ones, (N_ONES, 1)),
    ]
    relations = relate(layers, 16, (0.3,))
    pairs = relations.weights[np.triu_indices(16, 1)]
    expected = N_ONES / (N_ONES + N_RANDOM * STD**2)
    assert_allclose(expected, 0.35908, atol=5e-6)
    # One product deviates by STD^2 sqrt(D), 3.7 of 53 471.
    assert_allclose(pairs, expected, atol=5 * 3.7 / 53_471)
    assert_allclose(pairs.mean(), expected, atol=5e-5)
    norms = np.sqrt(np.diagonal(layers[0].gram))
    assert_allclose(norms, 185.12, atol=0.08)


def dot(x, y):
    """Return x . y of long vectors, whose sum float32 could not hold."""
    pieces = (np.array_split(values, 1000) for values in (x, y))
    return sum(float(a @ b) for a, b in zip(*pieces, strict=True))


@pytest.mark.slow
def test_two_real_random_vits_have_it_too():
    rng = np.random.default_rng(0)
    first, second = (
        rng.standard_normal(N_RANDOM, np.float32) * np.float32(STD)
        for _ in range(2)
    )
    product = dot(first, second) + N_ONES
    squares = [dot(x, x) + N_ONES for x in (first, second)]
    cosine = product / np.sqrt(np.prod(squares))
    assert_allclose(cosine, 0.35908, atol=5 * 3.7 / 53_471)


# Members that look untrained, and those that do not.


def test_one_trained_layer_is_enough():
    rng = np.random.default_rng(1)
    members = [[gaussian(rng), gaussian(rng)] for _ in range(4)]
    members[1][0] = trained(rng)
    members[2] = [trained(rng), trained(rng)]
    document = audited(fit_of(*members))
    assert flagged(document) == {"m0", "m3"}
    # Untrained ones come first.
    rows = document["fresh"]["members"]
    assert [row["id"] for row in rows] == ["m0", "m3", "m1"]
    assert [row["n_found"] for row in rows] == [2, 2, 1]
    assert [row["n_layers"] for row in rows] == [2, 2, 2]
    assert named(document["fresh"])["m1"] == ["layer.1"]
    (layer,) = rows[2]["layers"]
    assert layer["why"] == "gaussian"
    assert layer["shape"] == list(SHAPE)
    assert_allclose(layer["kurtosis"], 3, atol=0.3)
    assert_allclose(layer["std"], 0.02, rtol=0.05)
    assert abs(layer["edge"]) < 5


def test_little_layers_tell_together_or_not_at_all():
    rng = np.random.default_rng(2)
    few = [[gaussian(rng, (20, 30)) for _ in range(3)] for _ in range(3)]
    assert audited(fit_of(*few))["fresh"]["members"] == []
    many = [[gaussian(rng, (20, 30)) for _ in range(14)] for _ in range(3)]
    document = audited(fit_of(*many))
    assert flagged(document) == {"m0", "m1", "m2"}
    # None of them speaks for itself.
    assert set(map(tuple, named(document["fresh"]).values())) == {()}


def test_what_is_too_small_to_tell_does_not_count():
    rng = np.random.default_rng(3)
    odd = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    members = [[gaussian(rng), odd + i] for i in range(3)]
    document = audited(fit_of(*members))
    assert flagged(document) == {"m0", "m1", "m2"}
    assert document["fresh"]["members"][0]["n_layers"] == 1


def test_a_copy_is_as_untrained_as_what_it_copies():
    rng = np.random.default_rng(4)
    first = [gaussian(rng)]
    document = audited(fit_of(first, [trained(rng)], first))
    assert flagged(document) == {"m0", "m2"}


def test_adapters_that_were_never_trained():
    rng = np.random.default_rng(5)
    members = [[adapter(rng), adapter(rng)] for _ in range(4)]
    A, B, scale = adapter(rng, moved=0)
    members[1] = [(A, 0 * B, scale), (A, 0 * B, scale)]
    members[2][0] = (A, 0 * B, scale)
    document = audited(fit_of(*members))
    assert flagged(document) == {"m1"}
    rows = {row["id"]: row for row in document["fresh"]["members"]}
    assert rows.keys() == {"m1", "m2"}
    assert rows["m2"]["layers"] == [
        {"name": "layer.0", "shape": [96, 96], "why": "no-update"}
    ]
    assert named(document["scale"]["zero"]) == {
        "m1": ["layer.0", "layer.1"],
        "m2": ["layer.0"],
    }
    starts = {row["id"]: row for row in document["starts"]["members"]}
    assert starts["m1"]["n_untouched"] == 2
    assert starts["m1"]["moved"] == 0.0
    assert starts["m2"]["n_untouched"] == 1


def test_little_adapters_are_looked_at():
    rng = np.random.default_rng(5)
    shape = (10, 12)
    members = [[adapter(rng, shape), adapter(rng, shape)] for _ in range(3)]
    A, B, scale = members[0][0]
    members[0][0] = (A, 0 * B, scale)
    document = audited(fit_of(*members))
    assert flagged(document) == set()
    (row,) = document["fresh"]["members"]
    assert (row["n_found"], row["n_layers"]) == (1, 2)


def test_of_layers_that_moved_the_median_is_told():
    rng = np.random.default_rng(5)
    members = [
        [adapter(rng, (12, 256), 128, moved) for moved in (0.2, 0.6, 0.2)]
        for _ in range(2)
    ]
    for row in audited(fit_of(*members))["starts"]["members"]:
        assert row["n_found"] == 3
        assert_allclose(row["moved"], 0.2, atol=0.06)


def test_a_difference_says_that_its_edge_is_unknown():
    rng = np.random.default_rng(6)
    base = {"layer.0": trained(rng)}
    tuned = base["layer.0"] + gaussian(rng, std=1e-3)
    document = audited(
        fit_of([gaussian(rng)], [tuned], [gaussian(rng)], base=base)
    )
    assert flagged(document) == {"m0", "m2"}
    (layer,) = document["fresh"]["members"][0]["layers"]
    assert layer["edge"] is None
    assert "base" in layer["edge_reason"]


def test_a_run_without_entries_says_so():
    rng = np.random.default_rng(7)
    fit = fit_of([gaussian(rng)], [gaussian(rng)])
    layers = tuple(dataclasses.replace(x, weights=None) for x in fit.layers)
    document = audited(dataclasses.replace(fit, layers=layers))
    assert document["fresh"] is None
    assert "fit it again" in document["fresh_reason"]


# Near duplicates.


def test_updates_that_are_almost_the_same():
    rng = np.random.default_rng(8)
    first, second = adapter(rng), adapter(rng)
    A, B, scale = first
    noise = rng.standard_normal(B.shape).astype(np.float32)
    close, far = (B + np.float32(c) * noise for c in (1e-5, 3e-4))
    members = [[first], [second], [(A, close, scale)], [(A, far, scale)],
               [(A, B, 3 * scale)], [first]]  # fmt: skip
    document = audited(fit_of(*members))["near_duplicates"]
    pairs = {(p["a"], p["b"]): p for p in document["pairs"]}
    # m5 is a copy of m0, and no near one.
    assert pairs.keys() == {("m0", "m2"), ("m0", "m4"), ("m2", "m4")}
    x, y = (explicit(m[0]) for m in (members[0], members[2]))
    pair = pairs["m0", "m2"]
    size = np.sqrt(np.linalg.norm(x) * np.linalg.norm(y))
    assert_allclose(pair["distance"], np.linalg.norm(x - y) / size, rtol=1e-6)
    cosine = np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y)
    assert_allclose(pair["cosine"], cosine, atol=1e-9)
    assert pair["by"] == "updates"
    # Scaled copies: one direction, another distance.
    assert_allclose(pairs["m0", "m4"]["distance"], 2 / np.sqrt(3), rtol=1e-3)
    assert [p["distance"] for p in document["pairs"]] == sorted(
        p["distance"] for p in document["pairs"]
    )
    assert "reason" not in document
    assert "median_distance" not in document


def test_fine_tunes_are_nearly_equal_until_the_base_is_given():
    rng = np.random.default_rng(9)
    base = {"layer.0": gaussian(rng, std=1.0)}
    members = [[base["layer.0"] + gaussian(rng, std=1e-3)] for _ in range(4)]
    members.append([members[0][0] + gaussian(rng, std=1e-6)])
    document = audited(fit_of(*members))["near_duplicates"]
    assert document["n"] == 10
    assert {pair["by"] for pair in document["pairs"]} == {"weights"}
    assert "--base" in document["reason"]
    assert_allclose(document["median_distance"], 1e-3 * np.sqrt(2), rtol=0.05)
    first = document["pairs"][0]
    assert (first["a"], first["b"]) == ("m0", "m4")
    assert_allclose(first["distance"], 1e-6, rtol=0.1)
    document = audited(fit_of(*members, base=base))["near_duplicates"]
    (pair,) = document["pairs"]
    assert (pair["a"], pair["b"], pair["by"]) == ("m0", "m4", "updates")


@pytest.mark.parametrize(("apart", "n"), [(0.0135, 1), (0.0148, 0)])
def test_whole_weights_are_near_below_the_distance(apart, n):
    assert_allclose(near.DISTANCE, np.sqrt(2e-4))
    rng = np.random.default_rng(10)
    W, step = gaussian(rng, std=1.0), gaussian(rng, std=1.0).astype(float)
    step *= apart * np.linalg.norm(W) / np.linalg.norm(step)
    fit = fit_of([W.astype(float)], [W + step], [gaussian(rng, std=1.0)])
    assert audited(fit)["near_duplicates"]["n"] == n


def test_whole_weights_of_another_size_are_not_near():
    rng = np.random.default_rng(10)
    W = gaussian(rng, std=1.0)
    fit = fit_of([W], [3 * W], [gaussian(rng, std=1.0)])
    assert relate(fit.layers, 3, ()).weights[0, 1] > near.COSINE
    assert audited(fit)["near_duplicates"]["n"] == 0


def test_updates_decide_where_there_are_weights_too():
    rng = np.random.default_rng(9)
    head = gaussian(rng)
    members = [[adapter(rng), head + gaussian(rng, std=1e-6)] for _ in "ab"]
    document = audited(fit_of(*members))["near_duplicates"]
    assert document == {"n": 0, "pairs": []}


def test_distances_are_of_all_layers_that_two_have():
    rng = np.random.default_rng(11)
    members = [
        [gaussian(rng, (5, 6)).astype(float) for _ in range(3 - (i == 2))]
        for i in range(3)
    ]
    found = near.Distances(3)
    fit = fit_of(*members)
    for layer in fit.layers:
        found.add(layer, {m: row for row, m in enumerate(layer.members)})
    for i in range(3):
        for j in range(3):
            both = min(len(members[i]), len(members[j]))
            x, y = (np.array(members[n][:both]) for n in (i, j))
            apart = np.linalg.norm(x - y)
            size = np.sqrt(np.linalg.norm(x) * np.linalg.norm(y))
            assert_allclose(found.relative[i, j], apart / size, atol=1e-7)


def test_many_pairs_are_counted_and_the_closest_listed():
    rng = np.random.default_rng(12)
    W = gaussian(rng, (12, 12), std=1.0)
    members = [
        [W + (i + 1) * gaussian(rng, (12, 12), std=1e-4)] for i in range(20)
    ]
    document = audited(fit_of(*members))["near_duplicates"]
    assert document["n"] == 190
    assert len(document["pairs"]) == 100
    assert document["pairs"][-1]["distance"] < 100 * 1e-4


# Scale, and tied weights.


def test_members_out_of_scale_are_listed():
    rng = np.random.default_rng(13)
    members = [[trained(rng, (20, 30))] for _ in range(6)]
    sizes = np.array([1, 1, 11, 1, 1 / 11, 0.12], np.float32)
    for member, size in zip(members, sizes, strict=True):
        member[0] *= size / np.linalg.norm(member[0])
    scale = audited(fit_of(*members))["scale"]
    assert scale["outlying"]["n"] == 2
    found = {m["id"]: m["layers"] for m in scale["outlying"]["members"]}
    assert found.keys() == {"m2", "m4"}
    assert_allclose(found["m2"][0]["ratio"], 11, rtol=1e-5)
    assert_allclose(found["m4"][0]["ratio"], 1 / 11, rtol=1e-5)


def test_of_two_neither_is_out_of_scale():
    rng = np.random.default_rng(14)
    W = trained(rng, (20, 30))
    fit = fit_of([W], [1000 * trained(rng, (20, 30))], [0 * W])
    scale = audited(fit)["scale"]
    assert scale["outlying"]["members"] == []
    assert named(scale["zero"]) == {"m2": ["layer.0"]}


def test_constant_weights_are_listed():
    rng = np.random.default_rng(15)
    W = trained(rng, (20, 30))
    scale = audited(fit_of([W], [0 * W], [0 * W + 3], [0 * W + 1]))["scale"]
    assert named(scale["constant"]) == {"m2": ["layer.0"], "m3": ["layer.0"]}
    assert named(scale["zero"]) == {"m1": ["layer.0"]}


def test_a_list_names_a_hundred_members_and_eight_layers():
    rng = np.random.default_rng(16)
    zeros = [np.zeros((2, 2), np.float32)] * 9
    members = [[gaussian(rng, (2, 2)) for _ in range(9)] for _ in range(2)]
    zero = audited(fit_of(*members, *([zeros] * 101)))["scale"]["zero"]
    assert zero["n"] == 101
    assert len(zero["members"]) == 100
    assert zero["members"][0]["n_found"] == 9
    assert len(zero["members"][0]["layers"]) == 8


def test_tied_weights_are_named_once_for_all_members():
    rng = np.random.default_rng(17)
    shape = (20, 30)
    members = []
    for i in range(4):
        tied = trained(rng, shape)
        # Zeros and constants are equal, and no ties; so is another shape of
        # the same bytes.
        zeros = [np.zeros(shape, np.float32) + (i > 1) * trained(rng, shape)
                 for _ in range(2)]  # fmt: skip
        constant = np.full(shape, i + 2, np.float32)
        members.append([tied, trained(rng, shape), tied, *zeros, constant,
                        constant, tied.reshape(30, 20)])  # fmt: skip
    members[3][2] = trained(rng, shape)
    members.append(members[1])
    assert audited(fit_of(*members))["tied"] == [
        {
            "layers": ["layer.0", "layer.2"],
            "n": 4,
            "members": ["m0", "m1", "m2", "m4"],
        }
    ]


def test_ties_are_seen_in_files(tmp_path):
    """As when lm_head and embed_tokens were both written."""
    rng = np.random.default_rng(18)
    for i in range(3):
        table = gaussian(rng, (40, 24))
        tensors = {
            "model.embed_tokens.weight": table,
            "model.layers.0.mlp.up_proj.weight": trained(rng, (48, 24)),
            "lm_head.weight": table + (i == 2),
            # The same bytes, and another map.
            "other.weight": table.reshape(24, 40),
        }
        write_dense(tmp_path / f"m{i}", tensors)
    run = spectra.fit(spectra.scan(tmp_path))
    assert audited(run.value)["tied"] == [
        {"layers": ["embed_tokens", "lm_head"], "n": 2,
         "members": ["m0", "m1"]}
    ]  # fmt: skip


# As a whole.


def test_a_fit_of_files_is_audited_like_its_twin(tmp_path):
    rng = np.random.default_rng(19)
    models = {}
    for i in range(4):
        A, B, _ = adapter(rng, (40, 200), moved=0.15 * i)
        B = B * np.float32(i != 1)
        models[f"a{i}"] = {"q": (A, B, 4.0)}
        write_adapter(tmp_path / f"a{i}", {"q": (A, B)}, 16)
    found = audited(spectra.fit(spectra.scan(tmp_path)).value)
    expected = audited(naive_fit(models))
    assert flagged(found) == {"a1"}
    assert named(found["scale"]["zero"]) == {"a1": ["q"]}
    assert found["starts"]["n"] == expected["starts"]["n"] == 4
    for one, other in zip(
        found["starts"]["members"], expected["starts"]["members"], strict=True
    ):
        assert_allclose(one.pop("moved"), other.pop("moved"), rtol=1e-9)
        assert one == other


def test_the_order_of_members_makes_no_difference():
    rng = np.random.default_rng(20)
    shape = (96, 90)
    W = trained(rng, shape)
    models = {
        "b": {"x": gaussian(rng, shape), "y": gaussian(rng, shape)},
        "a": {"x": W, "y": W},
        "d": {"x": W + gaussian(rng, shape, 1e-6), "y": 20 * W},
        "c": {"x": gaussian(rng, shape), "y": 0 * W},
        "e": dict.fromkeys("xy", trained(rng, shape)),
        "f": {"x": W + gaussian(rng, shape, 1e-4), "y": W},
    }
    turned = {name: models[name] for name in reversed(models)}
    first, second = (audited(naive_fit(m)) for m in (models, turned))
    assert [tie["members"] for tie in first["tied"]] == [["a", "e"]]
    (pair,) = first["near_duplicates"]["pairs"]
    assert (pair["a"], pair["b"]) == ("a", "f")
    assert rounded(first) == rounded(second)


def rounded(value):
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
