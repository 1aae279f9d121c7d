"""One checkpoint's spectra, against NumPy on the matrices themselves."""

import json
import tracemalloc

import numpy as np
import pytest

import spectra
from spectra.core.errors import BudgetError, UsageError
from spectra.linalg.spectrum import Certificate, Spectrum
from spectra.statistics.spectrum.panel import COLUMNS, panel
from spectra.statistics.spectrum.power_law import fit_power_law
from spectra.subspaces import single
from tests.checkpoints import (
    adapters,
    factors,
    stored,
    write_adapter,
    write_dense,
)

RNG = np.random.default_rng(12)
SHAPES = {"square": (60, 60), "wide": (30, 200), "tall": (200, 30),
          "large": (700, 540), "flat": (540, 700)}  # fmt: skip


def entropy_rank(s):
    p = s**2 / np.sum(s**2)
    return np.exp(-np.sum(p * np.log(p)))


def approx(value):
    return value if isinstance(value, str) else pytest.approx(value, rel=1e-7)


def check(layer, W):
    s = np.linalg.svd(W, compute_uv=False)
    expected = {
        "norm": np.linalg.norm(W),
        "spectral_norm": s[0],
        "nuclear_norm": s.sum(),
        "stable_rank": np.sum(s**2) / s[0] ** 2,
        "effective_rank": entropy_rank(s[s > 0]),
        "participation_ratio": np.sum(s**2) ** 2 / np.sum(s**4),
    }
    for key, value in expected.items():
        np.testing.assert_allclose(layer[key], value, rtol=1e-7, err_msg=key)
    certificate = layer["certificate"]
    assert certificate["residual"] < 1e-13
    assert certificate["orthogonality"] < 1e-12


@pytest.mark.parametrize("dtype", ["F32", "F64", "BF16"])
def test_norms_and_ranks_are_numpys(tmp_path, dtype):
    tensors = {n: RNG.standard_normal(s) for n, s in SHAPES.items()}
    write_dense(tmp_path / "m", tensors, dtype)
    found = spectra.inspect(tmp_path / "m")
    assert [layer["name"] for layer in found.layers] == sorted(SHAPES)
    for layer in found.layers:
        check(layer, stored(tensors[layer["name"]], dtype))
        exact = dtype == "F64" or min(layer["shape"]) <= 512
        method = "svd" if exact else "gram"
        assert layer["certificate"]["method"] == method
        assert layer["hard_rank"] == min(layer["shape"])


def test_what_is_stored_the_other_way_round_is_the_same(tmp_path):
    W = RNG.standard_normal((540, 700))
    names = {"h.0.attn.c_proj.weight": W.T}
    write_dense(tmp_path / "in-out", names, config={"model_type": "gpt2"})
    write_dense(tmp_path / "out-in", {"w.weight": W})
    (one,) = spectra.inspect(tmp_path / "in-out").layers
    (other,) = spectra.inspect(tmp_path / "out-in").layers
    assert one["shape"] == other["shape"] == [540, 700]
    for key in COLUMNS:
        assert one[key] == approx(other[key]), key


@pytest.mark.parametrize("size", [60, 540])
def test_a_base_is_subtracted(tmp_path, size):
    """The move has rank 3; beside it stands what the base lacks."""
    W = RNG.standard_normal((size, size + 20))
    move = RNG.standard_normal((size, 3)) @ RNG.standard_normal((3, size + 20))
    write_dense(tmp_path / "base", {"w": W}, "F64")
    write_dense(tmp_path / "m", {"model.w": W + move, "model.new": W}, "F64")
    found = spectra.inspect(tmp_path / "m", base=tmp_path / "base")
    (layer,) = found.layers
    assert layer["kind"] == "difference"
    check(layer, move)
    assert layer["hard_rank"] == 3
    assert found.document["coverage"] == [
        {"tensor": "model.new", "status": "skipped", "reason": "NOT_IN_BASE"},
        {"tensor": "model.w", "status": "analysed", "reason": None},
    ]


