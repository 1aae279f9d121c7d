"""The whole pass: who takes part, who does not, and equal bits every time."""

import json
import shutil
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import spectra
from spectra.core.errors import BudgetError, UsageError
from spectra.study import fit as study_fit
from tests.checkpoints import (
    adapters,
    dense,
    factors,
    write_adapter,
    write_dense,
)
from tests.seam import device  # noqa: F401 - a fixture
from tests.store.test_runfile import equal

SHAPES = {"a.weight": (30, 40), "b.weight": (40, 30)}


def layer_of(run, name):
    return next(layer for layer in run.value.layers if layer.name == name)


def test_a_checkpoint_without_a_layer_is_absent_from_that_layer_only(tmp_path):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    del members["m01"]["b.weight"]
    shutil.rmtree(folder / "m01")
    write_dense(folder / "m01", members["m01"])
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").members == (0, 1, 2, 3)
    assert layer_of(run, "b").members == (0, 2, 3)


def test_byte_identical_layers_count_once(tmp_path):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    twin = {"a.weight": members["m00"]["a.weight"], "b.weight": np.eye(40, 30)}
    write_dense(folder / "m04", twin)
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").duplicates == ((4, 0),)
    assert layer_of(run, "a").members == (0, 1, 2, 3)
    assert layer_of(run, "b").members == (0, 1, 2, 3, 4)


def test_a_layer_that_all_share_byte_for_byte_is_left_out(tmp_path):
    for i in range(3):
        own = np.random.default_rng(i).standard_normal((8, 9))
        write_dense(tmp_path / f"m{i}", {"same": np.eye(9, 8), "own": own})
    run = spectra.fit(spectra.scan(tmp_path))
    assert run.layers == ("own",)
    (left_out,) = run.value.left_out
    assert (left_out.layer, left_out.code) == ("same", "TOO_FEW_MEMBERS")
    assert run.value.quarantine == ()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_member_that_is_not_finite_is_set_aside_in_that_layer(
    tmp_path, value
):
    folder, members, _ = dense(tmp_path, 4, SHAPES)
    broken = dict(members["m02"])
    broken["a.weight"] = broken["a.weight"].copy()
    broken["a.weight"][3, 4] = value
    shutil.rmtree(folder / "m02")
    write_dense(folder / "m02", broken)
    run = spectra.fit(spectra.scan(folder))
    assert layer_of(run, "a").members == (0, 1, 3)
    assert layer_of(run, "b").members == (0, 1, 2, 3)
    (record,) = run.value.quarantine
    assert (record.id, record.layer, record.code) == ("m02", "a", "NONFINITE")
    assert np.isfinite(layer_of(run, "a").inner).all()


