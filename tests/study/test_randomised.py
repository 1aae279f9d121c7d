"""Layers beside their own entries in random order, as files hold them."""

import json
import tracemalloc

import numpy as np
import pytest

import spectra
from spectra.linalg.spectrum import of_matrix
from spectra.statistics.spectrum.permuted import RANDOMISED, beside_permuted
from spectra.statistics.streams import generator
from spectra.subspaces import single
from tests.checkpoints import adapters, stored, write_dense

SHAPES = {"square": (60, 60), "wide": (30, 200), "tall": (200, 30),
          "large": (560, 530), "flat": (530, 560)}  # fmt: skip


def approx(value):
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-6)


def twin(name, kind, X, seed=0):
    """Return the numbers by the definition, of entries as they are stored."""
    names = (name, "x".join(map(str, X.shape)), kind, "permuted entries")
    entries = generator(seed, *names).permutation(X.reshape(-1))
    P = entries.reshape(-1, min(X.shape))
    return beside_permuted(of_matrix(X), of_matrix(P), X.shape)


def check(layer, expected):
    for key in RANDOMISED:
        assert layer[key] == approx(expected[key]), (layer["name"], key)


@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16"])
def test_entries_are_permuted_as_by_numpy(tmp_path, dtype):
    rng = np.random.default_rng(1)
    tensors = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
    write_dense(tmp_path / "m", tensors, dtype)
    found = spectra.inspect(tmp_path / "m", randomize=True)
    assert found.document["seed"] == 0
    for layer in found.layers:
        W = stored(tensors[layer["name"]], dtype)
        check(layer, twin(layer["name"], "dense", W))
        assert layer["rand_num_spikes"] == layer["num_above_rand"] == 0
        assert layer["ww_softrank"] == pytest.approx(1, abs=0.15)


def test_pieces_are_put_one_behind_the_other(tmp_path, monkeypatch):
    monkeypatch.setattr(single, "PIECE", 10_000)
    rng = np.random.default_rng(6)
    tensors = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
    write_dense(tmp_path / "m", tensors)
    for layer in spectra.inspect(tmp_path / "m", randomize=True).layers:
        W = stored(tensors[layer["name"]], "F32")
        check(layer, twin(layer["name"], "dense", W))
    folder, members = adapters(tmp_path / "a", [3], {"q": (300, 600)})
    A, B, scale = members["a00"]["q"]
    (layer,) = spectra.inspect(folder / "a00", randomize=True).layers
    check(layer, twin("q", "low-rank", scale * B @ A))


@pytest.mark.parametrize("size", [60, 540])
def test_of_a_difference_what_moved_is_permuted(tmp_path, size):
    rng = np.random.default_rng(2)
    W = rng.standard_normal((size, size + 20))
    move = rng.standard_normal((size, 2)) @ rng.standard_normal((2, size + 20))
    write_dense(tmp_path / "base", {"w": W}, "F64")
    write_dense(tmp_path / "m", {"w": W + move}, "F64")
    (layer,) = spectra.inspect(
        tmp_path / "m", base=tmp_path / "base", randomize=True, seed=3
    ).layers
    check(layer, twin("w", "dense", (W + move) - W, seed=3))
    assert layer["num_above_rand"] == 2


@pytest.mark.parametrize("shape", [(90, 70), (540, 700)])
def test_of_an_update_the_product_is_permuted(tmp_path, shape):
    """Not its factors: with others of the same product nothing is new."""
    folder, members = adapters(tmp_path, [4], {"q": shape})
    A, B, scale = members["a00"]["q"]
    (layer,) = spectra.inspect(folder / "a00", randomize=True).layers
    check(layer, twin("q", "low-rank", scale * B @ A))
    assert layer["num_spikes"] is None
    assert layer["num_above_rand"] == 4


def test_what_is_stored_the_other_way_round_is_compared_too(tmp_path):
    """Another order is drawn: the law is the same, the numbers are not."""
    W = np.random.default_rng(3).standard_normal((540, 700))
    W[:, 0] += 10  # One direction, which goes with the order.
    names = {"h.0.attn.c_proj.weight": W.T}
    write_dense(tmp_path / "in-out", names, config={"model_type": "gpt2"})
    (layer,) = spectra.inspect(tmp_path / "in-out", randomize=True).layers
    assert layer["shape"] == [540, 700]
    assert (layer["num_above_rand"], layer["rand_num_spikes"]) == (1, 0)
    rng = generator(0, layer["name"], "540x700", "dense", "permuted entries")
    P = rng.permutation(stored(W, "F32").T.reshape(-1)).reshape(-1, 540)
    first = np.linalg.norm(P, 2) ** 2
    assert layer["max_rand_eval"] == pytest.approx(first, rel=1e-9)