def test_an_update_is_that_of_its_product(tmp_path):
    folder, members = adapters(tmp_path, [4], {"q": (90, 70)})
    A, B, scale = members["a00"]["q"]
    (layer,) = spectra.inspect(folder / "a00").layers
    s = np.linalg.svd(scale * B @ A, compute_uv=False)[:4]
    assert layer["hard_rank"] == 4
    np.testing.assert_allclose(layer["norm"], np.linalg.norm(s))
    np.testing.assert_allclose(layer["effective_rank"], entropy_rank(s))
    assert layer["certificate"]["method"] == "factors"
    assert layer["certificate"]["residual"] < 1e-14
    assert layer["num_spikes"] is None
    assert "no bulk" in layer["num_spikes_reason"]


def test_a_sum_of_two_updates_may_have_more_columns_than_the_layer(tmp_path):
    A, B = factors(RNG, 12, 9, 10)
    C, D = factors(RNG, 12, 9, 10)
    write_adapter(tmp_path / "a", {"q": (A, B)}, 9, "F64")
    write_adapter(tmp_path / "b", {"q": (C, D)}, 9, "F64")
    (row,) = spectra.diff(tmp_path / "a", tmp_path / "b").layers
    move = np.linalg.norm(D @ C - B @ A) / np.linalg.norm(B @ A)
    np.testing.assert_allclose(row["relative_move"], move)


def test_every_tensor_is_accounted_for(tmp_path):
    bad = np.ones((5, 4))
    bad[2, 2] = np.nan
    tensors = {"a": np.ones((6, 5)), "bad": bad, "b.bias": np.ones(3),
               "c": RNG.standard_normal((7, 9)),
               "zero": np.zeros((4, 4))}  # fmt: skip
    write_dense(tmp_path / "m", tensors)
    found = spectra.inspect(tmp_path / "m", layers=["a", "bad", "zero"])
    rows = {row["tensor"]: row for row in found.document["coverage"]}
    assert {name: (row["status"], row["reason"]) for name, row in rows.items()
            } == {
        "a": ("analysed", None),
        "bad": ("refused", "NONFINITE"),
        "b.bias": ("skipped", "SKIP_NOT_MATRIX"),
        "c": ("skipped", "NOT_ASKED_FOR"),
        "zero": ("analysed", None),
    }  # fmt: skip
    (lost,) = found.document["quarantine"]
    assert (lost["layer"], lost["code"]) == ("bad", "NONFINITE")
    zero = next(layer for layer in found.layers if layer["name"] == "zero")
    assert (zero["norm"], zero["stable_rank"], zero["hard_rank"]) == (0, 0, 0)
    assert zero["alpha"] is None
    assert zero["alpha_status"] == "TOO_FEW"
    json.loads(found.to_json())


def test_what_cannot_be_inspected_is_said(tmp_path):
    for i in range(2):
        write_dense(tmp_path / "p" / f"m{i}", {"w": np.ones((4, 3))})
    with pytest.raises(UsageError, match="2 checkpoints, not one"):
        spectra.inspect(tmp_path / "p")
    with pytest.raises(UsageError, match="none matches"):
        spectra.inspect(tmp_path / "p" / "m0", layers=["x*"])
    write_dense(tmp_path / "other", {"v": np.ones((4, 3))})
    with pytest.raises(UsageError, match="none is one of the base"):
        spectra.inspect(tmp_path / "p" / "m0", base=tmp_path / "other")


@pytest.mark.parametrize("shape", [(30_000, 520), (520, 30_000)])
def test_a_layer_takes_what_it_is_said_to(tmp_path, shape, monkeypatch):
    """Tall ones are streamed: less than the matrix itself in float64."""
    monkeypatch.setattr("spectra.backend.memory.resident_bytes", lambda: 0)
    rng = np.random.default_rng(3)
    write_dense(tmp_path / "m", {"w": rng.standard_normal(shape, np.float32)})
    tracemalloc.start()
    (layer,) = spectra.inspect(tmp_path / "m").layers
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert layer["num_spikes"] == 0
    tensor, order = 4 * 30_000 * 520, 8 * 520**2
    whole = tensor if shape[0] < shape[1] else 0
    need = whole + 3 * 2**24 + 4 * order
    assert peak < need
    with pytest.raises(BudgetError, match="the largest layer"):
        spectra.inspect(tmp_path / "m", memory=need)
    spectra.inspect(tmp_path / "m", memory=int(1.2 * need) + 2**26)