def test_an_adapter_that_is_not_finite_is_set_aside(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        A, B = factors(rng, 9, 2, 8)
        A[0, 0] = np.nan if i == 1 else A[0, 0]
        write_adapter(tmp_path / f"a{i}", {"q": (A, B)}, 2)
    run = spectra.fit(spectra.scan(tmp_path))
    assert layer_of(run, "q").members == (0, 2)
    assert run.value.quarantine[0].code == "NONFINITE"


def test_an_untrained_adapter_is_a_member_of_norm_zero(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(3):
        A, B = factors(rng, 9, 2, 8)
        write_adapter(tmp_path / f"a{i}", {"q": (A, B * (i > 0))}, 2)
    layer = spectra.fit(spectra.scan(tmp_path)).value.layers[0]
    assert layer.ranks.tolist() == [0, 2, 2]
    assert layer.gram[0, 0] == 0
    assert layer.output.overlap[0].tolist() == [0, 0, 0]


def test_the_base_is_no_member_of_its_own_population(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES, spread=0.1)
    shutil.copytree(tmp_path / "base", folder / "base")
    run = spectra.fit(spectra.scan(folder), base=str(folder / "base"))
    assert [m.id for m in run.models] == ["m00", "m01", "m02"]
    assert [q.code for q in run.value.left_out] == ["IS_BASE"]
    assert run.value.n_scanned == 4


def test_a_base_of_several_checkpoints_is_refused(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    with pytest.raises(UsageError, match="is 3 checkpoints, not one"):
        spectra.fit(spectra.scan(folder), base=str(folder))


def test_base_zero_subtracts_nothing_and_says_so(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    plain = spectra.fit(spectra.scan(folder))
    zero = spectra.fit(spectra.scan(folder), base="zero")
    assert zero.value.started_from_zero
    assert not plain.value.started_from_zero
    assert all(map(equal, plain.value.layers, zero.value.layers))


def test_stored_orientation_does_not_matter(tmp_path):
    """GPT-2 stores in x out; the same maps stored out x in give the same."""
    rng = np.random.default_rng(3)
    for i in range(3):
        W = rng.standard_normal((12, 36))
        maps = {
            "h.0.attn.c_attn.weight": W.T,
            "h.0.mlp.c_fc.weight": rng.standard_normal((48, 12)).T,
        }
        config = {"model_type": "gpt2"}
        write_dense(tmp_path / "in" / f"m{i}", maps, config=config)
        turned = {name: value.T for name, value in maps.items()}
        write_dense(tmp_path / "out" / f"m{i}", turned, config={})
    one = spectra.fit(spectra.scan(tmp_path / "in"), precision="f64")
    other = spectra.fit(spectra.scan(tmp_path / "out"), precision="f64")
    for left, right in zip(one.value.layers, other.value.layers, strict=True):
        assert left.name == right.name
        if left.shape == right.shape:
            np.testing.assert_allclose(left.inner, right.inner, rtol=1e-12)
            np.testing.assert_allclose(
                left.output.eigenvalues, right.output.eigenvalues, rtol=1e-12
            )


def test_globs_match_layer_and_tensor_names(tmp_path):
    folder, _, _ = dense(tmp_path, 3, SHAPES)
    catalog = spectra.scan(folder)
    assert spectra.fit(catalog, layers=("a*",)).layers == ("a",)
    assert spectra.fit(catalog, layers=("b.weight",)).layers == ("b",)
    with pytest.raises(UsageError, match="no two share a layer"):
        spectra.fit(catalog, layers=("nothing*",))


def test_layers_come_in_natural_order(tmp_path):
    shapes = {f"layer.{i}.w": (6, 7) for i in (10, 2, 1)}
    folder, _, _ = dense(tmp_path, 2, shapes)
    names = spectra.fit(spectra.scan(folder)).layers
    assert [name.split(".")[1] for name in names] == ["1", "2", "10"]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_the_run_file_has_the_same_bytes_for_any_worker_count(
    tmp_path, workers
):
    shapes = {f"l{i}.weight": (30, 50) for i in range(6)}
    folder, _, _ = dense(tmp_path, 5, shapes)
    catalog = spectra.scan(folder)
    spectra.fit(catalog, tmp_path / "one.h5", workers=1)
    spectra.fit(catalog, tmp_path / "many.h5", workers=workers)
    one, many = (tmp_path / name for name in ("one.h5", "many.h5"))
    assert one.read_bytes() == many.read_bytes()


def test_bits_do_not_depend_on_what_memory_allows(tmp_path, monkeypatch):
    """Kept members and members read twice give the same matrices."""
    from spectra.subspaces import dense as module

    folder, _, _ = dense(tmp_path, 5, {"w": (200, 300)})
    catalog = spectra.scan(folder)
    kept = spectra.fit(catalog).value
    real = module.plan_dense

    def never_cached(*args, **options):
        options["room"] = 0
        found = real(*args, **options)
        return module.DensePlan(found.nbytes, False, (True, True))

    monkeypatch.setattr(module, "plan_dense", never_cached)
    again = spectra.fit(catalog).value
    assert all(map(equal, kept.layers, again.layers))


def test_every_device_gives_the_same_run(tmp_path, device, monkeypatch):
    (tmp_path / "d").mkdir()
    folder, _, _ = dense(tmp_path / "d", 4, SHAPES)
    adapted, _ = adapters(tmp_path / "a", [3, 3, 2], {"q": (20, 16)})
    catalog = spectra.scan(folder, adapted)
    expected = spectra.fit(catalog, device="cpu", save_directions=True)
    monkeypatch.setattr(study_fit, "open_device", lambda name: device)
    found = spectra.fit(catalog, save_directions=True)
    for one, other in zip(
        expected.value.layers, found.value.layers, strict=True
    ):
        for name in ("inner", "h", "singular_values", "ranks", "rounding"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(other, name), rtol=1e-5, atol=1e-5
            )
        for side in ("output", "input"):
            for name in ("eigenvalues", "projector_mean", "overlap"):
                np.testing.assert_allclose(
                    getattr(getattr(one, side), name),
                    getattr(getattr(other, side), name),
                    rtol=1e-4,
                    atol=1e-4,
                )


def test_a_file_that_changed_since_the_scan_is_not_read(tmp_path):
    folder, members, _ = dense(tmp_path, 4, {"w": (20, 30)})
    catalog = spectra.scan(folder)
    shutil.rmtree(folder / "m01")
    write_dense(folder / "m01", {"w": members["m01"]["w"] + 1})
    run = spectra.fit(catalog)
    assert run.value.layers[0].members == (0, 2, 3)
    (record,) = run.value.quarantine
    assert (record.id, record.code) == ("m01", "SOURCE_CHANGED")


def test_what_cannot_fit_is_refused_before_anything_is_read(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"w": (20, 30)})
    out = tmp_path / "run.h5"
    with pytest.raises(BudgetError, match="layer w needs"):
        spectra.fit(spectra.scan(folder), out, memory=2**20)
    assert not out.exists()


def test_a_plan_knows_the_bytes_and_reads_no_tensor(tmp_path):
    folder, _, _ = dense(tmp_path, 3, {"w": (20, 30)}, dtype="BF16")
    found = spectra.scan(folder).plan()
    assert found.n_models == 3
    assert found.n_layers == 1
    assert found.bytes_to_read == 3 * 20 * 30 * 2
    assert found.requests == 0


MEASURE = """
    import json, resource, sys
    import spectra
    run = spectra.fit(
        spectra.scan(sys.argv[1]), sys.argv[2],
        memory=int(sys.argv[3]), workers=int(sys.argv[4]),
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "layers": len(run.layers)}))
"""


def peak_of(folder, out, memory, workers):
    done = subprocess.run(
        [
            sys.executable, "-c", textwrap.dedent(MEASURE),
            str(folder), str(out), str(memory), str(workers),
        ],
        check=True,
        capture_output=True,
        text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_peak_memory_stays_below_what_was_given(tmp_path, workers):
    """A population five times larger than --memory, fitted in a process."""
    memory, n = 320 * 2**20, 32
    shapes = {f"small{i}": (96, 512) for i in range(240)}
    shapes |= {"large0": (768, 1024), "large1": (1024, 768)}
    for i in range(n):
        rng = np.random.default_rng(i)
        write_dense(
            tmp_path / f"m{i:02d}",
            {
                name: rng.standard_normal(shape, dtype="f4")
                for name, shape in shapes.items()
            },
        )
    nbytes = sum(f.stat().st_size for f in tmp_path.rglob("*.safetensors"))
    assert nbytes > 5 * memory
    found = peak_of(tmp_path, tmp_path / "run.h5", memory, workers)
    assert found["layers"] == len(shapes)
    assert found["peak"] < memory
