"""Two checkpoints, tensor by tensor, where what moved is known."""

import numpy as np
import pytest
from safetensors.numpy import save_file

import spectra
from tests.checkpoints import factors, write_adapter, write_dense

RNG = np.random.default_rng(13)


def rows_of(found):
    return {row["name"]: row for row in found.layers}


@pytest.fixture
def two():
    """Return two checkpoints, and the move of their matrix w: of rank 2."""
    W, v = RNG.standard_normal((40, 30)), RNG.standard_normal(9)
    move = RNG.standard_normal((40, 2)) @ RNG.standard_normal((2, 30))
    a = {"w": W, "same": W[:5], "v.bias": v, "gone": W[:3], "size": W[:7]}
    b = {"w": W + move, "same": W[:5], "v.bias": 2 * v, "new": W[:4],
         "size": W[:8]}  # fmt: skip
    return a, b, move


@pytest.fixture
def found(two, tmp_path):
    a, b, _ = two
    write_dense(tmp_path / "a", a, "F64")
    write_dense(tmp_path / "b", {f"model.{n}": x for n, x in b.items()}, "F64")
    return spectra.diff(tmp_path / "a", tmp_path / "b")


def test_what_moved_by_how_much_in_what_rank(two, found):
    (a, b, move), rows = two, rows_of(found)
    assert rows.keys() == {"w", "same", "v.bias"}
    row, W = rows["w"], a["w"]
    s = np.linalg.svd(move, compute_uv=False)[:2]
    p = s**2 / np.sum(s**2)
    assert row["relative_move"] == pytest.approx(
        np.linalg.norm(move) / np.linalg.norm(W)
    )
    assert row["cosine"] == pytest.approx(
        np.sum(W * b["w"]) / np.linalg.norm(W) / np.linalg.norm(b["w"])
    )
    assert row["effective_rank"] == pytest.approx(
        np.exp(-np.sum(p * np.log(p))), rel=1e-6
    )
    assert not row["identical"]
    same, bias = rows["same"], rows["v.bias"]
    assert (same["identical"], same["relative_move"]) == (True, 0.0)
    assert same["effective_rank"] is None
    assert bias["relative_move"] == pytest.approx(1.0)
    assert bias["cosine"] == pytest.approx(1.0)


def test_all_tensors_together(two, found):
    (a, b, _), document = two, found.document
    assert (document["n_common"], document["n_moved"]) == (3, 2)
    assert document["only_in_a"] == ["gone", "size"]
    assert document["only_in_b"] == ["new", "size"]
    common = [(a[n], b[n]) for n in ("w", "same", "v.bias")]
    moved = sum(np.sum((y - x) ** 2) for x, y in common)
    size = sum(np.sum(x**2) for x, _ in common)
    assert document["relative_move"] == pytest.approx(np.sqrt(moved / size))
    reasons = {r["tensor"]: r["reason"] for r in document["coverage"]}
    assert reasons == {
        "w": None, "same": None, "v.bias": None, "gone": "ONLY_IN_A",
        "new": "ONLY_IN_B", "size": "OTHER_SHAPE",
    }  # fmt: skip


def test_what_is_no_weight_or_no_number_is_told(tmp_path):
    bad = np.ones((3, 3), np.float32)
    bad[0, 0] = np.inf
    one = {"ids": np.arange(4), "n": np.arange(4), "bad": bad,
           "zero": np.zeros((3, 3), np.float32)}  # fmt: skip
    for name, more in (("a", {}), ("b", {"n": np.arange(1, 5)})):
        (tmp_path / name).mkdir()
        save_file({**one, **more}, tmp_path / name / "model.safetensors")
    found = spectra.diff(tmp_path / "a", tmp_path / "b")
    rows = rows_of(found)
    assert rows["ids"]["identical"]
    assert not rows["n"]["identical"]
    assert rows["n"]["relative_move"] is None
    assert rows["zero"]["relative_move"] is None
    assert rows["zero"]["relative_move_reason"] == "the first is zero"
    assert rows.keys() == {"ids", "n", "zero"}
    (lost,) = found.document["quarantine"]
    assert (lost["layer"], lost["code"]) == ("bad", "NONFINITE")
    statuses = {r["tensor"]: r["status"] for r in found.document["coverage"]}
    assert statuses["bad"] == "refused"
    assert found.document["relative_move"] is None


def test_adapters_are_compared_by_their_updates(tmp_path):
    """Other factors of the same update have moved by rounding alone."""
    A, B = factors(RNG, 24, 4, 18)
    G = RNG.standard_normal((4, 4))
    write_adapter(tmp_path / "a", {"q": (A, B)}, 4, "F64")
    turned = G @ A, B @ np.linalg.inv(G)
    write_adapter(tmp_path / "b", {"q": turned}, 4, "F64")
    write_adapter(tmp_path / "c", {"q": (A, 3 * B)}, 4, "F64")
    (row,) = spectra.diff(tmp_path / "a", tmp_path / "b").layers
    assert row["relative_move"] < 1e-12
    assert row["cosine"] == pytest.approx(1.0)
    assert not row["identical"]
    (row,) = spectra.diff(tmp_path / "a", tmp_path / "c").layers
    assert row["relative_move"] == pytest.approx(2.0)
    (row,) = spectra.diff(tmp_path / "a", tmp_path / "a").layers
    assert row["identical"]


def test_a_matrix_stored_the_other_way_round_meets_its_like(tmp_path):
    W = RNG.standard_normal((20, 12))
    write_dense(tmp_path / "a", {"h.0.attn.c_proj.weight": W.T},
                config={"model_type": "gpt2"})  # fmt: skip
    write_dense(tmp_path / "b", {"h.0.attn.c_proj.kernel": W.T})
    found = spectra.diff(tmp_path / "a", tmp_path / "b")
    assert found.document["n_common"] == 1
    assert found.layers[0]["identical"]


REAL = [
    # population, the two, tensors in common, and moved, cosine
    ("sceptr", ("SCEPTR", "SCEPTR_finetuned"), (41, 15), 0.996),
    ("chgnet", ("0.3.0", "r2scan"), (136, 128), 0.982),
]


@pytest.mark.parametrize(("folder", "two", "counts", "cosine"), REAL)
def test_real_fine_tunes(populations, folder, two, counts, cosine):
    """What is known of them; the cosine is known of the matrices alone."""
    a, b = (populations / folder / name for name in two)
    document = spectra.diff(a, b).document
    assert (document["n_common"], document["n_moved"]) == counts
    assert document["only_in_a"] == document["only_in_b"] == []
    assert document["cosine"] == pytest.approx(cosine, abs=2e-3)
    if folder == "sceptr":
        assert document["relative_move"] == pytest.approx(0.094, abs=1e-3)


def test_half_of_a_fine_tuned_potential_did_not_move(populations):
    """Layers 1 and 3 of each element are bit-identical within a pair."""
    place = populations / "ani"
    pair = place / "ani-1x_8x-0", place / "ani-1ccx_8x-0"
    found = spectra.diff(*pair)
    moved = {row["name"] for row in found.layers if not row["identical"]}
    same = {row["name"] for row in found.layers if row["identical"]}
    assert len(moved) == len(same) == found.document["n_moved"]