def reflected(A, rng):
    """Return A between two reflections: with the same singular values."""
    for axis in (0, 1):
        v = rng.standard_normal(A.shape[axis]).astype(np.float32)
        v /= np.linalg.norm(v)
        if axis == 0:
            A -= 2 * np.outer(v, v @ A)
        else:
            A -= 2 * np.outer(A @ v, v)
    return A


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(4096, 14_336), (128_000, 768)])
def test_large_layers_have_the_values_they_were_made_of(tmp_path, shape):
    rng = np.random.default_rng(4)
    p = min(shape)
    s = np.sort(1 + 9 * rng.random(p))[::-1].astype(np.float32)
    s[:16] *= np.arange(32, 16, -1, dtype=np.float32)
    A = np.zeros(shape, np.float32)
    A[np.arange(p), np.arange(p)] = s
    write_dense(tmp_path / "m", {"w": reflected(A, rng)})
    (layer,) = spectra.inspect(tmp_path / "m", memory="6GiB").layers
    exact = s.astype(np.float64)
    for key, value in (
        ("spectral_norm", exact[0]), ("nuclear_norm", exact.sum()),
        ("effective_rank", entropy_rank(exact)),
        ("stable_rank", np.sum(exact**2) / exact[0] ** 2),
    ):  # fmt: skip
        np.testing.assert_allclose(layer[key], value, rtol=1e-5)
    assert layer["certificate"]["residual"] < 1e-12
    assert len(layer["ipr"]) == 16


@pytest.mark.parametrize("size", [60, 540])
def test_the_tail_is_that_of_what_is_not_rounding(tmp_path, size):
    """A matrix of rank 40 has 40 eigenvalues, whatever its size."""
    rng = np.random.default_rng(5)
    W = rng.standard_normal((size, 40)) @ rng.standard_normal((40, size))
    write_dense(tmp_path / "m", {"w": W}, "F64" if size == 60 else "F32")
    W = stored(W, "F64" if size == 60 else "F32")
    (layer,) = spectra.inspect(tmp_path / "m").layers
    s = np.linalg.svd(W, compute_uv=False)
    if size == 60:
        expected = fit_power_law(s[:40] ** 2)
        assert layer["alpha"] == pytest.approx(expected.alpha, rel=1e-9)
    else:
        # Storage has put noise in the other 500, which is no rounding of ours.
        expected = fit_power_law(s**2)
        assert layer["alpha"] == pytest.approx(expected.alpha, rel=1e-4)
    assert layer["num_pl_spikes"] == expected.n_tail


def test_what_is_too_large_to_be_decomposed_whole_is_not(
    tmp_path, monkeypatch
):
    """A tall embedding in float64 has the rank that can be resolved."""
    monkeypatch.setattr(single, "_WHOLE", 4000)
    rng = np.random.default_rng(6)
    W = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 20))
    write_dense(tmp_path / "m", {"tall": W, "small": W[:100]}, "F64")
    small, tall = spectra.inspect(tmp_path / "m").layers
    assert small["certificate"]["method"] == "svd"
    assert tall["certificate"]["method"] == "gram"
    assert small["hard_rank"] == tall["hard_rank"] == 5


def test_values_below_the_floor_are_no_tail():
    """A law that all values follow is fitted to those that are known."""
    s = np.arange(1, 201) ** -0.5
    certificate = Certificate("gram", 0.0, 0.0)
    known, whole = (
        panel(
            Spectrum(s, floor, np.eye(200)[:, :16], certificate),
            (200, 200),
            eps=1e-7,
        )
        for floor in (s[20], 0.0)
    )
    assert known["alpha"] == fit_power_law(s[:20] ** 2).alpha
    assert known["num_pl_spikes"] <= 20
    assert whole["num_pl_spikes"] == 200