def test_a_seed_gives_the_same_bits_and_leaves_the_rest(tmp_path):
    rng = np.random.default_rng(4)
    tensors = {n: rng.standard_normal(s) for n, s in SHAPES.items()}
    write_dense(tmp_path / "m", tensors)
    plain = spectra.inspect(tmp_path / "m").document
    one, again, other = (
        spectra.inspect(tmp_path / "m", randomize=True, seed=seed).document
        for seed in (7, 7, 8)
    )
    assert one == again
    json.dumps(one, allow_nan=False)
    assert one.pop("seed") == 7
    for layer, changed in zip(one["layers"], other["layers"], strict=True):
        drawn = {name: layer.pop(name) for name in RANDOMISED}
        assert drawn["max_rand_eval"] != changed["max_rand_eval"]
        assert drawn["rand_distance"] != changed["rand_distance"]
    # To the last bit what it is without: no key more, none less.
    assert one == plain
    # Layers of one shape have orders of their own.
    same = rng.standard_normal((40, 50))
    write_dense(tmp_path / "n", {"a": same, "b": same})
    a, b = spectra.inspect(tmp_path / "n", randomize=True).layers
    assert a["max_rand_eval"] != b["max_rand_eval"]


@pytest.mark.parametrize("shape", [(12_000, 520), (520, 12_000), (4000, 500)])
def test_the_entries_are_held_where_there_is_room(
    tmp_path, shape, monkeypatch
):
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    rng = np.random.default_rng(5)
    write_dense(tmp_path / "m", {"w": rng.standard_normal(shape, np.float32)})
    held = 4 * shape[0] * shape[1]
    by_gram = 3 * 2**24 + 4 * 8 * 520**2
    whole = held if shape[0] < shape[1] else 0
    own = whole + by_gram if 520 in shape else 12 * held
    room = held + own
    tracemalloc.start()
    (layer,) = spectra.inspect(tmp_path / "m", randomize=True).layers
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < room
    assert layer["num_above_rand"] == 0
    # A worker has 20 MiB of its own, and a tenth is kept back.
    beside = 20 * 2**20
    for asked, fits in ((room + 2**16, True), (room - 2**16, False)):
        memory = int((asked + beside) / 0.9)
        (layer,) = spectra.inspect(
            tmp_path / "m", randomize=True, memory=memory
        ).layers
        assert layer["norm"] > 0
        assert (layer["num_above_rand"] == 0) == fits
        if not fits:
            size = f"{room / 2**20:.0f} MiB"
            said = f"it needs {size}, more than --memory leaves"
            for name in RANDOMISED:
                assert layer[name] is None
                assert layer[f"{name}_reason"] == said


@pytest.mark.parametrize("shape", [(1500, 500), (600, 1200)])
def test_an_update_needs_what_full_weights_of_its_shape_do(
    tmp_path, shape, monkeypatch
):
    folder, _ = adapters(tmp_path, [4], {"q": shape})
    seen = []

    def workers_for(needs, limit):
        seen.extend(needs)
        return 1

    monkeypatch.setattr("spectra.study.inspection.workers_for", workers_for)
    spectra.inspect(folder / "a00")
    tracemalloc.start()
    spectra.inspect(folder / "a00", randomize=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    (m, n), pieces = shape, 3 * 2**24
    own = 64 * (m + n) * 4 + pieces
    permuted = 48 * m * n if min(shape) <= 512 else pieces + 32 * m * m
    assert seen == [own, 8 * m * n + max(own, permuted)]
    assert peak < seen[1]


def test_zeros_and_what_is_broken_are_said(tmp_path):
    bad = np.full((5, 4), np.nan)
    write_dense(tmp_path / "m", {"bad": bad, "zero": np.zeros((4, 4))})
    found = spectra.inspect(tmp_path / "m", randomize=True)
    (lost,) = found.document["quarantine"]
    assert (lost["layer"], lost["code"]) == ("bad", "NONFINITE")
    (zero,) = found.layers
    assert zero["rand_distance"] is None
    assert zero["rand_distance_reason"] == "all weights are zero"
    frame = found.to_dataframe()
    assert list(frame.columns[-len(RANDOMISED) :]) == list(RANDOMISED)
    json.loads(found.to_json())
